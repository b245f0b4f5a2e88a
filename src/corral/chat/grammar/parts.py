"""Schemas as conjunctions: the parts of which all must hold, without references, `allOf` and alternatives.

A part is one schema object in regular form. The same object always gives the same part, so that whatever many
references lead to is worked out once. Alternatives (`anyOf`, `if`, `not` ...) stay in a part as groups of which one
option must hold; `leaves` multiplies them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from corral.chat.grammar.budget import Budget
from corral.chat.grammar.meaning import regular, schema_of
from corral.chat.grammar.negation import ANNOTATIONS, negated
from corral.chat.grammar.references import References

_MAX_LEAVES = 20_000
_SELF = "$ref {!r} means only itself"


@dataclass(eq=False, slots=True)
class Part:
    """Keywords about values, and groups of options of which one must hold each."""

    keywords: dict[str, Any]
    groups: list[tuple[str, Sequence[Any]]] = field(default_factory=list)
    path: str = "#"


# Without doubles; empty: anything. None: nothing is allowed.
Conjunction = tuple[Part, ...]


def is_impossible(schema: Any) -> bool:
    """Whether a schema is one of the two plain ways to say that nothing is allowed: false, or not anything."""
    return schema is False or (isinstance(schema, Mapping) and schema.get("not", False) in ({}, True))


class Parts:
    """The conjunctions of one document. `note(path, keyword, reason)` is called for what cannot be held.

    Raises (all of its methods):
        ValueError: a reference that leads nowhere, or what is not a schema at all.
        WorkLimitError
    """

    def __init__(
        self, document: Any, budget: Budget, note: Callable[[str, str, str], None], *, takes_all: bool = False
    ) -> None:
        self._takes_all = takes_all
        self._references = References(document, budget)
        self._budget = budget
        self._note = note
        self._flat: dict[int, Conjunction | None] = {}
        self._kept: list[Any] = []  # schemas made here; their identities must not be used again
        self._open: set[int] = set()

    def all_of(self, schemas: Sequence[Any], path: str) -> Conjunction | None:
        """The conjunction of several schemas."""
        parts: dict[int, Part] = {}
        for schema in schemas:
            flat = self.flat(schema, path)
            if flat is None:
                return None
            self._budget.spend(1 + len(flat))
            parts.update((id(part), part) for part in flat)
        return tuple(parts.values())

    def flat(self, schema: Any, path: str) -> Conjunction | None:
        """The parts of one schema."""
        if is_impossible(schema):
            return None
        if schema is True:
            return ()
        if (known := self._flat.get(id(schema), False)) is not False:
            return known  # type: ignore[return-value]
        meant = schema_of(schema)
        if meant is None:
            if self._takes_all:
                return ()
            raise ValueError("a schema must be an object")
        self._kept.append(schema)
        if isinstance(meant, bool):
            return ()
        if id(schema) in self._open:
            raise ValueError(_SELF.format(schema.get("$ref", "#") if isinstance(schema, Mapping) else "#"))
        self._open.add(id(schema))
        try:
            found = self._flatten(meant, path)
        finally:
            self._open.discard(id(schema))
        self._flat[id(schema)] = found
        return found

    def _flatten(self, schema: Mapping[str, Any], path: str) -> Conjunction | None:
        self._budget.spend(
            40 + len(schema) + sum(len(v) for v in schema.values() if isinstance(v, list)) // 4
        )
        keywords, senseless = regular(schema)
        for key in senseless:
            self._note(path, key, f"{str(schema[key])[:100]!r} has no meaning here")
        keywords = {key: value for key, value in keywords.items() if key not in ANNOTATIONS}
        inner: list[tuple[Any, str]] = []
        for key in ("$ref", "$dynamicRef", "$recursiveRef"):
            if key in keywords:
                reference = keywords.pop(key)
                inner.append((self._resolved(reference, path), str(reference)))
        inner += [(option, f"{path}/allOf/{i}") for i, option in enumerate(keywords.pop("allOf", ()))]
        if schema.get("nullable") is True and "type" not in keywords and "enum" not in keywords:
            bare = self._keep({key: value for key, value in schema.items() if key != "nullable"})
            if bare.keys() - ANNOTATIONS:
                return (Part({}, [("anyOf", [bare, self._keep({"type": "null"})])], path),)
        part = Part(keywords, [], path)
        if not self._take_groups(part, path):
            return None
        parts: dict[int, Part] = {id(part): part} if part.keywords or part.groups else {}
        for option, where in inner:
            flat = self.flat(option, where)
            if flat is None:
                return None
            self._budget.spend(1 + len(flat))
            parts.update((id(other), other) for other in flat)
        return tuple(parts.values())

    def _resolved(self, reference: Any, path: str) -> Any:
        try:
            return self._references.resolve(reference)
        except ValueError as exc:
            if not self._takes_all:
                raise
            self._note(path, "$ref", str(exc))
            return True

    def _keep(self, schema: dict[str, Any]) -> dict[str, Any]:
        self._kept.append(schema)
        return schema

    def _take_groups(self, part: Part, path: str) -> bool:
        """Move what means alternatives from the keywords of a part to its groups; False: nothing is allowed."""
        keywords = part.keywords
        for key in ("anyOf", "oneOf"):
            if key in keywords:
                part.groups.append((key, keywords.pop(key)))
        if "not" in keywords:
            inner = keywords.pop("not")
            options = self._negated(inner, path)
            if options is None:
                self._note(path, "not", "cannot be said in a grammar")
            elif not options:
                return False
            else:
                part.groups.append(("not", options))
        self._take_conditions(part, path)
        self._take_dependencies(part, path)
        return True

    def _negated(self, schema: Any, path: str) -> list[Any] | None:
        if is_impossible(schema):
            return [True]
        meant = schema_of(schema)
        if meant is None or isinstance(meant, bool):
            return [] if meant is True else None
        keywords, senseless = regular(meant)
        if senseless:
            return None
        keywords = {key: value for key, value in keywords.items() if key not in ANNOTATIONS}
        options: list[Any] = []
        if "$ref" in keywords:
            target = self._resolved(keywords.pop("$ref"), path)
            if id(target) in self._open:
                return None
            self._open.add(id(target))
            try:
                found = self._negated(target, path)
            finally:
                self._open.discard(id(target))
            if found is None:
                return None
            options += found
        own = negated(keywords)
        if own is None:
            return None
        self._budget.spend(4 + 4 * len(own))
        options += [self._keep(option) if isinstance(option, dict) else option for option in own]
        return options

    def _take_conditions(self, part: Part, path: str) -> None:
        keywords = part.keywords
        condition, then, other = (keywords.pop(key, None) for key in ("if", "then", "else"))
        if condition is None or (then in (None, True, {}) and other in (None, True, {})):
            return
        refused = self._negated(condition, path)
        if refused is None:
            self._note(path, "if", "its condition cannot be said in a grammar")
            return
        options: list[Any] = []
        if not is_impossible(then):
            options.append(self._keep({"allOf": [condition, True if then is None else then]}))
        if not is_impossible(other):
            options += [
                self._keep({"allOf": [option, True if other is None else other]}) for option in refused
            ]
        part.groups.append(("if", options))

    def _take_dependencies(self, part: Part, path: str) -> None:
        for key in ("dependentRequired", "dependentSchemas", "dependencies"):
            wanted = part.keywords.pop(key, None)
            if not isinstance(wanted, Mapping):
                continue
            for name, what in wanted.items():
                has: dict[str, Any] = {"type": "object", "required": [name]}
                if isinstance(what, list) and what:
                    has["required"] = [name, *(other for other in what if isinstance(other, str))]
                elif isinstance(what, Mapping) and what:
                    has["allOf"] = [what]
                elif what is not False:
                    continue
                lacks = self._keep({"type": "object", "$absent": [name]})
                part.groups.append((key, [lacks] if what is False else [self._keep(has), lacks]))

    def leaves(self, conjunction: Conjunction, path: str) -> Iterator[Conjunction]:
        """The alternatives of a conjunction, multiplied out; none where nothing is possible."""
        count = 0
        own = {id(part): part for part in conjunction}
        waiting = [(own, [(group, frozenset((id(part),))) for part in conjunction for group in part.groups])]
        while waiting:
            parts, groups = waiting.pop()
            self._budget.spend(8 + len(parts))
            if not groups:
                count += 1
                if count > _MAX_LEAVES:
                    raise ValueError("has too many combinations of alternatives")
                yield tuple(parts.values())
                continue
            ((key, options), owners), *rest = groups
            found = []
            for i, option in enumerate(options):
                flat = self.flat(option, f"{path}/{key}/{i}")
                if flat is None or any(id(part) in owners for part in flat):
                    continue
                new = [part for part in flat if id(part) not in parts]
                self._budget.spend(2 + len(parts) + len(flat))
                more = [(group, owners | {id(part)}) for part in new for group in part.groups]
                merged = {**parts, **{id(part): part for part in new}}
                if _may_hold(merged.values()):
                    found.append((merged, [*rest, *more]))
            if (
                key == "oneOf"
                and len(found) > 1
                and not _are_apart([merged for merged, _ in found], self._budget)
            ):
                self._note(path, "oneOf", "a value may fit several of its schemas")
            waiting += reversed(found)


def _are_apart(options: Sequence[Mapping[int, Part]], budget: Budget) -> bool:
    """Whether no value fits two options, as far as types and single values tell, also those of required members."""
    marks = [_marks(list(parts.values())) for parts in options]
    budget.spend(len(marks) ** 2)
    for i, one in enumerate(marks):
        for other in marks[:i]:
            if not any(one[name].isdisjoint(other[name]) for name in one.keys() & other.keys()):
                return False
    return True


def _marks(parts: Sequence[Part]) -> dict[str, set[str]]:
    """Types (for the empty name), single values (for a dot), and the values of required members by their names."""
    marks: dict[str, set[str]] = {}
    required = {name for part in parts for name in part.keywords.get("required", ())}
    for part in parts:
        if "type" in part.keywords:
            names = {"number" if name == "integer" else name for name in part.keywords["type"]}
            marks[""] = marks.get("", names) & names
        if (values := _single_values(part.keywords)) is not None:
            marks["."] = values
            marks.setdefault("", {_KINDS.get(value[:1], "number") for value in values})
        for name, schema in part.keywords.get("properties", {}).items():
            values = _single_values(schema) if isinstance(schema, Mapping) and name in required else None
            if values is not None:
                marks["/" + name] = values
    return marks


# Types of values by the first character of their `repr`.
_KINDS = {
    "'": "string",
    '"': "string",
    "{": "object",
    "[": "array",
    "N": "null",
    "T": "boolean",
    "F": "boolean",
}


def _single_values(keywords: Mapping[str, Any]) -> set[str] | None:
    if "const" in keywords:
        return {repr(keywords["const"])}
    values = keywords.get("enum")
    return set(map(repr, values)) if isinstance(values, list) and values else None


def _may_hold(parts: Any) -> bool:
    """Whether the types and single values of parts leave something; a first look that saves most of the work."""
    types: set[str] | None = None
    for part in parts:
        if (names := part.keywords.get("type")) is not None:
            wider = {*names, *(("integer",) if "number" in names else ())}
            types = wider if types is None else types & wider
            if not types:
                return False
    return True
