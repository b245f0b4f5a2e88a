"""Reads the body of `/v1/responses`. Ollama: openai/responses.go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.api.reading import decode
from corral.api.reading.extras import EXTRA_FIELDS, extra_options
from corral.api.reading.fields import number
from corral.api.reading.jsonread import JSONObject, kind_of, plain
from corral.errors import InvalidRequestError

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """The members of a request. None: absent. `items` is its input, a text as a message.

    `options` holds the native options among its members; `metadata`, `text_format` and `reasoning` go back as they
    came.
    """

    model: str
    items: tuple[Any, ...] = ()
    instructions: str = ""
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    reasoning: Mapping[str, str] | None = None
    text_format: Mapping[str, Any] | None = None
    format: str = ""
    is_format_strict: bool = False
    tools: tuple[Item, ...] = ()
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    truncation: str = "disabled"
    previous_response_id: str = ""
    store: bool | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    has_logprobs: bool = False
    top_logprobs: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_alive_ns: int | None = None
    user: str = ""
    is_background: bool = False
    is_stream: bool = False


def read_responses(body: bytes, max_depth: int) -> ResponsesRequest:
    """The request.

    Raises:
        InvalidRequestError
    """
    values = decode.decode_request(body, "ResponsesRequest", RESPONSES, max_depth=max_depth, package="openai")
    if "conversation" in values:
        raise InvalidRequestError("conversations are not kept here: continue with previous_response_id")
    text = values.get("text") or {}
    wanted_format = text.get("format")
    if wanted_format is not None and not isinstance(wanted_format, dict):
        raise InvalidRequestError("Invalid type for 'text.format': it has to be an object.")
    return ResponsesRequest(
        model=values.get("model", ""),
        items=_items(values.get("input", "")),
        instructions=values.get("instructions", ""),
        max_output_tokens=values.get("max_output_tokens"),
        temperature=values.get("temperature"),
        top_p=values.get("top_p"),
        reasoning=values.get("reasoning"),
        text_format=wanted_format,
        format=values.get("format", ""),
        is_format_strict=values.get("format_strict", False),
        tools=values.get("tools", ()),
        tool_choice=values.get("tool_choice"),
        parallel_tool_calls=values.get("parallel_tool_calls", True),
        truncation=values.get("truncation", "disabled"),
        previous_response_id=values.get("previous_response_id", ""),
        store=values.get("store"),
        metadata=values.get("metadata", {}),
        has_logprobs="message.output_text.logprobs" in values.get("include", ()),
        top_logprobs=values.get("top_logprobs", 0),
        options=extra_options(values),
        keep_alive_ns=values.get("keep_alive"),
        user=values.get("user", ""),
        is_background=values.get("background", False),
        is_stream=values.get("stream", False),
    )


def _items(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        return ({"type": "message", "role": "user", "content": value},) if value else ()
    if isinstance(value, list):
        return tuple(value)
    kind = "object" if isinstance(value, dict) else kind_of(value)
    raise InvalidRequestError(
        f"input must be a string or array: json: cannot unmarshal {kind} into Go value of type []json.RawMessage"
    )


def _reasoning(decoding: decode.Decoding, value: Any, path: str, _text: str) -> dict[str, str] | None:
    if not isinstance(value, JSONObject):
        decoding.mismatch(value, path, "openai.ResponsesReasoning")
        return None
    decoded = {}
    for name, member in value:
        if name in ("effort", "summary") and member is not None:
            text = decode.string(decoding, member, f"{path}.{name}", "")
            if text:
                decoded[name] = text
    return {name: decoded[name] for name in ("effort", "summary") if name in decoded}


def _tools(decoding: decode.Decoding, value: Any, path: str, _text: str) -> tuple[Item, ...] | None:
    if not isinstance(value, list) or isinstance(value, JSONObject):
        decoding.mismatch(value, path, "[]openai.ResponsesTool")
        return None
    tools = []
    for element in value:
        if not isinstance(element, JSONObject):
            decoding.mismatch(element, path, "openai.ResponsesTool")
            continue
        for name, member in element:
            if name in ("type", "name", "description") and not isinstance(member, str | None):
                decoding.mismatch(member, f"{path}.{name}", "string")
        tools.append(plain(element))
    return tuple(tools)


RESPONSES: dict[str, decode.Decode] = {
    **EXTRA_FIELDS,
    "model": decode.string,
    "input": decode.any_value,
    "instructions": decode.string,
    "max_output_tokens": decode.integer,
    "temperature": number,
    "top_p": number,
    "reasoning": _reasoning,
    "text": decode.mapping,
    "format": decode.raw_json,
    "tools": _tools,
    "tool_choice": decode.any_value,
    "parallel_tool_calls": decode.boolean,
    "truncation": decode.string,
    "previous_response_id": decode.string,
    "conversation": decode.any_value,
    "store": decode.boolean,
    "metadata": decode.mapping,
    "include": decode.strings,
    "top_logprobs": decode.integer,
    "user": decode.string,
    "background": decode.boolean,
    "stream": decode.boolean,
}
