"""llama-swap's groups and its matrix as groups here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from corral.configimport.imported import Imported, ImportedGroup, Mode

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_EXCLUSIVE = "exclusive: loading one of them unloads other models only if they are in the way"


def add_groups(found: Imported, groups: object, names: Mapping[str, str]) -> None:
    """The groups of a file. `names` are the names here by the ids there."""
    if not isinstance(groups, dict):
        return
    taken: set[str] = set()
    for asked, group in groups.items():
        if not isinstance(group, dict) or not isinstance(group.get("members"), list):
            found.notes.append(f"group {asked}: it does not have members")
            continue
        notes = [
            f"{member} is not a model of the file, or was left out"
            for member in group["members"]
            if str(member) not in names
        ]
        members = [names[str(member)] for member in group["members"] if str(member) in names]
        name = _free_name(asked, taken)
        if members:
            mode, more = _mode(group)
            found.groups.append(ImportedGroup(name, tuple(dict.fromkeys(members)), mode, (*notes, *more)))


def _free_name(asked: str, taken: set[str]) -> str:
    base = _NOT_IN_NAMES.sub("-", asked).strip("-")[:60] or "group"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name


def _mode(group: Mapping[str, Any]) -> tuple[Mode, list[str]]:
    """llama-swap's defaults are swap and exclusive."""
    swaps, is_persistent = group.get("swap", True) is not False, group.get("persistent") is True
    notes = [_EXCLUSIVE] if group.get("exclusive", True) is not False else []
    if is_persistent and not swaps:
        return "pinned", notes
    if is_persistent:
        notes.append(
            "persistent: the one of them that is loaded may leave for a model outside that needs the memory"
        )
    return ("one-at-a-time" if swaps else "together"), notes


def note_matrix(found: Imported, matrix: object) -> None:
    """A matrix says which models fit together. Here that is measured."""
    if not isinstance(matrix, dict):
        return
    found.notes.append(
        "matrix: models stay loaded together as far as memory allows, and the least recently used one leaves first; "
        "[groups] keeps some of them together, apart, or loaded"
    )
