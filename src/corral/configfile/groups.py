"""Reads the groups of models, and finds those of a model.

[groups.agents]   members = ["coder", "embed"]   mode = "together"
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import combinations

from corral.configfile.problems import Reporter, toml_string
from corral.configfile.sections import MODES, Group, names_of
from corral.errors import CorralError, InvalidModelNameError
from corral.names import ModelName

GROUP_NAME = "[A-Za-z0-9_.-]{1,60}"
_KEYS = ("members", "mode")


def read_groups(tables: object, reporter: Reporter) -> dict[str, Group]:
    """Every `[groups.NAME]` of one file; what cannot be used is reported and left out."""
    if not isinstance(tables, dict):
        reporter.report(("groups",), "groups must be a table of tables")
        return {}
    found = (_read_group(name, table, reporter) for name, table in tables.items())
    return {group.name: group for group in found if group is not None}


def _read_group(name: str, table: object, reporter: Reporter) -> Group | None:
    keys = ("groups", name)
    if not isinstance(table, dict):
        reporter.report(keys, f"expected a table, [groups.{name}]")
        return None
    if not re.fullmatch(GROUP_NAME, name):
        reporter.report(
            keys, "the name of a group has up to 60 letters, digits, dots, underscores and hyphens"
        )
    for key in table.keys() - set(_KEYS):
        reporter.report_unknown((*keys, key), _KEYS)
    members, mode = table.get("members"), table.get("mode")
    names = members if isinstance(members, list) else []
    if not names or not all(isinstance(each, str) and each.strip() for each in names):
        reporter.report((*keys, "members"), "members must be a list of names of models or patterns")
        names = []
    # Keys of the file have underscores, so people write them here too.
    mode = mode.replace("_", "-") if isinstance(mode, str) else mode
    if mode not in MODES:
        reporter.report((*keys, "mode"), f"mode must be {', '.join(map(toml_string, MODES))}")
    return Group(name, tuple(dict.fromkeys(names)), mode) if mode in MODES else None


def united(groups: Iterable[Mapping[str, Group]], aliases: Mapping[str, str]) -> tuple[Group, ...]:
    """The groups of all files: the mode of the last one holds, and members are united. Aliases become names."""
    found: dict[str, Group] = {}
    for group in (group for of_file in groups for group in of_file.values()):
        before = found[group.name].members if group.name in found else ()
        members = (aliases.get(member.lower(), member) for member in (*before, *group.members))
        found[group.name] = replace(group, members=tuple(dict.fromkeys(members)))
    return tuple(found.values())


def check_groups(groups: Iterable[Group]) -> None:
    """Raises CorralError: two groups want opposite things of the same models."""
    for one, other in combinations(groups, 2):
        if "one-at-a-time" not in (one.mode, other.mode) or one.mode == other.mode:
            continue
        common = sorted(set(one.members) & set(other.members))
        # A single model that stays beside others may still take turns with some.
        is_pinned = "pinned" in (one.mode, other.mode)
        if len(common) > (0 if is_pinned else 1):
            raise CorralError(
                f"[groups.{one.name}] is {one.mode} and [groups.{other.name}] {other.mode}, and both have"
                f" {' and '.join(common[:2])}",
                hint="take the models out of one of them",
            )


@lru_cache(maxsize=4096)
def groups_of(name: str, groups: tuple[Group, ...]) -> tuple[Group, ...]:
    """Those that a model is in, by its short name."""
    if not groups:
        return ()
    names = names_of(name)
    with contextlib.suppress(InvalidModelNameError):
        names = (*names, ModelName.parse(name).full().lower())
    return tuple(group for group in groups if group.has(names))
