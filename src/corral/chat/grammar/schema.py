"""JSON Schema to GBNF. What a grammar cannot hold is left to the model and named, or refused where that is wanted.

Schemas are read by their evident meaning (`meaning`), taken apart into conjunctions without references (`parts`), and
written type by type. Members come in the order of `properties`, and others than those only if the schema says so.
Where something can be held only for a part of what is allowed, that part is written. The cost is bounded by a budget
of steps, and by construction: what several references lead to is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corral.chat.grammar.arrays import array_expression
from corral.chat.grammar.automata import Automaton
from corral.chat.grammar.bounds import UnheldError, integer_expression, number_expression
from corral.chat.grammar.budget import FULL_STEPS, Budget, WorkLimitError
from corral.chat.grammar.choices import identity, json_texts, literal_choice
from corral.chat.grammar.leaves import Leaf
from corral.chat.grammar.listing import Listed, alternatives_of_members, is_plain, one_list
from corral.chat.grammar.objects import Shape, shape_of
from corral.chat.grammar.parts import Conjunction, Part, Parts
from corral.chat.grammar.rules import MAX_WRITTEN_OUT, Rules, json_literal
from corral.chat.grammar.strings import MAX_COUNT, StringKeywords, fits, string_expression, text_automaton
from corral.chat.grammar.texts import automaton_expression
from corral.errors import SchemaError

_MAX_DEPTH = 80
_MAX_UNHELD = 100
_SEPARATOR = '"," ws'
_IMPOSSIBLE = ""
_SHARED_TYPES = ("string", "integer", "number", "boolean", "null")


@dataclass(frozen=True, slots=True)
class Grammar:
    """GBNF text, and the places (JSON pointers with a #) of what it does not hold.

    `has_gap`: line breaks may stand between thinking and the answer, and are part of neither.
    """

    text: str
    unheld: tuple[str, ...] = ()
    has_gap: bool = False


def json_object_grammar() -> str:
    """Any JSON object."""
    rules = Rules()
    return rules.text(rules.shared("object"))


def schema_grammar(schema: Mapping[str, Any]) -> str:
    """A grammar whose every text is JSON that the schema allows, all of it. Raises SchemaError."""
    return compile_schema(schema, is_strict=True).text


def compile_schema(
    schema: Mapping[str, Any], *, is_strict: bool = False, steps: int = FULL_STEPS, label: str = "format"
) -> Grammar:
    """A grammar for what a schema allows.

    Raises:
        SchemaError: nothing is allowed, the schema is none, or it is too large; with `is_strict` also what a grammar
            cannot hold. The text says where.
        WorkLimitError: more than `steps` steps, when those are fewer than the most that there may be.
    """
    compiler = SchemaCompiler(Rules(), schema, label, budget=Budget(steps), is_strict=is_strict)
    try:
        text = compiler.rules.text(compiler.root())
    except (OverflowError, RecursionError) as exc:
        if isinstance(exc, WorkLimitError) and steps < FULL_STEPS:
            raise
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise SchemaError(f"invalid JSON schema in {label}: at {compiler.place[:500]}: {reason}") from None
    return Grammar(text, tuple(compiler.unheld))


class SchemaCompiler:
    """Adds the rules of one schema document to a grammar.

    `unheld`: what is left to the model, by its place. `place`: where the work is, for errors. With `takes_all` what
    is not a schema, or a reference to nothing, allows anything.

    Raises (all of its methods):
        SchemaError: nothing is allowed, or the schema is none; with `is_strict` also what a grammar cannot hold.
        OverflowError: it is too large.
    """

    def __init__(
        self,
        rules: Rules,
        document: Any,
        label: str = "format",
        *,
        budget: Budget | None = None,
        is_strict: bool = False,
        takes_all: bool = False,
    ) -> None:
        self.rules = rules
        self.budget = budget or Budget()
        self.unheld: dict[str, None] = {}
        self.place = "#"
        self._document = document
        self._label = label
        self._is_strict = is_strict
        self._parts = Parts(document, self.budget, self.note, takes_all=takes_all)
        self._names: dict[tuple[int, ...], str] = {}
        self._name_tests: dict[int, list[Callable[[str], bool]]] = {}
        self._only: dict[tuple[str, ...], Part] = {}
        self._used: set[str] = set()
        self._open: set[str] = set()
        self._reason = ("#", "nothing is allowed here")
        self._depth = 0

    def root(self) -> str:
        """An expression for the whole document."""
        return self.required_rule(self.root_conjunction(), "#")

    def root_conjunction(self) -> Conjunction | None:
        return self.conjunction([self._document], "#")

    def required_rule(self, conjunction: Conjunction | None, path: str) -> str:
        """An expression for what a conjunction allows, which has to be something."""
        rule = None if conjunction is None else self.rule(conjunction, path)
        if rule is None:
            raise self._fail(*self._reason)
        return rule

    def note(self, path: str, keyword: str, reason: str) -> None:
        """Something is left to the model, or is refused where nothing may be."""
        if self._is_strict:
            raise self._fail(path, f"{keyword!r} is not supported in structured output: {reason}")
        if len(self.unheld) < _MAX_UNHELD:
            self.unheld[_clean(f"{path}/{keyword}"[:500])] = None

    def blame(self, path: str, text: str) -> None:
        """Say why nothing is allowed at a place; the first reason counts."""
        if self._reason[1] == "nothing is allowed here":
            self._reason = (path, text)

    def _fail(self, path: str, text: object) -> SchemaError:
        return SchemaError(_clean(f"invalid JSON schema in {self._label}: at {path[:500]}: {text}"))

    def conjunction(self, schemas: Sequence[Any], path: str) -> Conjunction | None:
        """The parts of several schemas that all must hold; None where nothing does."""
        self.place = path
        try:
            return self._parts.all_of(schemas, path)
        except ValueError as exc:
            raise self._fail(path, exc) from None

    def leaves(self, conjunction: Conjunction, path: str) -> list[Leaf]:
        """The alternatives of a conjunction."""
        try:
            return [Leaf(parts, self.budget) for parts in self._parts.leaves(conjunction, path)]
        except ValueError as exc:
            raise self._fail(path, exc) from None

    def count(self, value: int, keyword: str, path: str, limit: int) -> int:
        if value > limit:
            self.note(path, keyword, f"{keyword!r} may be at most {limit}")
        return min(value, limit)

    def allows_name(self, schema: Any, name: str, path: str) -> bool:
        """Whether a schema for names allows one."""
        if id(schema) not in self._name_tests:
            self._name_tests[id(schema)] = self._name_test(schema, path)
        return any(test(name) for test in self._name_tests[id(schema)])

    def _name_test(self, schema: Any, path: str) -> list[Callable[[str], bool]]:
        def fitting(keywords: StringKeywords) -> Callable[[str], bool]:
            return lambda name: fits(keywords, name, self.budget)

        parts = self.conjunction([schema], path)
        tests: list[Callable[[str], bool]] = []
        for leaf in () if parts is None else self.leaves(parts, path):
            values = leaf.values()
            if values is not None:
                tests.append({value for value in values if isinstance(value, str)}.__contains__)
            elif leaf.types() in ([], ["string"]):
                tests.append(fitting(leaf.string_keywords()))
        return tests

    def text_language(self, schema: Any, path: str) -> Automaton | None:
        """The texts that a schema allows; None: any. Raises ValueError where that cannot be said."""
        parts = self.conjunction([schema, {"type": "string"}], path)
        if parts is None:
            raise ValueError("allows nothing")
        leaves = self.leaves(parts, path)
        if len(leaves) != 1:
            raise ValueError("alternatives are not supported here")
        keywords = leaves[0].string_keywords()
        if (values := leaves[0].values()) is not None:
            patterns = ["^(" + "|".join(map(_escaped, values)) + ")$"]
            keywords = StringKeywords(patterns=patterns)
        return text_automaton(keywords, self.budget, lambda key, reason: self.note(path, key, reason))

    def rule(self, conjunction: Conjunction, path: str) -> str | None:
        """A name or an atom for what a conjunction allows; None where that is nothing."""
        if not conjunction:
            return self.rules.shared("value")
        if len(conjunction) == 1 and (plain := _plain_type(conjunction[0])):
            return self.rules.shared(plain)
        key = tuple(map(id, conjunction))
        self.budget.spend(60)
        if key in self._names:
            name = self._names[key]
            self._used.add(name)
            self.rules.is_recursive = self.rules.is_recursive or name in self._open
            return name or None
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._fail(path, f"nested deeper than {_MAX_DEPTH}")
        self.place = path
        name = self._names[key] = self.rules.reserve(path.rpartition("/")[2])
        self._open.add(name)
        options = self._options(conjunction, path)
        self._open.discard(name)
        self._depth -= 1
        if not options:
            self._names[key] = _IMPOSSIBLE
            if name in self._used:
                raise self._fail(*self._reason)
            self.rules.release(name)
            return None
        self._names[key] = self.rules.settle(name, " | ".join(options), is_used=name in self._used)
        return self._names[key]

    def rule_of_types(self, conjunction: Conjunction, types: Sequence[str], path: str) -> str | None:
        """What a conjunction allows of some types."""
        key = tuple(types)
        if key not in self._only:
            self._only[key] = Part({"type": list(types)})
        return self.rule((*conjunction, self._only[key]), path)

    def _options(self, conjunction: Conjunction, path: str) -> list[str]:
        options: dict[str, None] = {}
        values: dict[Any, str] = {}
        shapes: list[Shape] = []
        array_count = 0
        for leaf in self.leaves(conjunction, path):
            known = leaf.values()
            if known is not None:
                for value, text in zip(known, json_texts(known), strict=True):
                    values.setdefault(identity(value, self.budget), text)
                if not known:
                    self.blame(path, "no value is allowed by all keywords")
                continue
            types = leaf.types()
            if not types:
                options[self.rules.shared("value")] = None
            for kind in types:
                if kind == "object":
                    if (shape := shape_of(self, leaf, path)) is not None:
                        shapes.append(shape)
                elif (option := self._typed(leaf, kind, path)) is not None:
                    options[option] = None
                    array_count += kind == "array"
        self.rules.fork_count += array_count > 1
        written = [literal_choice(values.values(), self.budget)] if values else []
        written += self._objects(shapes, path)
        return written + list(options)

    def _typed(self, leaf: Leaf, kind: str, path: str) -> str | None:
        if kind == "array":
            return array_expression(self, leaf, path)
        if kind == "boolean":
            excluded = {identity(value, self.budget) for value in leaf.excluded()}
            left = [v for v in (True, False) if identity(v, self.budget) not in excluded]
            if len(left) == 1:
                return json_literal(left[0])
            return self.rules.shared("boolean") if left else None
        if kind == "null":
            return None if None in leaf.excluded() else self.rules.shared("null")
        try:
            if kind == "string":
                return self._string(leaf.string_keywords(), path)
            if kind in ("integer", "number"):
                return self._number(leaf, kind, path)
        except ValueError as exc:
            self.blame(path, str(exc))
        return None

    def _string(self, keywords: StringKeywords, path: str) -> str:
        least = self.count(keywords.least, "minLength", path, MAX_WRITTEN_OUT)
        most = None if keywords.most is None else min(keywords.most, MAX_COUNT)
        bounded = StringKeywords(
            least, most, keywords.patterns, keywords.formats, keywords.mismatches, keywords.excluded
        )
        return string_expression(
            self.rules, bounded, self.budget, lambda key, reason: self.note(path, key, reason)
        )

    def _number(self, leaf: Leaf, kind: str, path: str) -> str:
        if any(isinstance(value, int | float) and not isinstance(value, bool) for value in leaf.excluded()):
            self.note(path, "not", "numbers without some values are not supported")
        write = integer_expression if kind == "integer" else number_expression
        self.budget.spend(200)
        try:
            return write(self.rules, leaf.bounds(), self.budget)
        except UnheldError as exc:
            self.note(path, exc.keyword, str(exc))
            return exc.expression

    def _objects(self, shapes: Sequence[Shape], path: str) -> list[str]:
        """Objects of some shapes: an expression for all of them where that is not too large."""
        if not shapes:
            return []
        self.rules.shared("ws")
        hint = path.rpartition("/")[2]
        if len(shapes) > 1 and self._has_forks(shapes) and not _tell_first(shapes):
            self.rules.fork_count += 1
        listed = [self._listed(shape) for shape in shapes]
        if len(listed) == 1 and is_plain(listed[0]):
            return [_braced(one_list(self.rules, hint, listed[0], _SEPARATOR))]
        together = alternatives_of_members(self.rules, hint, listed, _SEPARATOR, self.budget)
        if together is not None:
            return [_braced(together)]
        return [self._counted_alone(one, hint, path) for one in listed]

    def _has_forks(self, shapes: Sequence[Shape]) -> bool:
        """Whether a member of one name may have values of several kinds, each with a different end."""
        known: dict[str, str | None] = {}
        for shape in shapes:
            if len(shape.extras) > 1:
                return True
            for member in shape.members:
                self.budget.spend(1)
                if _is_single(member.value):
                    continue
                rule = self.rule(member.value, member.path)
                if known.setdefault(member.name, rule) != rule:
                    return True
        return False

    def _counted_alone(self, listed: Listed, hint: str, path: str) -> str:
        """One shape where counting its members takes too much."""
        if not is_plain(listed):
            self.note(
                path, "minProperties" if listed.least else "maxProperties", "too many combinations of members"
            )
        return _braced(one_list(self.rules, hint, listed, _SEPARATOR))

    def _listed(self, shape: Shape) -> Listed:
        self.budget.spend(4 * len(shape.members))
        members = [
            (f'{json_literal(member.name)} ":" ws {self.rule(member.value, member.path)}', member.is_required)
            for member in shape.members
        ]
        return Listed(members, self._extra(shape), shape.least, shape.most)

    def _extra(self, shape: Shape) -> str:
        options = []
        for extra in shape.extras:
            key = self.rules.shared("string")
            if extra.names is not None:
                key = f'"\\"" {automaton_expression(self.rules, extra.names, self.budget)} "\\""'
            options.append(f'{key} ":" ws {self.required_rule(extra.value, self.place)}')
        if len(options) == 1:
            return options[0]
        return f"({' | '.join(options)})" if options else ""


def _is_single(value: Conjunction) -> bool:
    """Whether a value is one of a few."""
    return bool(value) and any("enum" in part.keywords or "const" in part.keywords for part in value)


def _tell_first(shapes: Sequence[Shape]) -> bool:
    """Put members that tell the kinds of an object apart before the others, if all kinds have one of a name."""
    names: set[str] | None = None
    for shape in shapes:
        telling = {member.name for member in shape.members if member.is_required and _is_single(member.value)}
        names = telling if names is None else names & telling
    for shape in shapes if names else ():
        shape.members.sort(key=lambda member: member.name not in (names or ()))
    return bool(names)


def _plain_type(part: Part) -> str:
    """The type that is all that a part says, if values of it are one rule that all JSON shares; else empty."""
    names = part.keywords.get("type", ())
    if len(part.keywords) == len(names) == 1 and not part.groups and names[0] in _SHARED_TYPES:
        return str(names[0])
    return ""


def _clean(text: str) -> str:
    """A text without half characters, which a schema can name and no answer can hold."""
    return text.encode("utf-8", "replace").decode()


def _braced(members: str) -> str:
    return f'"{{" ws {members} ws "}}"' if members else '"{" ws "}"'


def _escaped(text: Any) -> str:
    return "".join(char if char.isalnum() else f"\\U{ord(char):08x}" for char in str(text))
