"""Tool declarations of Gemma 4: a schema without quotes around names, types in capitals, everything sorted.

Schemas come in two forms: the properties of the request, which know their fields, and whatever stands below `items`,
which is any JSON and is shown as far as it looks like a schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from corral.chat.rendering import jsontext
from corral.chat.rendering.gemma_values import format_number
from corral.chat.toolschema import resolved_parameters
from corral.types import Tool, ToolProperty

QUOTE = '<|"|>'
_SCHEMA_KEYS = frozenset({"description", "type", "properties", "required", "nullable"})


def format_declaration(tool: Tool) -> str:
    """The declaration of one tool.

    Raises:
        TemplateError: the schema is nested too deeply.
    """
    function = tool.function
    parameters = resolved_parameters(function.parameters)
    fields = [f"description:{_quoted(function.description)}"]
    if parameters.properties is not None or parameters.type:
        schema = []
        if parameters.properties:
            schema.append(f"properties:{{{_properties(_property_schemas(parameters.properties, 0))}}}")
        if parameters.required:
            schema.append(f"required:{_string_list(parameters.required)}")
        if parameters.type:
            schema.append(f"type:{_quoted(parameters.type.upper())}")
        fields.append(f"parameters:{{{','.join(schema)}}}")
    return f"<|tool>declaration:{function.name}{{{','.join(fields)}}}<tool|>"


def _quoted(text: str) -> str:
    return f"{QUOTE}{text}{QUOTE}"


def _string_list(values: Sequence[Any]) -> str:
    return f"[{','.join(_quoted(value) for value in values if isinstance(value, str))}]"


def _property_schemas(properties: Mapping[str, ToolProperty], depth: int) -> dict[str, Any]:
    jsontext.check_depth(depth)
    return {name: _schema(prop, depth) for name, prop in properties.items()}


def _schema(prop: ToolProperty, depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    if types := prop.types or _union_types(prop):
        names = ", ".join(f"'{kind}'" for kind in types)
        schema["type"] = types[0] if len(types) == 1 else f"[{names}]"  # one string: models saw it so
    if prop.description:
        schema["description"] = prop.description
    if prop.enum:
        schema["enum"] = list(prop.enum)
    if prop.items is not None:
        schema["items"] = jsontext.sorted_value(prop.items)
    if prop.properties is not None:
        schema["properties"] = _property_schemas(prop.properties, depth + 2)
    if prop.required:
        schema["required"] = list(prop.required)
    return schema


def _union_types(prop: ToolProperty) -> tuple[str, ...]:
    """The types of an `anyOf` of nothing but types, each once."""
    for option in prop.any_of:
        if option != ToolProperty(types=option.types, others=option.others) or not option.types:
            return ()
    return tuple(dict.fromkeys(kind for option in prop.any_of for kind in option.types))


def _type_names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value.upper()]
    return [kind.upper() for kind in value if isinstance(kind, str)] if isinstance(value, list) else []


def _type_field(names: Sequence[str]) -> str:
    return f"type:{_quoted(names[0])}" if len(names) == 1 else f"type:{_string_list(names)}"


def _properties(schemas: Mapping[str, Any]) -> str:
    return ",".join(
        f"{name}:{{{_fields(schema)}}}"
        for name, schema in sorted(schemas.items(), key=itemgetter(0))
        if isinstance(schema, Mapping)
    )


def _fields(schema: Mapping[str, Any]) -> str:
    """The fields of one property; `enum`, `items` and `properties` only where the type is theirs."""
    fields = []
    description = schema.get("description")
    if isinstance(description, str) and description:
        fields.append(f"description:{_quoted(description)}")
    names = _type_names(schema.get("type"))
    kind = names[0] if names else ""
    enum, items = schema.get("enum"), schema.get("items")
    if kind == "STRING" and isinstance(enum, list) and enum:
        fields.append(f"enum:[{','.join(_quoted(jsontext.format_value(value)) for value in enum)}]")
    elif kind == "ARRAY" and isinstance(items, Mapping) and items:
        fields.append(f"items:{{{_items(items)}}}")
    if schema.get("nullable") is True:
        fields.append("nullable:true")
    if kind == "OBJECT":
        nested = schema.get("properties")
        if not isinstance(nested, Mapping):
            nested = {key: value for key, value in schema.items() if key not in _SCHEMA_KEYS}
        fields.append(f"properties:{{{_properties(nested)}}}")
        required = schema.get("required")
        if isinstance(required, list) and any(isinstance(name, str) for name in required):
            fields.append(f"required:{_string_list(required)}")
    if names:
        fields.append(_type_field(names))
    return ",".join(fields)


def _items(items: Mapping[str, Any]) -> str:
    """The fields of an `items` schema, which is sorted already."""
    fields = []
    for key, value in items.items():
        if key == "properties":
            fields.append(f"properties:{{{_properties(value) if isinstance(value, Mapping) else ''}}}")
        elif key == "required":
            fields.append(f"required:{_string_list(value) if isinstance(value, list) else '[]'}")
        elif key == "type":
            if names := _type_names(value):
                fields.append(_type_field(names))
        elif value is not None:
            fields.append(f"{key}:{_any_value(value)}")
    return ",".join(fields)


def _any_value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return format_number(value)
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{_quoted(name)}:{_any_value(member)}' for name, member in value.items())}}}"
    return f"[{','.join(_any_value(element) for element in value)}]"
