"""JSON Schema to GBNF. What cannot be enforced is refused, never ignored in silence.

Supported: types (one or several), enum, const, properties, required, additionalProperties, items, prefixItems,
minItems, maxItems, minLength, maxLength, a subset of `pattern`, common `format`s, integer bounds, anyOf, oneOf, allOf
(merged), $ref into the same document with recursion. Members come in the order of `properties`. Keywords that only
describe (title, description, default, examples ...) are ignored, and so are bounds of non-integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corral.errors import SchemaError
from corral.grammar.numbers import integer_range
from corral.grammar.patterns import FORMATS, pattern_rule
from corral.grammar.rules import Rules, json_literal, repeat

__all__ = ["json_object_grammar", "schema_grammar"]

_MAX_DEPTH = 64
_MAX_REPEAT = 4096
_TYPES = ("string", "number", "integer", "boolean", "null", "object", "array")
_REFUSED = (
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependentRequired",
    "patternProperties",
    "propertyNames",
    "contains",
    "minContains",
    "maxContains",
    "uniqueItems",
    "unevaluatedProperties",
    "unevaluatedItems",
    "minProperties",
    "maxProperties",
    "multipleOf",
    "$dynamicRef",
)
_MERGED = ("properties", "required", "type", "additionalProperties")


def json_object_grammar() -> str:
    """Any JSON object."""
    rules = Rules()
    return rules.text(rules.shared("object"))


def schema_grammar(schema: Mapping[str, Any]) -> str:
    """A grammar whose every text is JSON that the schema allows.

    Raises:
        SchemaError: the schema is not valid, or asks for what a grammar cannot ensure; the text says where.
    """
    try:
        return _Compiler(schema).compile()
    except OverflowError as exc:
        raise SchemaError(f"invalid JSON schema in format: {exc}") from None


class _Compiler:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._rules = Rules()
        self._references: dict[str, str] = {}
        self._depth = 0

    def compile(self) -> str:
        self._references["#"] = "root"
        return self._rules.text(self._body(self._root, "#"))

    def _fail(self, path: str, text: str) -> SchemaError:
        return SchemaError(f"invalid JSON schema in format: at {path}: {text}")

    def _rule(self, schema: Any, path: str) -> str:
        """An expression for a schema that can be followed by anything."""
        return f"({self._body(schema, path)})"

    def _body(self, schema: Any, path: str) -> str:
        if schema is True or schema == {}:
            return self._rules.shared("value")
        if not isinstance(schema, Mapping):
            raise self._fail(path, "a schema must be an object")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._fail(path, f"nested deeper than {_MAX_DEPTH}")
        try:
            return self._dispatch(schema, path)
        finally:
            self._depth -= 1

    def _dispatch(self, schema: Mapping[str, Any], path: str) -> str:
        for keyword in _REFUSED:
            if keyword in schema and schema[keyword] not in (False, {}, []):
                raise self._fail(path, f"{keyword!r} is not supported in structured output")
        if "$ref" in schema:
            return self._reference(schema["$ref"], path)
        if "const" in schema:
            return json_literal(schema["const"])
        if "enum" in schema:
            return self._enum(schema, path)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._alternatives(schema, keyword, path)
        if "allOf" in schema:
            return self._body(self._merge(schema, path), path)
        kind = schema.get("type")
        if isinstance(kind, list):
            options = [self._rule({**schema, "type": one}, path) for one in kind]
            if not options:
                raise self._fail(path, "'type' is an empty list")
            return " | ".join(options)
        return self._typed(schema, kind or self._implied(schema), path)

    def _implied(self, schema: Mapping[str, Any]) -> str:
        """The type that a schema without one can only mean."""
        if any(key in schema for key in ("properties", "required", "additionalProperties")):
            return "object"
        if any(key in schema for key in ("items", "prefixItems", "minItems", "maxItems")):
            return "array"
        if any(key in schema for key in ("minLength", "maxLength", "pattern", "format")):
            return "string"
        return "any"

    def _typed(self, schema: Mapping[str, Any], kind: Any, path: str) -> str:
        match kind:
            case "object":
                return self._object(schema, path)
            case "array":
                return self._array(schema, path)
            case "string":
                return self._string(schema, path)
            case "integer":
                return self._integer(schema, path)
            case "number" | "boolean" | "null":
                return self._rules.shared(kind)
            case "any":
                return self._rules.shared("value")
        raise self._fail(path, f"unknown type {kind!r} (known: {', '.join(_TYPES)})")

    def _reference(self, reference: Any, path: str) -> str:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise self._fail(path, f"$ref {reference!r} does not point into the same schema")
        known = self._references.get(reference)
        if known is not None:
            return known
        target: Any = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and part in target:
                target = target[part]
            elif isinstance(target, list) and part.isdigit() and int(part) < len(target):
                target = target[int(part)]
            else:
                raise self._fail(path, f"$ref {reference!r} points to nothing")
        name = self._rules.reserve(reference.rpartition("/")[2])
        self._references[reference] = name
        body = self._body(target, reference)
        if body == name:
            raise self._fail(path, f"$ref {reference!r} means only itself")
        return self._rules.define(name, body)

    def _enum(self, schema: Mapping[str, Any], path: str) -> str:
        values = schema["enum"]
        if not isinstance(values, list) or not values:
            raise self._fail(path, "'enum' must be a list with at least one value")
        return " | ".join(json_literal(value) for value in values)

    def _alternatives(self, schema: Mapping[str, Any], keyword: str, path: str) -> str:
        options = schema[keyword]
        if not isinstance(options, list) or not options:
            raise self._fail(path, f"{keyword!r} must be a list with at least one schema")
        rest = {key: value for key, value in schema.items() if key != keyword}
        shared = any(key in rest for key in (*_MERGED, "allOf"))
        bodies = []
        for i, option in enumerate(options):
            merged = self._merge({**rest, "allOf": [option]}, path) if shared else option
            bodies.append(self._rule(merged, f"{path}/{keyword}/{i}"))
        return " | ".join(dict.fromkeys(bodies))

    def _merge(self, schema: Mapping[str, Any], path: str) -> dict[str, Any]:
        """A schema and its allOf parts as one.

        Raises:
            SchemaError: two parts say different things of the same keyword.
        """
        merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            part = self._resolved(part, path)
            if "allOf" in part:
                part = self._merge(part, path)
            for key, value in part.items():
                if key == "properties":
                    merged[key] = {**merged.get(key, {}), **value}
                elif key == "required":
                    merged[key] = list(dict.fromkeys([*merged.get(key, []), *value]))
                elif key in ("minimum", "exclusiveMinimum", "minLength", "minItems"):
                    merged[key] = max(value, merged.get(key, value))
                elif key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems"):
                    merged[key] = min(value, merged.get(key, value))
                elif key in ("title", "description", "default", "examples", "$defs", "definitions"):
                    continue
                elif key in merged and merged[key] != value:
                    raise self._fail(path, f"the parts of allOf disagree on {key!r}")
                else:
                    merged[key] = value
        return merged

    def _resolved(self, schema: Any, path: str) -> Mapping[str, Any]:
        """A schema with references followed, for merging."""
        for _ in range(_MAX_DEPTH):
            if not isinstance(schema, Mapping):
                break
            if "$ref" not in schema:
                return schema
            target: Any = self._root
            for part in str(schema["$ref"]).split("/")[1:]:
                target = (
                    target.get(part.replace("~1", "/").replace("~0", "~"))
                    if isinstance(target, Mapping)
                    else None
                )
            schema = target
        raise self._fail(path, "a part of allOf is no schema")

    def _object(self, schema: Mapping[str, Any], path: str) -> str:
        properties = schema.get("properties") or {}
        required = schema.get("required") or []
        if not isinstance(properties, Mapping):
            raise self._fail(path, "'properties' must be an object")
        if not isinstance(required, Sequence) or isinstance(required, str):
            raise self._fail(path, "'required' must be a list of names")
        additional = schema.get("additionalProperties", not properties)
        members = [
            (self._member(name, sub, f"{path}/properties/{name}"), name in required)
            for name, sub in properties.items()
        ]
        # A required name without a schema of its own can be anything that extra members may be.
        extra_schema = additional if isinstance(additional, Mapping) else True
        members += [
            (self._member(name, extra_schema, path), True) for name in required if name not in properties
        ]
        extra = ""
        if additional is not False:
            value = self._rule(extra_schema, f"{path}/additionalProperties")
            extra = f'{self._rules.shared("string")} ":" ws {value}'
        self._rules.shared("ws")
        return self._assemble(members, extra, path)

    def _member(self, name: str, schema: Any, path: str) -> str:
        value = self._rule(schema, path)
        return f'{json_literal(name)} ":" ws {value}'

    def _assemble(self, members: list[tuple[str, bool]], extra: str, path: str) -> str:
        """Members in order, each optional one present or not, with commas only between those that are there.

        `tail[i]` continues after a member was written; `head` is where none was yet.
        """
        hint = path.rpartition("/")[2]
        extras = f'("," ws {extra})*' if extra else ""
        tail = self._rules.add(f"{hint}-tail", extras) if extras else ""
        head_options = [f"{extra} {extras}"] if extra else []
        is_open = True  # whether everything from here on may be absent
        for member, is_required in reversed(members):
            with_member = f"{member} {tail}".strip()
            if is_required:
                head_options, is_open = [with_member], False
                tail = self._rules.add(f"{hint}-tail", f'"," ws {with_member}')
            else:
                head_options = [with_member, *head_options]
                rest = f" | {tail}" if tail else ""
                tail = self._rules.add(f"{hint}-tail", f'("," ws {with_member}){rest or "?"}')
        if not head_options:
            return '"{" ws "}"'
        inner = f"({' | '.join(head_options)})" + ("?" if is_open else "")
        return f'"{{" ws {inner} ws "}}"'

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
        fixed = [self._rule(sub, f"{path}/prefixItems/{i}") for i, sub in enumerate(prefix)]
        item = None if items is False else self._rule(items, f"{path}/items")
        if item is None:
            most = len(fixed) if most is None else min(most, len(fixed))
        fixed = fixed if most is None else fixed[:most]
        if fixed:
            body = ' "," ws '.join(fixed)
            more = None if most is None else most - len(fixed)
            if item is not None and more != 0:
                body += " " + repeat(f'("," ws {item})', max(least - len(fixed), 0), more)
            return f'"[" ws {body} ws "]"'
        if most == 0 or item is None:
            return '"[" ws "]"'
        more = None if most is None else most - 1
        body = f"{item} " + repeat(f'("," ws {item})', max(least - 1, 0), more)
        return f'"[" ws {body} ws "]"' if least else f'"[" ws ({body})? ws "]"'

    def _string(self, schema: Mapping[str, Any], path: str) -> str:
        least = self._count(schema, "minLength", path) or 0
        most = self._count(schema, "maxLength", path)
        if most is not None and most < least:
            raise self._fail(path, "maxLength is smaller than minLength")
        if "pattern" in schema:
            if least or most is not None:
                raise self._fail(path, "'pattern' together with a length is not supported")
            try:
                return f'"\\"" {pattern_rule(schema["pattern"])} "\\""'
            except ValueError as exc:
                raise self._fail(path, f"pattern {schema['pattern']!r}: {exc}") from None
        known = FORMATS.get(schema.get("format", ""))
        if known is not None:
            return f'"\\"" {known} "\\""'
        if least or most is not None:
            return f'"\\"" {repeat(self._rules.shared("char"), least, most)} "\\""'
        return self._rules.shared("string")

    def _integer(self, schema: Mapping[str, Any], path: str) -> str:
        low, high = self._bound(schema, "minimum", path), self._bound(schema, "maximum", path)
        above = self._bound(schema, "exclusiveMinimum", path)
        below = self._bound(schema, "exclusiveMaximum", path)
        if above is not None:
            low = above + 1 if low is None else max(low, above + 1)
        if below is not None:
            high = below - 1 if high is None else min(high, below - 1)
        if low is None and high is None:
            return self._rules.shared("integer")
        if low is not None and high is not None and low > high:
            raise self._fail(path, "no integer is within the bounds")
        return integer_range(low, high)

    def _bound(self, schema: Mapping[str, Any], key: str, path: str) -> int | None:
        value = schema.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._fail(path, f"{key!r} must be a number")
        rounded = int(value)
        if rounded == value:
            return rounded
        # A bound between two integers: the nearest one on the allowed side.
        floor = rounded if value > 0 else rounded - 1
        return {
            "minimum": floor + 1,
            "exclusiveMinimum": floor,
            "maximum": floor,
            "exclusiveMaximum": floor + 1,
        }[key]

    def _count(self, schema: Mapping[str, Any], key: str, path: str) -> int | None:
        value = schema.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._fail(path, f"{key!r} must be a whole number of at least 0")
        if value > _MAX_REPEAT:
            raise self._fail(path, f"{key!r} may be at most {_MAX_REPEAT}")
        return value
