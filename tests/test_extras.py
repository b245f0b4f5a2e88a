"""`./dev test --fast` installs the `dev` extra alone, so no test file may fail to load without the others."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def packages_of(requirements: list[str]) -> set[str]:
    """Names as they are imported, which for most packages is the name with underscores."""
    return {re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].replace("-", "_").lower() for line in requirements}


def loaded_by(path: Path) -> set[str]:
    """The top packages that a file imports as it is loaded, before any check that could skip it."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        elif not isinstance(node, (ast.Expr, ast.If)):
            break
    return found


@pytest.mark.slow
def test_test_files_load_without_the_clients() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    only_clients = (
        packages_of(extras["clients"]) - packages_of(extras["dev"]) - packages_of(project["dependencies"])
    )
    assert "httpx" in only_clients
    # tests/parity skips itself as a package, in its __init__.py.
    paths = [path for path in (ROOT / "tests").rglob("test_*.py") if "parity" not in path.parts]
    wrong = {
        str(path.relative_to(ROOT)): sorted(names)
        for path in paths
        if (names := loaded_by(path) & only_clients)
        and "importorskip" not in path.read_text(encoding="utf-8")
    }
    assert not wrong
