"""Arguments of calls as grammars: bound by the whole schema of the tool, in the form that a family writes values.

A schema of a tool is advice to the model as well: what cannot be held is free, and never a reason to refuse.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from corral.chat.grammar.automata import (
    LAST_CODE,
    Automaton,
    Chars,
    Repeat,
    Sequence_,
    TooManyStatesError,
    build,
    difference_of_ranges,
    intersection,
)
from corral.chat.grammar.budget import Budget, WorkLimitError
from corral.chat.grammar.leaves import Leaf
from corral.chat.grammar.listing import Listed, alternatives_of_members, is_plain, one_list
from corral.chat.grammar.objects import Shape, shape_of
from corral.chat.grammar.parts import Conjunction
from corral.chat.grammar.rules import MAX_WRITTEN_OUT, Rules, literal
from corral.chat.grammar.schema import SchemaCompiler
from corral.chat.grammar.strings import MAX_COUNT, StringKeywords, text_automaton
from corral.chat.grammar.texts import automaton_expression
from corral.chat.toolschema import parameters_json
from corral.errors import SchemaError
from corral.types import Tool

_MAX_SHAPES = 16
# A schema that cannot be held, or not with this much work; patterns and counts among them say ValueError.
_UNHELD = (SchemaError, RecursionError, OverflowError, ValueError)
# A schema with neither properties nor any of these says nothing of arguments: there are none.
_SAYING = frozenset(
    "required additionalProperties patternProperties propertyNames minProperties unevaluatedProperties "
    "$ref allOf anyOf oneOf if dependentSchemas".split()
)
_NAME = Sequence_(
    (
        Chars(((0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))),
        Repeat(Chars(((0x2D, 0x2E), (0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))), 0, 63),
    )
)
# What stands before and after a value, by the expression of its name.
Around = Callable[[str], tuple[str, str]]
Write = Callable[["Arguments", Conjunction, str], str]


def parameters_schema(tool: Tool) -> dict[str, Any]:
    """The JSON schema of a tool's arguments, which are an object; one that says nothing has no members."""
    schema = parameters_json(tool.function.parameters)
    if not schema.get("properties") and not _SAYING & schema.keys():
        return {"type": "object", "additionalProperties": False}
    return {**schema, "type": "object"}


class Arguments:
    """The arguments of one tool.

    Raises (all of its methods):
        WorkLimitError: the budget is used up.
    """

    def __init__(self, rules: Rules, tool: Tool, budget: Budget) -> None:
        self.rules = rules
        self.budget = budget
        self._compiler = SchemaCompiler(
            rules, parameters_schema(tool), "tools", budget=budget, takes_all=True
        )
        self._written: dict[tuple[int, ...], str] = {}

    def json(self) -> str:
        """As a JSON object."""
        try:
            return self._compiler.root()
        except _UNHELD as exc:
            _reraise(exc)
            return self.rules.shared("object")

    def members(self, around: Around, value: Write, separator: str) -> str:
        """One by one, with `separator` between them."""
        try:
            listed = [self._listed(shape, around, value) for shape in self._shapes()]
        except _UNHELD as exc:
            _reraise(exc)
            listed = [Listed([], self._free_member(around, value), 0, None)]
        return self._assembled(listed, separator)

    def _assembled(self, listed: Sequence[Listed], separator: str) -> str:
        if len(listed) == 1 and is_plain(listed[0]):
            return one_list(self.rules, "argument", listed[0], separator)
        together = alternatives_of_members(self.rules, "argument", listed, separator, self.budget)
        return one_list(self.rules, "argument", listed[0], separator) if together is None else together

    def _shapes(self) -> list[Shape]:
        root = self._compiler.root_conjunction()
        leaves = [] if root is None else self._compiler.leaves(root, "#")
        shapes = [shape_of(self._compiler, leaf, "#") for leaf in leaves[:_MAX_SHAPES]]
        found = [shape for shape in shapes if shape is not None]
        if not found:
            raise SchemaError("nothing is allowed")
        return found

    def _listed(self, shape: Shape, around: Around, value: Write) -> Listed:
        members = []
        for member in shape.members:
            expression = value(self, member.value, member.path)
            members.append((_between(around(literal(member.name)), expression), member.is_required))
        extras = []
        for extra in shape.extras:
            names = build(_NAME, self.budget)
            if extra.names is not None:
                names = intersection(names, extra.names, self.budget)
            if not names.is_empty:
                key = automaton_expression(self.rules, names, self.budget, is_bare=True)
                extras.append(_between(around(key), value(self, extra.value, "#/additionalProperties")))
        extra_member = f"({' | '.join(extras)})" if len(extras) > 1 else "".join(extras)
        return Listed(members, extra_member, shape.least, shape.most)

    def _free_member(self, around: Around, value: Write) -> str:
        key = automaton_expression(self.rules, build(_NAME, self.budget), self.budget, is_bare=True)
        return _between(around(key), value(self, (), "#"))

    def json_value(self, conjunction: Conjunction, path: str) -> str:
        """A value as JSON."""
        return self._compiler.required_rule(conjunction, path)

    def bare_value(self, conjunction: Conjunction, path: str, stops: Sequence[str]) -> str:
        """A value between tags: text as it is, everything else as JSON. `stops`: what must not begin in a text."""
        options: dict[str, None] = {}
        for leaf in self._compiler.leaves(conjunction, path):
            values, types = leaf.values(), leaf.types()
            if values is not None:
                texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
                options.update((literal(text), None) for text in texts)
            elif (not types or "string" in types) and (text := self._text(leaf, stops)) is not None:
                options[text] = None
            kinds = [kind for kind in types if kind != "string"] if values is None else []
            rule = self._compiler.rule_of_types(leaf.parts, kinds, path) if kinds else None
            if rule is not None:
                options[rule] = None
        if not options:
            raise SchemaError("nothing is allowed")
        return f"({' | '.join(options)})"

    def _text(self, leaf: Leaf, stops: Sequence[str]) -> str | None:
        """A text as it is, without any of `stops`, held to what the leaf says of strings; None: there is none."""
        keywords = leaf.string_keywords()
        if keywords == StringKeywords():
            return self.rules.text_without(stops)
        try:
            allowed = text_automaton(keywords, self.budget, lambda *_: None)
        except TooManyStatesError:
            return self.rules.text_without(stops)
        except ValueError:
            return None
        if allowed is None:
            return self.rules.text_without(stops)
        return automaton_expression(self.rules, self._harmless(allowed, stops), self.budget, is_bare=True)

    def _harmless(self, allowed: Automaton, stops: Sequence[str]) -> Automaton:
        """Those of the allowed texts in which no stop begins, if there are any and they can be found out."""
        firsts = [(ord(stop[0]), ord(stop[0])) for stop in stops]
        other = Repeat(Chars(tuple(difference_of_ranges(((0, LAST_CODE),), firsts))), 0, None)
        try:
            harmless = intersection(allowed, build(other, self.budget), self.budget)
        except TooManyStatesError:
            return allowed
        return allowed if harmless.is_empty else harmless

    def delimited_value(
        self, conjunction: Conjunction, path: str, delimiter: str, stops: Sequence[str]
    ) -> str:
        """A value in the form of Gemma: strings between delimiters, names of members bare, no white space."""
        key = tuple(map(id, conjunction))
        if key in self._written:
            return self._written[key]
        name = self._written[key] = self.rules.reserve("value")
        options: dict[str, None] = {}
        for leaf in self._compiler.leaves(conjunction, path):
            values = leaf.values()
            if values is not None:
                options.update((literal(_delimited(value, delimiter)), None) for value in values)
                continue
            for kind in leaf.types() or ["string"]:
                options.update(
                    (option, None) for option in self._delimited(leaf, kind, path, delimiter, stops)
                )
        if not options:
            raise SchemaError("nothing is allowed")
        return self.rules.define(name, " | ".join(options))

    def _delimited(self, leaf: Leaf, kind: str, path: str, delimiter: str, stops: Sequence[str]) -> list[str]:
        if kind == "string":
            text = self._text(leaf, (delimiter, *stops))
            return (
                []
                if text is None
                else [" ".join(part for part in (literal(delimiter), text, literal(delimiter)) if part)]
            )
        if kind == "array":
            return [self._delimited_array(leaf, path, delimiter, stops)]
        if kind == "object":
            shape = shape_of(self._compiler, leaf, path)
            if shape is None:
                return []
            listed = self._listed(
                shape,
                lambda key: (f"{key} {literal(':')}", ""),
                lambda _, value, where: self.delimited_value(value, where, delimiter, stops),
            )
            members = self._assembled([listed], literal(","))
            return [f"{literal('{')} {members} {literal('}')}"]
        rule = self._compiler.rule_of_types(leaf.parts, [kind], path)
        return [] if rule is None else [rule]

    def _delimited_array(self, leaf: Leaf, path: str, delimiter: str, stops: Sequence[str]) -> str:
        items = self._compiler.conjunction(leaf.all("items"), f"{path}/items")
        least, most = min(leaf.largest("minItems"), MAX_WRITTEN_OUT), leaf.smallest("maxItems")
        if items is None or most == 0:
            return literal("[]")
        item = self.delimited_value(items, f"{path}/items", delimiter, stops)
        more = self.rules.add("item", f"{literal(',')} {item}")
        rest = self.rules.counted(
            more, max(least - 1, 0), None if most is None else min(max(most, least, 1), MAX_COUNT) - 1
        )
        return f"{literal('[')} ({item} {rest}){'' if least else '?'} {literal(']')}"


def _between(around: tuple[str, str], value: str) -> str:
    return " ".join(part for part in (around[0], value, around[1]) if part)


def _reraise(error: BaseException) -> None:
    """Let a used up budget pass; all else makes arguments free."""
    if isinstance(error, WorkLimitError):
        raise error


def _delimited(value: Any, delimiter: str) -> str:
    if isinstance(value, str):
        return f"{delimiter}{value}{delimiter}"
    if isinstance(value, list):
        return f"[{','.join(_delimited(item, delimiter) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_delimited(item, delimiter)}" for key, item in value.items()) + "}"
    return json.dumps(value)
