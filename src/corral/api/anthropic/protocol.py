"""Reads the body of `/v1/messages`: its members with their types, and the checks that come before any conversion.

Ollama: anthropic/anthropic.go, middleware/anthropic.go. What a content block holds is read in `blocks.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.api.reading import decode
from corral.api.reading.extras import EXTRA_FIELDS, extra_options
from corral.api.reading.fields import number
from corral.api.reading.jsonread import JSONObject, clean_text, element_texts, kind_of, member_texts, plain
from corral.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class WireMessage:
    """A turn as sent: its content a text, or blocks as plain objects."""

    role: str
    content: str | list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class WireTool:
    """A tool as sent. `schema` is still in document order; `size_bytes` is what the estimate of tokens counts."""

    name: str
    type: str
    description: str
    schema: Any
    size_bytes: int


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """The members of a request. None: absent. `options` holds the native options among its members."""

    model: str
    max_tokens: int
    messages: tuple[WireMessage, ...]
    system: str = ""
    tools: tuple[WireTool, ...] = ()
    tool_choice: Mapping[str, Any] | None = None
    thinking: Mapping[str, Any] | None = None
    output_config: Mapping[str, Any] = field(default_factory=dict)
    output_format: Mapping[str, Any] | None = None
    format: str = ""
    is_format_strict: bool = False
    stop_sequences: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_alive_ns: int | None = None
    user: str = ""
    is_stream: bool = False


def read_messages(body: bytes, max_depth: int) -> MessagesRequest:
    """The request of `/v1/messages`.

    Raises:
        InvalidRequestError: in Ollama's order: the JSON, model, max_tokens, messages.
    """
    request = _read(body, max_depth)
    if not request.model:
        raise InvalidRequestError("model is required")
    if request.max_tokens <= 0:
        raise InvalidRequestError("max_tokens is required and must be positive")
    if not request.messages:
        raise InvalidRequestError("messages is required")
    return request


def read_count(body: bytes, max_depth: int) -> MessagesRequest:
    """The request of `/v1/messages/count_tokens`, which has no `max_tokens`.

    Raises:
        InvalidRequestError
    """
    request = _read(body, max_depth)
    if not request.model:
        raise InvalidRequestError("model is required")
    if not request.messages:
        raise InvalidRequestError("messages is required")
    return request


def _read(body: bytes, max_depth: int) -> MessagesRequest:
    values = decode.decode_request(
        body, "MessagesRequest", MESSAGES, max_depth=max_depth, package="anthropic"
    )
    return MessagesRequest(
        model=values.get("model", ""),
        max_tokens=values.get("max_tokens", 0),
        messages=values.get("messages", ()),
        system=_system_text(values.get("system")),
        tools=values.get("tools", ()),
        tool_choice=values.get("tool_choice"),
        thinking=values.get("thinking"),
        output_config=values.get("output_config", {}),
        output_format=values.get("output_format"),
        format=values.get("format", ""),
        is_format_strict=values.get("format_strict", False),
        stop_sequences=tuple(
            filter(None, values.get("stop_sequences", ()))
        ),  # an empty one would stop at once
        options=extra_options(values),
        keep_alive_ns=values.get("keep_alive"),
        user=str(values.get("metadata", {}).get("user_id") or ""),
        is_stream=values.get("stream", False),
    )


def _system_text(value: Any) -> str:
    """A text, or the texts of blocks joined; the line with which Claude Code accounts for a request is left out.

    That line differs in every request, stands at the very front, and so would keep the prompt cache from ever being
    of use.
    """
    if isinstance(value, str):
        texts = [value]
    elif isinstance(value, list):
        texts = [
            block["text"]
            for block in value
            if isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str)
        ]
    else:
        return ""
    if texts and texts[0].startswith(_ACCOUNTING_LINE):
        texts[0] = texts[0].partition("\n")[2]
    return "".join(texts)


_ACCOUNTING_LINE = "x-anthropic-billing-header:"


def _messages(decoding: decode.Decoding, value: Any, path: str, _text: str) -> tuple[WireMessage, ...] | None:
    if not isinstance(value, list) or isinstance(value, JSONObject):
        decoding.mismatch(value, path, "[]anthropic.MessageParam")
        return None
    return tuple(_message(decoding, element, path) for element in value)


def _message(decoding: decode.Decoding, value: Any, path: str) -> WireMessage:
    if not isinstance(value, JSONObject):
        raise InvalidRequestError(
            f"json: cannot unmarshal {kind_of(value)} into Go struct field {decoding.struct}.{path}"
            " of type anthropic.MessageParam"
            if value is not None
            else "unexpected end of JSON input"
        )
    members = {name.lower(): member for name, member in value}
    role = members.get("role") or ""
    if not isinstance(role, str):
        decoding.mismatch(role, f"{path}.role", "string")
        role = ""
    content = members.get("content")
    if isinstance(content, str):
        return WireMessage(role.lower(), clean_text(content))
    if content is None:
        if role.lower() == "assistant":
            return WireMessage("assistant", "")  # an earlier answer without text, as some clients keep it
        raise InvalidRequestError("unexpected end of JSON input")
    if not isinstance(content, list) or isinstance(content, JSONObject):
        decoding.mismatch(content, path, "[]anthropic.ContentBlock")
        return WireMessage(role.lower(), "")
    blocks = []
    for block in content:
        if isinstance(block, JSONObject):
            blocks.append(plain(block))
        elif block is not None:
            decoding.mismatch(block, path, "anthropic.ContentBlock")
    return WireMessage(role.lower(), blocks)


def _tools(decoding: decode.Decoding, value: Any, path: str, text: str) -> tuple[WireTool, ...] | None:
    if not isinstance(value, list) or isinstance(value, JSONObject):
        decoding.mismatch(value, path, "[]anthropic.Tool")
        return None
    tools = []
    for element, element_text in zip(value, element_texts(text), strict=True):
        if not isinstance(element, JSONObject):
            decoding.mismatch(element, path, "anthropic.Tool")
            continue
        members = {name.lower(): member for name, member in element}
        strings = {}
        for name in ("name", "type", "description"):
            member = members.get(name) or ""
            if not isinstance(member, str):
                decoding.mismatch(member, f"{path}.{name}", "string")
                member = ""
            strings[name] = clean_text(member)
        schema_text = member_texts(element_text).get("input_schema", "")
        size = len((strings["name"] + strings["description"] + schema_text).encode("utf-8", "replace"))
        tools.append(WireTool(**strings, schema=members.get("input_schema"), size_bytes=size))
    return tuple(tools)


MESSAGES: dict[str, decode.Decode] = {
    **EXTRA_FIELDS,
    "model": decode.string,
    "max_tokens": decode.integer,
    "messages": _messages,
    "system": decode.any_value,
    "temperature": number,
    "top_p": number,
    "top_k": decode.integer,
    "stop_sequences": decode.strings,
    "stream": decode.boolean,
    "tools": _tools,
    "tool_choice": decode.mapping,
    "thinking": decode.mapping,
    "output_config": decode.mapping,
    "output_format": decode.mapping,
    "metadata": decode.mapping,
    "format": decode.raw_json,
}
