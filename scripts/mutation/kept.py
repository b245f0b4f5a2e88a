"""Changes that no test can notice, because nothing behaves differently: a list with reasons, which is checked."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path

_LIST = Path(__file__).with_name("equivalent.toml")


def equivalent(module: str) -> dict[str, str]:
    """The reasons by the keys of a module's mutants."""
    entries = tomllib.loads(_LIST.read_text()).get("equivalent", [])
    return {entry["mutant"]: entry["reason"] for entry in entries if entry["module"] == module}


def problems(module: str, survived: Collection[str], killed: Collection[str]) -> list[str]:
    """What is wrong with the list."""
    found = []
    for key, reason in equivalent(module).items():
        if key in killed:
            found.append(f"a test notices it: {key}")
        elif key not in survived:
            found.append(f"there is no such change: {key}")
        if len(reason.split()) < 3:
            found.append(f"it has no reason: {key}")
    return found
