"""JSON Schema to GBNF. What cannot be enforced is refused, never ignored in silence.

Supported: types (one or several), enum, const, properties, required, additionalProperties, patternProperties and
propertyNames (as far as no name falls under two rules), items, prefixItems, minItems, maxItems, minProperties and
maxProperties where they only count, minLength, maxLength, patterns, common formats, bounds of numbers, multipleOf,
anyOf, oneOf, allOf, $ref into the same document with recursion, with keywords beside any of these. Members come in
the order of `properties`, and others than those only if the schema says so. Keywords that only describe are ignored.
Two things a grammar cannot count are left to the model: that items without a fixed choice are unique, and that no
second branch of a oneOf fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corral.errors import SchemaError
from corral.grammar.bounds import integer_rule, number_rule
from corral.grammar.formats import FORMATS
from corral.grammar.merge import SchemaMergeError, allows, constraints, merge, resolve
from corral.grammar.names import is_impossible, other_members
from corral.grammar.patterns import pattern_rule
from corral.grammar.rules import MAX_WRITTEN_OUT, Rules, json_literal

__all__ = ["SchemaCompiler", "json_object_grammar", "schema_expression", "schema_grammar"]

_MAX_DEPTH = 64
_MAX_SCHEMAS = 20_000
_MAX_COUNT = 1_000_000
_MAX_UNIQUE = 6
_TYPES = ("string", "number", "integer", "boolean", "null", "object", "array")
# Keywords that no grammar here can ensure, with the values that ask for nothing.
_REFUSED: dict[str, tuple[Any, ...]] = {
    "not": (False,),
    "then": (True, {}),
    "else": (True, {}),
    "dependentSchemas": ({},),
    "dependentRequired": ({},),
    "dependencies": ({},),
    "contains": (),
    "unevaluatedItems": (True, {}),
    "$dynamicRef": (),
}
_OBJECT_KEYS = (
    "properties",
    "required",
    "additionalProperties",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
)
_ARRAY_KEYS = ("items", "prefixItems", "minItems", "maxItems", "uniqueItems")
_ARRAY_ITEMS = {"items", "prefixItems"}
_STRING_KEYS = ("minLength", "maxLength", "pattern", "format")
_NUMBER_KEYS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")


def json_object_grammar() -> str:
    """Any JSON object."""
    rules = Rules()
    return rules.text(rules.shared("object"))


def schema_grammar(schema: Mapping[str, Any]) -> str:
    """A grammar whose every text is JSON that the schema allows.

    Raises:
        SchemaError: the schema is not valid, or asks for what a grammar cannot ensure; the text says where.
    """
    rules = Rules()
    try:
        return rules.text(schema_expression(rules, schema))
    except OverflowError as exc:
        raise SchemaError(f"invalid JSON schema in format: {exc}") from None


def schema_expression(rules: Rules, schema: Mapping[str, Any]) -> str:
    """An expression for what a schema allows, its rules among `rules`. Raises SchemaError, OverflowError."""
    return SchemaCompiler(rules, schema).root()


class SchemaCompiler:
    """Adds the rules of one schema document to a grammar.

    Raises (all of its methods):
        SchemaError: the schema is not valid, or asks for what a grammar cannot ensure.
        OverflowError: it is too large.
    """

    def __init__(self, rules: Rules, document: Mapping[str, Any], label: str = "format") -> None:
        self._document = document
        self._label = label
        self._rules = rules
        self._references: dict[str, str] = {}
        self._depth = 0
        self._count_of_schemas = 0

    def root(self) -> str:
        """An expression for the whole document."""
        return (
            self._reference("#", "#") if _mentions_root(self._document) else self._body(self._document, "#")
        )

    def _fail(self, path: str, text: object) -> SchemaError:
        return SchemaError(f"invalid JSON schema in {self._label}: at {path}: {text}")

    def _rule(self, schema: Any, path: str) -> str:
        """An expression for a schema that can be followed by anything."""
        return f"({self._body(schema, path)})"

    def _body(self, schema: Any, path: str) -> str:
        if schema is True:
            return self._rules.shared("value")
        if is_impossible(schema):
            raise self._fail(path, "nothing is allowed here")
        if not isinstance(schema, Mapping):
            raise self._fail(path, "a schema must be an object")
        self._depth += 1
        self._count_of_schemas += 1
        if self._depth > _MAX_DEPTH:
            raise self._fail(path, f"nested deeper than {_MAX_DEPTH}")
        if self._count_of_schemas > _MAX_SCHEMAS:
            raise OverflowError(f"the schema unfolds to more than {_MAX_SCHEMAS} parts")
        try:
            return self._dispatch(schema, path)
        finally:
            self._depth -= 1

    def _dispatch(self, schema: Mapping[str, Any], path: str) -> str:
        if keyword := _unenforceable(schema):
            raise self._fail(
                path,
                f"{keyword!r} is not supported in structured output, since the answer could not be held to it: "
                "leave it out of the format and check it in the answer",
            )
        if "$ref" in schema and not constraints(schema).keys() - {"$ref"}:
            return self._reference(schema["$ref"], path)
        if "$ref" in schema or "allOf" in schema:
            return self._body(self._merged([schema], path), path)
        if "enum" in schema or "const" in schema:
            return self._choice(schema, path)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._alternatives(schema, keyword, path)
        kind = schema.get("type")
        if isinstance(kind, list):
            options = [self._rule({**schema, "type": one}, path) for one in dict.fromkeys(map(str, kind))]
            if not options:
                raise self._fail(path, "'type' is an empty list")
            return " | ".join(options)
        return self._typed(schema, self._implied(schema) if kind is None else kind, path)

    def _merged(self, parts: list[Any], path: str) -> Any:
        try:
            return merge(self._document, parts)
        except (SchemaMergeError, TypeError) as exc:
            raise self._fail(path, exc) from None

    def _implied(self, schema: Mapping[str, Any]) -> str:
        """The type that a schema without one can only mean."""
        kinds = {
            "object": _OBJECT_KEYS,
            "array": _ARRAY_KEYS,
            "string": _STRING_KEYS,
            "number": _NUMBER_KEYS,
        }
        return next((kind for kind, keys in kinds.items() if any(key in schema for key in keys)), "any")

    def _typed(self, schema: Mapping[str, Any], kind: Any, path: str) -> str:
        match kind:
            case "object":
                return self._object(schema, path)
            case "array":
                return self._array(schema, path)
            case "string":
                return self._string(schema, path)
            case "integer" | "number":
                try:
                    return (integer_rule if kind == "integer" else number_rule)(self._rules, schema)
                except ValueError as exc:
                    raise self._fail(path, exc) from None
            case "boolean" | "null":
                return self._rules.shared(kind)
            case "any":
                return self._rules.shared("value")
        raise self._fail(path, f"unknown type {kind!r} (known: {', '.join(_TYPES)})")

    def _reference(self, reference: Any, path: str) -> str:
        known = self._references.get(reference) if isinstance(reference, str) else None
        if known is not None:
            return known
        try:
            target = resolve(self._document, reference)
        except SchemaMergeError as exc:
            raise self._fail(path, exc) from None
        name = self._rules.reserve(reference.rpartition("/")[2])
        self._references[reference] = name
        body = self._body(target, reference)
        if body in self._references.values() and self._leads_back(name, body):
            raise self._fail(path, f"$ref {reference!r} means only itself")
        return self._rules.define(name, body)

    def _leads_back(self, name: str, body: str) -> bool:
        """Whether a rule that is only another rule's name is, in the end, itself."""
        for _ in range(len(self._references) + 1):
            if body == name:
                return True
            body = self._rules.body(body)
        return body in self._references.values()

    def _choice(self, schema: Mapping[str, Any], path: str) -> str:
        values = schema.get("enum", [schema.get("const")])
        if not isinstance(values, list) or not values:
            raise self._fail(path, "'enum' must be a list with at least one value")
        try:
            left = [value for value in values if allows(schema, value)]
        except TypeError:
            raise self._fail(path, "a bound must be a number") from None
        if not left:
            raise self._fail(path, "no value is allowed by all keywords")
        return " | ".join(dict.fromkeys(json_literal(value) for value in left))

    def _alternatives(self, schema: Mapping[str, Any], keyword: str, path: str) -> str:
        options = schema[keyword]
        if not isinstance(options, list) or not options:
            raise self._fail(path, f"{keyword!r} must be a list with at least one schema")
        rest = {key: value for key, value in constraints(schema).items() if key != keyword}
        bodies = []
        for i, option in enumerate(options):
            merged = self._merged([rest, option], path) if rest else option
            if not is_impossible(merged):
                bodies.append(self._rule(merged, f"{path}/{keyword}/{i}"))
        if not bodies:
            raise self._fail(path, "no alternative is possible")
        return " | ".join(dict.fromkeys(bodies))

    def _object(self, schema: Mapping[str, Any], path: str) -> str:
        properties = schema.get("properties") or {}
        required = schema.get("required") or []
        if not isinstance(properties, Mapping):
            raise self._fail(path, "'properties' must be an object")
        if not isinstance(required, Sequence) or isinstance(required, str):
            raise self._fail(path, "'required' must be a list of names")
        if not all(isinstance(name, str) for name in required):
            raise self._fail(path, "'required' must be a list of names")
        needed = set(required)
        additional = schema.get("additionalProperties", schema.get("unevaluatedProperties", not properties))
        members = [
            (self._member(name, sub, f"{path}/properties/{name}"), name in needed)
            for name, sub in properties.items()
            if name in needed or not is_impossible(sub)
        ]
        # A required name without a schema of its own can be anything that extra members may be.
        missing = list(dict.fromkeys(name for name in required if name not in properties))
        if missing and schema.get("additionalProperties") is False:
            raise self._fail(path, f"the required property {missing[0]!r} is not allowed")
        members += [(self._member(name, additional or True, path), True) for name in missing]
        extra = self._extra(schema, [*properties, *missing], additional, path)
        self._rules.shared("ws")
        least, most = (
            self._count(schema, "minProperties", path) or 0,
            self._count(schema, "maxProperties", path),
        )
        if least or most is not None:
            return self._counted_object(members, extra, least, most, path)
        return self._assemble(members, extra, path)

    def _extra(self, schema: Mapping[str, Any], names: list[str], additional: Any, path: str) -> str:
        """A member that is none of `names`; empty if there may be none."""
        try:
            others = other_members(schema, names, additional)
        except ValueError as exc:
            raise self._fail(path, exc) from None
        if others is None:
            return ""
        key_schema, value_schema = others
        value = self._rule(value_schema, f"{path}/additionalProperties")
        if key_schema is not None:
            key = self._rule(key_schema, f"{path}/propertyNames")
        else:
            key = self._rules.other_string(names) if names else self._rules.shared("string")
        return f'{key} ":" ws {value}'

    def _counted_object(
        self, members: list[tuple[str, bool]], extra: str, least: int, most: int | None, path: str
    ) -> str:
        """An object with bounds on how many members it has, as far as that can be told without names."""
        required_count = sum(is_required for _, is_required in members)
        if most is not None and most < max(required_count, least):
            raise self._fail(path, "maxProperties is too small")
        if least <= required_count and (most is None or (not extra and len(members) <= most)):
            return self._assemble(members, extra, path)
        if not members and extra and least <= 1:
            more = self._rules.add("member", f'"," ws {extra}')
            rest = self._rules.counted(more, 0, None if most is None else max(most - 1, 0))
            body = f"({extra} {rest}){'' if least else '?'}"
            return '"{" ws "}"' if most == 0 else f'"{{" ws {body} ws "}}"'
        if extra or not (least <= len(members) <= (most or len(members))):
            raise self._fail(path, "minProperties and maxProperties are not supported for this object")
        raise self._fail(path, "minProperties and maxProperties are not supported beside optional properties")

    def _member(self, name: str, schema: Any, path: str) -> str:
        value = self._rule(schema, path)
        return f'{json_literal(name)} ":" ws {value}'

    def _assemble(self, members: list[tuple[str, bool]], extra: str, path: str) -> str:
        inner = self._rules.listed(path.rpartition("/")[2], members, '"," ws', extra)
        return f'"{{" ws {inner} ws "}}"' if inner else '"{" ws "}"'

    def _array(self, schema: Mapping[str, Any], path: str) -> str:
        self._rules.shared("ws")
        least = self._count(schema, "minItems", path) or 0
        most = self._count(schema, "maxItems", path)
        if most is not None and most < least:
            raise self._fail(path, "maxItems is smaller than minItems")
        prefix = schema.get("prefixItems") or []
        items = schema.get("items", not prefix)
        if isinstance(items, list):
            prefix, items = items, schema.get("additionalItems", False)
        if not isinstance(prefix, list):
            raise self._fail(path, "'prefixItems' must be a list of schemas")
        if schema.get("uniqueItems") and not prefix and (options := self._few_values(items)):
            return self._distinct(options, least, len(options) if most is None else most, path)
        fixed = [self._rule(sub, f"{path}/prefixItems/{i}") for i, sub in enumerate(prefix)]
        item = None if items is False else self._rule(items, f"{path}/items")
        if item is None:
            most = len(fixed) if most is None else min(most, len(fixed))
        if most is not None and most < least:
            raise self._fail(path, "there are fewer items than minItems")
        fixed = fixed if most is None else fixed[:most]
        if not fixed and (most == 0 or item is None):
            return '"[" ws "]"'
        more = self._rules.add("item", f'"," ws {item}') if item is not None else ""
        left = None if most is None else most - max(len(fixed), 1)
        if fixed:
            body = ' "," ws '.join(fixed)
        else:
            body = str(item)
        if more and left != 0:
            body += " " + self._rules.counted(more, max(least - max(len(fixed), 1), 0), left)
        if fixed or least:
            return f'"[" ws {body} ws "]"'
        return f'"[" ws ({body})? ws "]"'

    def _few_values(self, items: Any) -> list[str]:
        """The values of items that are one of a few; none when there are too many to tell them apart."""
        if not isinstance(items, Mapping):
            return []
        if "$ref" in items:
            items = self._merged([items], "#")
        if not isinstance(items, Mapping) or "anyOf" in items or "oneOf" in items or "allOf" in items:
            return []
        values = [True, False] if items.get("type") == "boolean" else items.get("enum", [])
        if not isinstance(values, list) or len(values) > _MAX_UNIQUE:
            return []
        return list(dict.fromkeys(json_literal(value) for value in values if allows(items, value)))

    def _distinct(self, options: list[str], least: int, most: int, path: str) -> str:
        """Every choice of `least` to `most` different values in any order: a rule for each set that is left."""
        if least > len(options):
            raise self._fail(path, "there are fewer different items than minItems")
        most = min(most, len(options))
        known: dict[frozenset[str], str] = {frozenset(): '""'}

        def after(left: frozenset[str]) -> str:
            taken = len(options) - len(left)
            if left not in known:
                more = " | ".join(f'"," ws {value} {after(left - {value})}' for value in sorted(left))
                body = "" if taken >= most else f"({more}){'' if taken < least else '?'}"
                known[left] = self._rules.add("distinct", body or '""')
            return known[left]

        everything = frozenset(options)
        first = " | ".join(f"{value} {after(everything - {value})}" for value in options)
        if most == 0:
            return '"[" ws "]"'
        return f'"[" ws ({first}){"" if least else "?"} ws "]"'

    def _string(self, schema: Mapping[str, Any], path: str) -> str:
        least = self._count(schema, "minLength", path) or 0
        most = self._count(schema, "maxLength", path)
        if most is not None and most < least:
            raise self._fail(path, "maxLength is smaller than minLength")
        char = self._rules.shared("char")
        if "pattern" in schema:
            try:
                return f'"\\"" {pattern_rule(schema["pattern"], char, least=least, most=most)} "\\""'
            except ValueError as exc:
                raise self._fail(path, f"pattern {schema['pattern']!r}: {exc}") from None
        form = schema.get("format", "")
        known = FORMATS.get(form) if isinstance(form, str) else None
        if known is not None:
            return f'"\\"" ({known}) "\\""'
        if least or most is not None:
            return f'"\\"" {self._rules.counted(char, least, most)} "\\""'
        return self._rules.shared("string")

    def _count(self, schema: Mapping[str, Any], key: str, path: str) -> int | None:
        value = schema.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._fail(path, f"{key!r} must be a whole number of at least 0")
        limit = MAX_WRITTEN_OUT if key.startswith("min") else _MAX_COUNT
        if value > limit:
            raise self._fail(path, f"{key!r} may be at most {limit}")
        return value


def _unenforceable(schema: Mapping[str, Any]) -> str:
    """A keyword that the answer could not be held to; empty if there is none."""
    for keyword, harmless in _REFUSED.items():
        if keyword not in schema or schema[keyword] in harmless:
            continue
        if keyword in ("then", "else") and "if" not in schema:
            continue
        if keyword == "unevaluatedItems" and schema[keyword] is False and _ARRAY_ITEMS & schema.keys():
            continue  # items are bounded without it
        return keyword
    return ""


def _mentions_root(document: Any) -> bool:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            if value.get("$ref") == "#":
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False
