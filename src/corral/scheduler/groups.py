"""Which models may have to go for another one, by the groups of the configuration. Pure functions.

A model's own runner is none of these: that it is loaded again with other options is nobody else's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corral.configfile.groups import groups_of
from corral.configfile.sections import Group
from corral.scheduler.loaded import LoadedRunner

Groups = tuple[Group, ...]


def names_of_groups(name: str, groups: Groups) -> tuple[str, ...]:
    """The names of all groups that a model is in."""
    return tuple(group.name for group in groups_of(name, groups))


def is_pinned(name: str, groups: Groups) -> bool:
    return any(group.mode == "pinned" for group in groups_of(name, groups))


def rivals(name: str, runners: Sequence[LoadedRunner], groups: Groups) -> tuple[list[LoadedRunner], str]:
    """Those that are never loaded at the same time as this model, and the name of the group that says so."""
    for group in groups_of(name, groups):
        if group.mode == "one-at-a-time":
            found = [runner for runner in runners if group in groups_of(runner.origin.name, groups)]
            if found:
                return found, group.name
    return [], ""


def movable(name: str, runners: Iterable[LoadedRunner], groups: Groups) -> list[LoadedRunner]:
    """Those that may make room for this model."""
    return [runner for runner in runners if not reason_to_stay(name, runner, groups)]


def reason_to_stay(name: str, runner: LoadedRunner, groups: Groups) -> str:
    """The group because of which a runner never makes room for this model; empty: it does."""
    mine = groups_of(name, groups)
    for group in groups_of(runner.origin.name, groups):
        if group.mode == "pinned" or (group.mode == "together" and group in mine):
            return group.name
    return ""


def staying_because(name: str, runners: Iterable[LoadedRunner], groups: Groups) -> list[tuple[str, str]]:
    """The names of runners that do not make room for this model, each with the group because of which."""
    return [(runner.origin.name, reason_to_stay(name, runner, groups)) for runner in runners]


def companions(
    leaving: LoadedRunner, runners: Iterable[LoadedRunner], groups: Groups
) -> list[tuple[LoadedRunner, str]]:
    """Those that leave together with one that makes room, with the name of the group for each."""
    mine = [group for group in groups_of(leaving.origin.name, groups) if group.mode == "together"]
    found = []
    for runner in runners:
        shared = [group for group in groups_of(runner.origin.name, groups) if group in mine]
        if runner is not leaving and shared:
            found.append((runner, shared[0].name))
    return found
