"""What chat completions and responses read alike: reasoning effort, and images in data URLs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from corral.api.http.exchange import Exchange
from corral.api.reading.decode import decode_base64
from corral.errors import InvalidRequestError
from corral.golang.quote import quoted
from corral.types import Think

_THINK: dict[str, Think] = {
    "": None,
    "none": False,
    "minimal": "low",
    "xhigh": "max",
    "ultra": "max",
    **{level: cast("Think", level) for level in ("low", "medium", "high", "max")},
}
_AUDIO_TEXT = "invalid input_audio format"
_IMAGE_PREFIXES = (
    "data:image/jpeg;base64,",
    "data:image/jpg;base64,",
    "data:image/png;base64,",
    "data:image/webp;base64,",
    "data:;base64,",
)


def think_of_effort(effort: str) -> Think:
    """What a reasoning effort asks of the model; None if it does not ask for anything.

    Raises:
        InvalidRequestError: no such effort.
    """
    if effort not in _THINK:
        allowed = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'
        raise InvalidRequestError(f"invalid reasoning value: {quoted(effort)} (must be {allowed})")
    return _THINK[effort]


def format_of(wanted: Mapping[str, Any] | None, param: str) -> str:
    """The service's `format` for OpenAI's `response_format` or `text.format`: JSON text, empty for free text.

    A schema stands in `json_schema` in chats, beside the type in responses and with some clients in chats too.

    Raises:
        InvalidRequestError: no such type, or no schema where there has to be one. Free text instead would be an
            answer that the client cannot read.
    """
    if wanted is None:
        return ""
    given = wanted.get("type")
    kind = given.strip().lower() if isinstance(given, str) else ""
    inner = wanted.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    schema = wanted.get("schema") if schema is None else schema
    if kind == "text":
        return ""
    if kind not in ("json_object", "json_schema"):
        raise InvalidRequestError(
            f"Invalid value for '{param}.type': {json.dumps(given, ensure_ascii=False)}."
            " Supported values are: 'json_object', 'json_schema', and 'text'."
        )
    if isinstance(schema, Mapping | bool):
        return json.dumps(schema if schema is not True else {}, ensure_ascii=False)
    if kind == "json_schema" or schema is not None:
        raise InvalidRequestError(f"Missing or invalid '{param}' schema: it has to be a JSON Schema object.")
    return '"json"'


def image_bytes(url: str) -> bytes:
    """The image in a data URL.

    Raises:
        InvalidRequestError: another kind of URL, or data that does not decode.
    """
    if url.startswith(("http://", "https://")):
        raise InvalidRequestError(
            "image URLs are not currently supported, please use base64 encoded data instead"
        )
    prefix = next((prefix for prefix in _IMAGE_PREFIXES if url.startswith(prefix)), None)
    if prefix is None:
        raise InvalidRequestError("invalid image input")
    try:
        return decode_base64(url[len(prefix) :])
    except InvalidRequestError:
        raise InvalidRequestError("invalid image input") from None


def audio_bytes(audio: Any) -> bytes:
    """The sound in an `input_audio`; its format shows in its bytes.

    Raises:
        InvalidRequestError
    """
    if not isinstance(audio, Mapping):
        raise InvalidRequestError(_AUDIO_TEXT)
    data = audio.get("data")
    if not isinstance(data, str) or not data:
        raise InvalidRequestError(f"{_AUDIO_TEXT}: missing data")
    try:
        return decode_base64(data)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"invalid input_audio base64 data: {error}") from None


def go_type(value: Any) -> str:
    """The name that Go gives to the type of a decoded value."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "float64"
    if isinstance(value, str):
        return "string"
    return "[]interface {}" if isinstance(value, list) else "map[string]interface {}"


def is_sdk(exchange: Exchange) -> bool:
    """Whether one of OpenAI's own packages asks: they have members for what Ollama does not report."""
    return b"x-stainless-lang" in exchange.headers
