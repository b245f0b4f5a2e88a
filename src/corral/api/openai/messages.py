"""Messages of chat completions as the service's: parts of content, tool calls and their results, reasoning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corral.api import decode
from corral.api.fields import Structure, Structures
from corral.api.jsonread import read_object
from corral.api.openai.shared import go_type, image_bytes
from corral.errors import InvalidRequestError
from corral.types import Message, ToolCall

__all__ = ["MESSAGES", "convert_messages"]

_FUNCTION: dict[str, decode.Decode] = {"name": decode.string, "arguments": decode.string}
_TOOL_CALL: dict[str, decode.Decode] = {
    "id": decode.string,
    "function": Structure("ToolCall", "struct", _FUNCTION),
}
_MESSAGE: dict[str, decode.Decode] = {
    "role": decode.string,
    "content": decode.any_value,
    "reasoning": decode.string,
    "reasoning_content": decode.string,
    "name": decode.string,
    "tool_call_id": decode.string,
    "tool_calls": Structures(Structure("ToolCall", "openai.ToolCall", _TOOL_CALL)),
}
# The decoder of the member `messages`.
MESSAGES = Structures(Structure("Message", "openai.Message", _MESSAGE))
_MAX_ARGUMENT_DEPTH = 100
_FORMAT_TEXT = "invalid message format"
_AUDIO_TEXT = "invalid input_audio format"


def convert_messages(given: Sequence[dict[str, Any]]) -> tuple[Message, ...]:
    """The messages of a request; a list of parts becomes one message for each part.

    Raises:
        InvalidRequestError: content that has no meaning, or arguments that are no object.
    """
    # A result without a name gets that of the latest call with its id.
    names = {
        call.get("id", ""): call.get("function", {}).get("name", "")
        for message in given
        for call in message.get("tool_calls", ())
    }
    return tuple(converted for message in given for converted in _convert(message, names))


def _convert(message: dict[str, Any], names: dict[str, str]) -> list[Message]:
    role = message.get("role", "").lower()
    content = message.get("content")
    has_calls = "tool_calls" in message
    extras: dict[str, Any] = {
        "thinking": message.get("reasoning") or message.get("reasoning_content", ""),
        "tool_call_id": message.get("tool_call_id", ""),
        "tool_name": _tool_name(message, role, names),
    }
    if isinstance(content, str):
        return [Message(role, content, tool_calls=_calls(message), **extras)]
    if isinstance(content, list):
        parts = [_part(role, part) for part in content]
        if has_calls and parts:
            last = parts[-1]
            parts[-1] = Message(role, last.content, images=last.images, tool_calls=_calls(message), **extras)
        elif parts and (extras["tool_call_id"] or extras["thinking"]):
            # The original loses these here; a result that says whose it is must not.
            last = parts[-1]
            parts[-1] = Message(role, last.content, images=last.images, **extras)
        return parts
    if not has_calls:
        raise InvalidRequestError(f"invalid message content type: {go_type(content)}")
    return [Message(role, tool_calls=_calls(message), **{**extras, "tool_name": ""})]


def _tool_name(message: dict[str, Any], role: str, names: dict[str, str]) -> str:
    if role != "tool":
        return ""
    return message.get("name") or names.get(message.get("tool_call_id", ""), "")


def _calls(message: dict[str, Any]) -> tuple[ToolCall, ...]:
    calls = []
    for call in message.get("tool_calls", ()):
        function = call.get("function", {})
        try:
            arguments = read_object(function.get("arguments", ""), max_depth=_MAX_ARGUMENT_DEPTH)
        except InvalidRequestError:
            raise InvalidRequestError("invalid tool call arguments") from None
        calls.append(ToolCall(function.get("name", ""), arguments, id=call.get("id", "")))
    return tuple(calls)


def _part(role: str, part: Any) -> Message:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(text := part.get("text"), str):
        return Message(role, text)
    if kind == "image_url":
        url = part.get("image_url")
        url = url.get("url") if isinstance(url, dict) else url
        if isinstance(url, str):
            return Message(role, images=(image_bytes(url),))
    if kind == "input_audio":
        return Message(role, images=(_audio(part.get("input_audio")),))
    raise InvalidRequestError(_FORMAT_TEXT)


def _audio(audio: Any) -> bytes:
    if not isinstance(audio, dict):
        raise InvalidRequestError(_AUDIO_TEXT)
    data = audio.get("data")
    if not isinstance(data, str) or not data:
        raise InvalidRequestError(f"{_AUDIO_TEXT}: missing data")
    try:
        return decode.decode_base64(data)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"invalid input_audio base64 data: {error}") from None
