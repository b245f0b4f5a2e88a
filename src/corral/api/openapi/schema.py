"""JSON schemas of request bodies, made from the very tables that read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.api.reading import decode, tool_schemas
from corral.api.reading.fields import Structure, Structures, number

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def array_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def object_of(required: str = "", /, **members: Schema) -> Schema:
    """An object with these members; `required` names some of them."""
    schema: Schema = {"type": "object", "properties": members}
    return schema | ({"required": required.split()} if required else {})


_BY_DECODER: dict[decode.Decode, Schema] = {
    decode.string: STRING,
    decode.boolean: {"type": "boolean"},
    decode.integer: {"type": "integer"},
    number: {"type": "number"},
    decode.integers: array_of({"type": "integer"}),
    decode.strings: array_of(STRING),
    decode.mapping: {"type": "object"},
    decode.string_map: {"type": "object", "additionalProperties": STRING},
    decode.any_value: {},
    decode.raw_json: {},
    decode.keep_alive: {
        "description": "how long the model stays loaded: a duration like `5m`, or seconds; negative: for ever",
        "type": ["string", "number"],
    },
    decode.think: {"anyOf": [{"type": "boolean"}, {"enum": ["low", "medium", "high", "max"]}]},
    decode.images: array_of({"type": "string", "contentEncoding": "base64"}),
    decode.messages: array_of(ref("Message")),
    tool_schemas.tools: array_of(ref("Tool")),
}

_TOOL_CALL = object_of(
    id=STRING,
    function=object_of("name", index={"type": "integer"}, name=STRING, arguments={"type": "object"}),
)
COMPONENTS: dict[str, Schema] = {
    "Message": object_of(
        "role",
        role=STRING,
        content=STRING,
        thinking=STRING,
        images=_BY_DECODER[decode.images],
        tool_calls=array_of(_TOOL_CALL),
        tool_name=STRING,
        tool_call_id=STRING,
    ),
    "Tool": object_of(
        "function",
        type=STRING,
        function=object_of(
            "name",
            name=STRING,
            description=STRING,
            parameters=object_of(
                type=STRING,
                properties={"type": "object", "additionalProperties": {"type": "object"}},
                required=array_of(STRING),
            ),
        ),
    ),
}


def body_schema(
    fields: Mapping[str, decode.Decode], required: str = "", special: Mapping[str, Schema] | None = None
) -> Schema:
    """The schema of a body that `fields` reads; `special` has the members whose decoders are their own.

    Raises:
        KeyError: a member whose decoder says nothing of its type, and that is not in `special`.
    """
    special = special or {}
    members = {
        name: special[name] if name in special else _schema_of(decoder) for name, decoder in fields.items()
    }
    return object_of(required, **members)


def _schema_of(decoder: decode.Decode) -> Schema:
    if isinstance(decoder, Structure):
        return body_schema(decoder.fields)
    if isinstance(decoder, Structures):
        return array_of(body_schema(decoder.one.fields))
    return _BY_DECODER[decoder]
