"""Schemas of tools as plain JSON, and with their references resolved.

Prompts in a family's own form and the typing of arguments look at single fields of a property. For them `$ref` is
replaced by what it names, `allOf` by the sum of its parts, `oneOf` by `anyOf` and `const` by an `enum` of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from corral.chat.grammar.budget import Budget, WorkLimitError
from corral.chat.grammar.references import References
from corral.types import ToolParameters, ToolProperty

# Schemas are a client's: references may fan out without end. What is left over stays as it is.
_MAX_RESOLVED = 2000
_MAX_DEPTH = 64
_KINDS = {str: "string", bool: "boolean", int: "integer", float: "number"}
_FORMS = ("$ref", "allOf", "oneOf", "const")


def property_json(
    given: ToolProperty, shape_items: Callable[[Any], Any] = lambda items: items
) -> dict[str, Any]:
    """The schema of a property: the members with a field in the order of their declaration, then the others.

    `shape_items` changes the schema of a list's items, which is kept as it was sent.
    """
    value: dict[str, Any] = {}
    if given.any_of:
        value["anyOf"] = [property_json(option, shape_items) for option in given.any_of]
    if given.types:
        value["type"] = given.types[0] if len(given.types) == 1 else list(given.types)
    if given.items is not None:
        value["items"] = shape_items(given.items)
    if given.description:
        value["description"] = given.description
    if given.enum:
        value["enum"] = list(given.enum)
    if given.properties is not None:
        value["properties"] = {
            name: property_json(inner, shape_items) for name, inner in given.properties.items()
        }
    if given.required:
        value["required"] = list(given.required)
    return value | given.others


def parameters_json(given: ToolParameters) -> dict[str, Any]:
    """The schema of a tool's arguments; members that the client did not send are left out."""
    value: dict[str, Any] = {"type": given.type} if given.type else {}
    if given.defs is not None:
        value["$defs"] = given.defs
    if given.items is not None:
        value["items"] = given.items
    if given.required:
        value["required"] = list(given.required)
    if given.properties is not None:
        value["properties"] = {name: property_json(inner) for name, inner in given.properties.items()}
    return value | given.others


def resolved_parameters(given: ToolParameters) -> ToolParameters:
    """The same parameters without references; a schema that refers to itself ends there as any object."""
    root = parameters_json(given)
    if not _has_forms(root):
        return given
    resolver = _Resolver(root)
    whole = resolver.resolve({name: member for name, member in root.items() if name != "$defs"}, (), 0)
    one = _property(whole)
    return ToolParameters(
        type=given.type or (one.types[0] if one.types else ""),
        items=one.items,
        required=one.required,
        properties=one.properties,
        others=one.others,
    )


def resolved_property(parameters: ToolParameters, name: str) -> ToolProperty | None:
    """One property without references; None if the schema does not name it."""
    found = (parameters.properties or {}).get(name)
    if found is not None and not _has_forms(property_json(found)):
        return found
    return (resolved_parameters(parameters).properties or {}).get(name)


def _has_forms(schema: Any) -> bool:
    """Whether anything in a schema needs resolving; definitions count where they are used."""
    pending = [schema]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            if any(form in value for form in _FORMS):
                return True
            pending += [member for name, member in value.items() if name not in ("$defs", "definitions")]
        elif isinstance(value, list | tuple):
            pending += value
    return False


class _Resolver:
    def __init__(self, root: dict[str, Any]) -> None:
        self._references = References(root, Budget())
        self._left = _MAX_RESOLVED

    def resolve(self, schema: Any, inside: tuple[str, ...], depth: int) -> Any:
        """`inside`: the references that led here."""
        if not isinstance(schema, Mapping):
            return schema
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            return {name: member for name, member in schema.items() if name != "$ref"}
        members = dict(schema)
        reference = members.pop("$ref", None)
        if isinstance(reference, str):
            if reference in inside:
                return {"type": "object", **members}
            target = self._target(reference)
            if isinstance(target, Mapping):
                members = _sum(members, target)
                return self.resolve(members, (*inside, reference), depth + 1)
        for part in _listed(members.pop("allOf", None)):
            members = _sum(members, self.resolve(part, inside, depth + 1))
        if "oneOf" in members and "anyOf" not in members:
            members["anyOf"] = members.pop("oneOf")
        if "const" in members and "enum" not in members:
            constant = members.pop("const")
            members["enum"] = [constant]
            if (kind := _KINDS.get(type(constant))) is not None:
                members.setdefault("type", kind)
        return {name: self._member(name, member, inside, depth) for name, member in members.items()}

    def _member(self, name: str, member: Any, inside: tuple[str, ...], depth: int) -> Any:
        if name == "properties" and isinstance(member, Mapping):
            return {key: self.resolve(value, inside, depth + 1) for key, value in member.items()}
        if name in ("anyOf", "prefixItems") and isinstance(member, list | tuple):
            return [self.resolve(option, inside, depth + 1) for option in member]
        if name in ("items", "additionalProperties"):
            return self.resolve(member, inside, depth + 1)
        return member

    def _target(self, reference: str) -> Any:
        """What a reference points to; None where that is unknown."""
        try:
            return self._references.resolve(reference)
        except (ValueError, WorkLimitError):
            return None


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _sum(first: dict[str, Any], second: Any) -> dict[str, Any]:
    """Members of both; of what both have the first counts, save that properties and required names add up."""
    if not isinstance(second, Mapping):
        return first
    both = {**second, **first}
    if isinstance(first.get("properties"), Mapping) and isinstance(second.get("properties"), Mapping):
        both["properties"] = {**second["properties"], **first["properties"]}
    if isinstance(first.get("required"), list) and isinstance(second.get("required"), list):
        both["required"] = list(dict.fromkeys([*first["required"], *second["required"]]))
    return both


def _property(schema: Any) -> ToolProperty:
    """A property from plain JSON; members of another kind than their field count as not there."""
    if not isinstance(schema, Mapping):
        return ToolProperty()
    members = dict(schema)
    properties = members.pop("properties", None)
    description = members.pop("description", "")
    return ToolProperty(
        any_of=tuple(_property(option) for option in _listed(members.pop("anyOf", None))),
        types=_names(members.pop("type", None)),
        items=members.pop("items", None),
        description=description if isinstance(description, str) else "",
        enum=tuple(_listed(members.pop("enum", None))),
        properties={str(name): _property(inner) for name, inner in properties.items()}
        if isinstance(properties, Mapping)
        else None,
        required=_names(members.pop("required", None)),
        others=members,
    )


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(name for name in _listed(value) if isinstance(name, str))
