"""Messages of chat completions as the service's: parts of content, tool calls and their results, reasoning.

What a client sends back of an earlier answer is taken whatever its form: a message that is refused would be sent
again with every later request, and end the conversation. What a user sends is refused if no model could read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from corral.api.openai.files import File, file_content
from corral.api.openai.shared import audio_bytes, go_type, image_bytes
from corral.api.reading import decode
from corral.api.reading.call_arguments import arguments_of
from corral.api.reading.fields import Structure, Structures
from corral.errors import InvalidRequestError
from corral.types import Message, ToolCall

_TOOL_CALL: dict[str, decode.Decode] = {
    "id": decode.string,
    "function": Structure("ToolCall", "struct", {"name": decode.string, "arguments": decode.any_value}),
    "custom": decode.any_value,
}
_MESSAGE: dict[str, decode.Decode] = {
    "role": decode.string,
    "content": decode.any_value,
    "refusal": decode.any_value,
    "reasoning": decode.any_value,
    "reasoning_content": decode.any_value,
    "name": decode.string,
    "tool_call_id": decode.string,
    "tool_calls": Structures(Structure("ToolCall", "openai.ToolCall", _TOOL_CALL)),
    "function_call": decode.any_value,
}
# The decoder of the member `messages`.
MESSAGES = Structures(Structure("Message", "openai.Message", _MESSAGE))
_FORMAT_TEXT = "invalid message format"
# The older form of a tool's result is a function's.
_RESULT_ROLES = ("tool", "function")


def convert_messages(given: Sequence[dict[str, Any]]) -> tuple[Message, ...]:
    """The messages of a request; a list of parts becomes one message for each part.

    Raises:
        InvalidRequestError: content that has no meaning.
    """
    # A result without a name gets that of the latest call with its id.
    names = {
        call.get("id", ""): call.get("function", {}).get("name", "")
        for message in given
        for call in message.get("tool_calls", ())
    }
    last_question = max((i for i, message in enumerate(given) if _role(message) == "user"), default=-1)
    return tuple(
        converted
        for i, message in enumerate(given)
        for converted in _convert(message, names, is_history=i < last_question)
    )


def _role(message: Mapping[str, Any]) -> str:
    role: str = message.get("role", "")
    return role.lower()


def _convert(message: dict[str, Any], names: dict[str, str], *, is_history: bool) -> list[Message]:
    role = _role(message)
    content = message.get("content")
    extras: dict[str, Any] = {
        "thinking": _text(message, "reasoning") or _text(message, "reasoning_content"),
        "tool_calls": _calls(message),
        "tool_call_id": message.get("tool_call_id", ""),
        "tool_name": _tool_name(message, role, names),
    }
    is_result = role in _RESULT_ROLES
    role = "tool" if is_result else role
    if isinstance(content, list):
        parts = [part for given in content if (part := _read_part(role, given, is_history)) is not None]
        return _with_extras(role, _joined(parts) if is_result else parts, extras)
    if content is None and (role != "user" or is_history):
        return [Message(role, _text(message, "refusal"), **extras)]
    if not isinstance(content, str):
        raise InvalidRequestError(f"invalid message content type: {go_type(content)}")
    return [Message(role, content, **extras)]


def _with_extras(role: str, parts: list[Message], extras: dict[str, Any]) -> list[Message]:
    """What a message has beside its content goes with the last of its parts, which Ollama in part forgets."""
    if not any(extras.values()):
        return parts
    last = parts[-1] if parts else Message(role)
    thinking = last.thinking + extras["thinking"]
    return [*parts[:-1], replace(last, **{**extras, "thinking": thinking})]


def _joined(parts: list[Message]) -> list[Message]:
    """The parts of one result as one message: a call has one result."""
    if len(parts) < 2:
        return parts
    images = tuple(image for part in parts for image in part.images)
    return [
        replace(parts[0], content="\n".join(part.content for part in parts if part.content), images=images)
    ]


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name)
    return value if isinstance(value, str) else ""


def _tool_name(message: dict[str, Any], role: str, names: dict[str, str]) -> str:
    if role not in _RESULT_ROLES:
        return ""
    return message.get("name") or names.get(message.get("tool_call_id", ""), "")


def _calls(message: dict[str, Any]) -> tuple[ToolCall, ...]:
    calls = [_call(call) for call in message.get("tool_calls", ())]
    legacy = message.get("function_call")
    if not calls and isinstance(legacy, dict):
        calls.append(ToolCall(_text(legacy, "name"), arguments_of(legacy.get("arguments"))))
    return tuple(calls)


def _call(call: dict[str, Any]) -> ToolCall:
    call_id, custom = call.get("id", ""), call.get("custom")
    if isinstance(custom, dict):
        return ToolCall(_text(custom, "name"), {"input": custom.get("input", "")}, id=call_id)
    function = call.get("function", {})
    return ToolCall(function.get("name", ""), arguments_of(function.get("arguments")), id=call_id)


def _read_part(role: str, part: Any, is_history: bool) -> Message | None:
    """A part of a content; a note for one that was refused already when it was new."""
    try:
        return _part(role, part)
    except InvalidRequestError as error:
        if is_history or role == "tool":
            return Message(role, f"[{error}]")
        raise


def _part(role: str, part: Any) -> Message | None:
    """A part of a content; None for one of an earlier answer that means nothing to a model."""
    if not isinstance(part, dict):
        raise InvalidRequestError(_FORMAT_TEXT)
    kind = part.get("type")
    if kind in ("text", "input_text", "output_text", "refusal"):
        text = part.get("refusal" if kind == "refusal" else "text")
        if isinstance(text, str):
            return Message(role, text)
    elif kind in ("image_url", "input_image"):
        url = part.get("image_url")
        url = url.get("url") if isinstance(url, dict) else url
        if isinstance(url, str):
            return Message(role, images=(image_bytes(url),))
    elif kind == "input_audio":
        return Message(role, images=(audio_bytes(part.get("input_audio")),))
    elif kind == "file" and (file := File.read(part.get("file"))) is not None:
        text, images = file_content(file)
        return Message(role, text, images=images)
    elif kind == "thinking" and role == "assistant":
        return Message(role, thinking=_thinking(part.get("thinking")))
    if role in ("assistant", "tool"):
        return None
    raise InvalidRequestError(_FORMAT_TEXT)


def _thinking(value: Any) -> str:
    """Thinking as a text, or as text parts."""
    if isinstance(value, list):
        return "".join(_text(part, "text") for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""
