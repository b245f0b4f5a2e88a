"""JSON schemas of bodies: those of requests are made from the very tables that read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corral.api.reading import decode, tool_schemas
from corral.api.reading.fields import Structure, Structures, number

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
MAYBE_STRING: Schema = {"type": ["string", "null"]}


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request as `/openapi.json` describes it; `example` is a JSON value (None: no example)."""

    media_type: str
    schema: Schema
    example: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of an answer. `name` is that of its schema in `/openapi.json`; members that can be absent are not
    required.

    An empty schema describes an answer of any media type.
    """

    name: str
    schema: Schema


ANYTHING = Answer("Anything", {})
# Stands in examples.
MODEL = "corral-tiny"
QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]
BINARY: Schema = {"type": "string", "format": "binary"}
BINARY_BODY = Body("application/octet-stream", BINARY)


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
    decode.boolean: BOOLEAN,
    decode.integer: INTEGER,
    number: NUMBER,
    decode.integers: array_of(INTEGER),
    decode.strings: array_of(STRING),
    decode.mapping: OBJECT,
    decode.string_map: {"type": "object", "additionalProperties": STRING},
    decode.any_value: {},
    decode.raw_json: {},
    decode.keep_alive: {
        "description": "How long the model stays loaded: a duration like `5m`, or seconds; negative: forever",
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


def json_body(
    fields: Mapping[str, decode.Decode], required: str = "", example: Any = None, /, **special: Schema
) -> Body:
    """A JSON body that `fields` reads. `special` describes the members whose decoders do not tell their type.

    Raises:
        KeyError: a member whose decoder does not tell its type is not in `special`.
    """
    return Body("application/json", _object_read_by(fields, required, special), example)


def _object_read_by(
    fields: Mapping[str, decode.Decode], required: str, special: Mapping[str, Schema]
) -> Schema:
    members = {
        name: special[name] if name in special else _schema_of(decoder) for name, decoder in fields.items()
    }
    return object_of(required, **members)


def _schema_of(decoder: decode.Decode) -> Schema:
    if isinstance(decoder, Structure):
        return _object_read_by(decoder.fields, "", {})
    if isinstance(decoder, Structures):
        return array_of(_object_read_by(decoder.one.fields, "", {}))
    return _BY_DECODER[decoder]
