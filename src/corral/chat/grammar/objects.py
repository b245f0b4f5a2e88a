"""Objects of a schema: which members there may be, in which order, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from corral.chat.grammar.automata import (
    ALL,
    Automaton,
    TooManyStatesError,
    complement,
    difference_of_ranges,
    intersection,
    matches,
)
from corral.chat.grammar.leaves import Leaf
from corral.chat.grammar.parts import Conjunction
from corral.chat.grammar.patterns import pattern_automaton

if TYPE_CHECKING:
    from corral.chat.grammar.schema import SchemaCompiler

_MAX_PATTERNS = 4
_MAX_OTHER_NAMES = 400
_MAX_DEPTH = 64
_ANY = object()


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    value: Conjunction
    is_required: bool
    path: str


@dataclass(frozen=True, slots=True)
class Extra:
    """Members by a rule for their names; `names` None: any."""

    names: Automaton | None
    value: Conjunction


@dataclass(slots=True)
class Shape:
    """The members of one kind of object: named ones in order, then others, so many of both."""

    members: list[Member] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)
    least: int = 0
    most: int | None = None


def shape_of(compiler: SchemaCompiler, leaf: Leaf, path: str) -> Shape | None:
    """The shape of the objects of a leaf; None where there are none."""
    return _Shaper(compiler, leaf, path).shape()


class _Shaper:
    def __init__(self, compiler: SchemaCompiler, leaf: Leaf, path: str) -> None:
        self._compiler = compiler
        self._leaf = leaf
        self._path = path
        self._absent = {name for names in leaf.all("$absent") for name in names}
        self._parts = [_ObjectPart(compiler, part.keywords, part.path) for part in leaf.parts]
        self._name_rules = leaf.all("propertyNames")

    def shape(self) -> Shape | None:
        compiler, leaf = self._compiler, self._leaf
        required = dict.fromkeys(name for names in leaf.all("required") for name in names)
        names = dict.fromkeys(name for part in self._parts for name in part.properties)
        shape = Shape([], [], leaf.largest("minProperties"), leaf.smallest("maxProperties"))
        for name in [*names, *(name for name in required if name not in names)]:
            compiler.budget.spend(4 + 2 * len(self._parts))
            where = f"{self._path}/properties/{name}"
            value = self._value(name, is_named=name in names)
            if value is not None and compiler.rule(value, where) is not None:
                shape.members.append(Member(name, value, name in required, where))
            elif name in required and name not in names and name not in self._absent:
                compiler.note(self._path, "required", f"the required property {name!r} is not allowed")
            elif name in required:
                compiler.blame(where, "nothing is allowed here, but it is required")
                return None
        if self._may_have_others(bool(names)):
            shape.extras = self._extras([*names, *(name for name in required if name not in names)])
        return self._counted(shape)

    def _counted(self, shape: Shape) -> Shape | None:
        required = sum(member.is_required for member in shape.members)
        if shape.most is not None and shape.most < max(required, shape.least):
            self._compiler.blame(self._path, "maxProperties is too small")
            return None
        if shape.least > len(shape.members) + bool(shape.extras):  # others may all have the same name
            self._compiler.note(self._path, "minProperties", "so many different properties cannot be ensured")
            shape.least = 0
        return shape

    def _value(self, name: str, *, is_named: bool) -> Conjunction | None:
        """What the value of a name is held to; None where the name may not be there."""
        if name in self._absent or not self._may_be_named(name):
            return None
        wanted: list[Any] = []
        for part in self._parts:
            wanted += part.schemas_of(name, is_named=is_named)
        return self._compiler.conjunction(wanted, f"{self._path}/properties/{name}")

    def _may_be_named(self, name: str) -> bool:
        return all(self._compiler.allows_name(rule, name, self._path) for rule in self._name_rules)

    def _may_have_others(self, has_names: bool) -> bool:
        if any(part.says_others for part in self._parts):
            return all(part.additional is not False or part.patterns for part in self._parts)
        return not has_names

    def _extras(self, names: Sequence[str]) -> list[Extra]:
        compiler = self._compiler
        taken = [*names, *self._absent]
        try:
            free = self._free_names(taken)
            classes = self._classes(self._patterns(), free)
        except (ValueError, TooManyStatesError) as exc:
            has_patterns = any(part.patterns for part in self._parts)
            compiler.note(self._path, "patternProperties" if has_patterns else "propertyNames", str(exc))
            return [Extra(names_but(taken) if taken else None, ())]
        found = []
        for fitting, language in classes:
            wanted = [schema for part in self._parts for schema in part.schemas_of_others(fitting)]
            if any(part.is_closed_to(fitting) for part in self._parts):
                continue
            value = compiler.conjunction(wanted, f"{self._path}/additionalProperties")
            if value is not None and compiler.rule(value, f"{self._path}/additionalProperties") is not None:
                found.append(Extra(language, value))
        return found

    def _free_names(self, taken: Sequence[str]) -> Automaton | None:
        """The names that others may have; None: any."""
        compiler = self._compiler
        free = names_but(taken) if taken else None
        for rule in self._name_rules:
            allowed = compiler.text_language(rule, f"{self._path}/propertyNames")
            if allowed is not None:
                free = allowed if free is None else intersection(free, allowed, compiler.budget)
        return free

    def _patterns(self) -> dict[str, Automaton]:
        patterns = dict.fromkeys(pattern for part in self._parts for pattern in part.patterns)
        if len(patterns) > _MAX_PATTERNS:
            raise ValueError(f"more than {_MAX_PATTERNS} patterns of names are not supported")
        return {pattern: pattern_automaton(pattern, self._compiler.budget) for pattern in patterns}

    def _classes(
        self, patterns: Mapping[str, Automaton], free: Automaton | None
    ) -> list[tuple[frozenset[str], Automaton | None]]:
        """Names by the patterns that they fit."""
        classes: list[tuple[frozenset[str], Automaton | None]] = [(frozenset(), free)]
        budget = self._compiler.budget
        for pattern, fitting in patterns.items():
            parted: list[tuple[frozenset[str], Automaton | None]] = []
            for known, language in classes:
                for both, inside in ((fitting, True), (complement(fitting), False)):
                    left = both if language is None else intersection(language, both, budget)
                    if not left.is_empty:
                        parted.append((known | {pattern} if inside else known, left))
            classes = parted
        return [(known, language) for known, language in classes if language is None or not language.is_empty]


class _ObjectPart:
    """What one part says about members."""

    def __init__(self, compiler: SchemaCompiler, keywords: Mapping[str, Any], path: str) -> None:
        self._compiler = compiler
        self.properties: Mapping[str, Any] = keywords.get("properties", {})
        self.patterns: Mapping[str, Any] = keywords.get("patternProperties", {})
        self.additional = keywords.get("additionalProperties", keywords.get("unevaluatedProperties", _ANY))
        # Beside patterns only names that fit one are written, unless others are asked for.
        self.says_others = self.additional is not _ANY or bool(self.patterns)
        self._path = path

    def schemas_of(self, name: str, *, is_named: bool) -> list[Any]:
        found = [self.properties[name]] if name in self.properties else []
        found += [schema for pattern, schema in self.patterns.items() if self._fits(pattern, name)]
        return found if found or self.additional is _ANY else [self.additional]

    def _fits(self, pattern: str, name: str) -> bool:
        try:
            return matches(pattern_automaton(pattern, self._compiler.budget), name)
        except ValueError:
            return False

    def schemas_of_others(self, fitting: frozenset[str]) -> list[Any]:
        found = [schema for pattern, schema in self.patterns.items() if pattern in fitting]
        return found if found or self.additional is _ANY else [self.additional]

    def is_closed_to(self, fitting: frozenset[str]) -> bool:
        return (
            self.additional is _ANY and bool(self.patterns) and not any(p in fitting for p in self.patterns)
        )


def names_but(names: Sequence[str]) -> Automaton:
    """Names that are none of `names`; of those that begin like one some may be left out, to keep it small."""
    depth = min(max(map(len, names), default=0), _MAX_DEPTH)
    while depth > 1 and len({name[:i] for name in names for i in range(depth + 1)}) > _MAX_OTHER_NAMES:
        depth //= 2
    children: list[dict[str, int]] = [{}]
    ends: set[int] = set()
    cut: set[int] = set()
    for name in names:
        at = 0
        for char in name[:depth]:
            if char not in children[at]:
                children.append({})
                children[at][char] = len(children) - 1
            at = children[at][char]
        (ends if len(name) <= depth else cut).add(at)
    free = len(children)
    rows: list[tuple[tuple[int, int, int], ...]] = []
    for state, row in enumerate(children):
        edges = [(ord(char), ord(char), target) for char, target in row.items()]
        if state not in cut:
            others = difference_of_ranges(ALL, [(ord(char), ord(char)) for char in row])
            edges += [(low, high, free) for low, high in others]
        rows.append(tuple(sorted(edges)))
    rows.append(tuple((low, high, free) for low, high in ALL))
    accepting = frozenset({free, *range(1, free)} - ends - cut)
    return Automaton(tuple(rows), accepting)
