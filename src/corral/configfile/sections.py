"""Sections that are not settings: models by glob, groups of models, and aliases.

[models."qwen3*"]      num_ctx = 8192   set = { temperature = 0.2 }
[groups.agents]        members = ["coder", "embed"]   mode = "together"
[aliases]              "gpt-4o-mini" = "llama3.2"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

_GLOB = frozenset("*?[")
# "together": members never make room for each other, and leave together when they make room for another model.
# "one-at-a-time": loading one unloads the others. "pinned": members never make room for another model.
Mode = Literal["together", "one-at-a-time", "pinned"]
MODES: tuple[Mode, ...] = get_args(Mode)


# Where a cluster loads a further replica: on the server with the most free memory, or with the least that is enough.
Spread = Literal["spread", "pack"]
PLACEMENTS: tuple[Spread, ...] = get_args(Spread)


@dataclass(frozen=True, slots=True)
class ReplicaRule:
    """How many servers of a cluster have a model in memory: always, at most, and before anybody asks."""

    min: int = 0
    max: int = 1
    prewarm: int = 0


def names_of(short: str) -> tuple[str, ...]:
    """The names by which a section may mean a model, in lower case: with the tag, and without `latest`."""
    name = short.lower()
    bare = name.removesuffix(":latest")
    return (name,) if bare == name else (name, bare)


def _matches(pattern: str, names: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern.lower()) for name in names)


@dataclass(frozen=True, slots=True)
class ModelSection:
    """What a `[models."..."]` section says; None and empty: nothing.

    `defaults` are options under those of a request (`set`, `num_ctx`, `device`, and the load options of `engine`),
    `strip` the options that requests may not have. `engine` replaces settings of the scheduler, by the names of the
    fields of `SchedulerConfig`. `draft` is the path of a GGUF file or the name of a model. `replicas` and `placement`
    are for the servers of a cluster.
    """

    pattern: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    strip: frozenset[str] = frozenset()
    engine: Mapping[str, Any] = field(default_factory=dict)
    keep_alive_ns: int | None = None
    draft: str = ""
    aliases: tuple[str, ...] = ()
    replicas: ReplicaRule | None = None
    placement: Spread | None = None

    @property
    def is_exact(self) -> bool:
        return not _GLOB & set(self.pattern)

    def matches(self, names: tuple[str, ...]) -> bool:
        """Whether it is about a model that has these names, without regard to case."""
        return _matches(self.pattern, names)

    def over(self, other: ModelSection) -> ModelSection:
        """Both together; where they differ, this one holds."""
        return ModelSection(
            pattern=self.pattern,
            defaults={**other.defaults, **self.defaults},
            strip=other.strip | self.strip,
            engine={**other.engine, **self.engine},
            keep_alive_ns=other.keep_alive_ns if self.keep_alive_ns is None else self.keep_alive_ns,
            draft=self.draft or other.draft,
            replicas=self.replicas or other.replicas,
            placement=self.placement or other.placement,
        )


@dataclass(frozen=True, slots=True)
class Group:
    """What a `[groups.NAME]` section says. `members` are names and patterns, as in `[models."..."]`."""

    name: str
    members: tuple[str, ...]
    mode: Mode

    def has(self, names: tuple[str, ...]) -> bool:
        """Whether a model that has these names, in lower case, is a member."""
        return any(_matches(member, names) for member in self.members)


@dataclass(frozen=True, slots=True)
class Sections:
    """All sections, in the order of the files. `aliases` are further names of models, in lower case."""

    models: tuple[ModelSection, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()

    def section_for(self, names: tuple[str, ...]) -> ModelSection:
        """What holds for a model: globs in their order, later ones win, and exact names last.

        `names` are all names of the model, in lower case: `qwen3`, `qwen3:latest` and the full one.
        """
        found = ModelSection("")
        for is_exact in (False, True):
            for section in self.models:
                if section.is_exact is is_exact and section.matches(names):
                    found = section.over(found)
        return found


NO_SECTIONS = Sections()
