"""The modules of the core, and the fast tests that belong to each: the table `tool.corral.core` in pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SOURCES = Path("src/corral")


def core() -> dict[str, list[str]]:
    """Paths of test files by the path of a module, all from the root of the repository.

    Raises:
        FileNotFoundError: the table names a file that is not there.
    """
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["corral"]["core"]
    found = {
        str(_SOURCES / module): [f"tests/{test}.py" for test in tests] for module, tests in settings.items()
    }
    for path in (*found, *(test for tests in found.values() for test in tests)):
        if not (ROOT / path).is_file():
            raise FileNotFoundError(f"pyproject.toml, tool.corral.core: there is no {path}")
    return found


def files_of_tests() -> list[str]:
    """All of them, each once."""
    return sorted({test for tests in core().values() for test in tests})
