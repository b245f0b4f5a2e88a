"""From the items of the Responses API to messages.

Ollama: openai/responses.go. Positions in errors count the items of the request, not those of an earlier response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from corral.api.jsonread import read_object
from corral.api.openai.shared import image_bytes
from corral.errors import InvalidRequestError
from corral.types import Message, ToolCall

__all__ = ["messages_of"]


def messages_of(items: Sequence[Any], *, history_count: int = 0, max_depth: int = 500) -> list[Message]:
    """The conversation that items stand for; the first `history_count` are not the request's own.

    Raises:
        InvalidRequestError: an item or a part of one that cannot be shown to a model.
    """
    reader = _Reader(max_depth)
    for i, item in enumerate(items):
        following = items[i + 1] if i + 1 < len(items) else None
        reader.read(item, following, f"input[{i - history_count}]")
    return reader.finish()


class _Reader:
    """The messages so far, and thinking that waits for the message it belongs to."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._messages: list[Message] = []
        self._thinking = ""

    def read(self, item: Any, following: Any, where: str) -> None:
        if not isinstance(item, dict):
            raise InvalidRequestError(f"{where}: input item must be an object")
        kind = item.get("type") or ("message" if item.get("role") else "")
        if kind == "message":
            self._read_message(item, following, where)
        elif kind == "function_call":
            self._read_call(item)
        elif kind == "function_call_output":
            self._read_output(item, where)
        elif kind == "reasoning":
            self._thinking = _text(item, "encrypted_content", where)
        elif not kind:
            raise InvalidRequestError(f"{where}: input item missing required 'type' field")
        elif kind != "web_search_call":
            raise InvalidRequestError(f'{where}: unknown input item type: "{kind}"')

    def finish(self) -> list[Message]:
        if self._thinking:
            self._messages.append(Message("assistant", thinking=self._take_thinking()))
        return self._messages

    def _take_thinking(self) -> str:
        thinking, self._thinking = self._thinking, ""
        return thinking

    def _read_message(self, item: dict[str, Any], following: Any, where: str) -> None:
        role = _text(item, "role", where).lower()
        text, images = _content(item.get("content"), where, "content")
        if role != "assistant":
            self._messages.append(Message(role, text, images=images))
            return
        thinking = self._take_thinking()
        last = self._messages[-1] if self._messages else None
        if last is not None and _is_answered(last, following):
            # An answer replayed between its call and the result belongs to the message that called.
            self._messages[-1] = replace(
                last,
                content="\n".join(part for part in (last.content, text) if part),
                images=last.images + images,
                thinking=thinking or last.thinking,
            )
        else:
            self._messages.append(Message(role, text, thinking, images))

    def _read_call(self, item: dict[str, Any]) -> None:
        arguments = item.get("arguments") or "{}"
        try:
            if not isinstance(arguments, str):
                raise InvalidRequestError("arguments must be a string")
            parsed = read_object(arguments, max_depth=self._max_depth)
        except InvalidRequestError as exc:
            raise InvalidRequestError(f"failed to parse function call arguments: {exc}") from None
        call = ToolCall(str(item.get("name") or ""), parsed, id=str(item.get("call_id") or ""))
        last = self._messages[-1] if self._messages else None
        thinking = self._take_thinking()
        if last is not None and last.role == "assistant":
            call = replace(call, index=len(last.tool_calls))
            self._messages[-1] = replace(
                last, tool_calls=(*last.tool_calls, call), thinking=thinking or last.thinking
            )
        else:
            self._messages.append(Message("assistant", thinking=thinking, tool_calls=(call,)))

    def _read_output(self, item: dict[str, Any], where: str) -> None:
        text, images = _content(item.get("output"), where, "output")
        self._messages.append(
            Message("tool", text, images=images, tool_call_id=_text(item, "call_id", where))
        )


def _is_answered(message: Message, following: Any) -> bool:
    """Whether the next item is the result of a call that this message made."""
    if not isinstance(following, dict) or following.get("type") != "function_call_output":
        return False
    return any(call.id == following.get("call_id") for call in message.tool_calls)


def _text(item: dict[str, Any], name: str, where: str) -> str:
    value = item.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequestError(f"{where}: '{name}' must be a string")
    return value


def _content(content: Any, where: str, member: str) -> tuple[str, tuple[bytes, ...]]:
    """Text and pictures of a `content` or an `output`, which is a string or a list of parts."""
    if content is None or isinstance(content, str):
        return content or "", ()
    if not isinstance(content, list):
        prefix = "" if member == "output" else f"{where}: "
        raise InvalidRequestError(f"{prefix}{member} must be a string or array")
    texts: list[str] = []
    images: list[bytes] = []
    for j, part in enumerate(content):
        if not isinstance(part, dict):
            raise InvalidRequestError(f"{where}: {member}[{j}]: content part must be an object")
        kind = part.get("type")
        if kind in ("input_text", "output_text"):
            texts.append(_text(part, "text", f"{where}: {member}[{j}]"))
        elif kind == "input_image":
            if url := part.get("image_url"):
                images.append(image_bytes(str(url)))
        elif kind == "input_file":
            raise InvalidRequestError("file inputs are not currently supported")
        else:
            prefix = f"{where}: " if member == "content" else ""
            raise InvalidRequestError(f"{prefix}{member}[{j}]: unknown content type: {kind or ''}")
    return "".join(texts), tuple(images)
