"""From the items of the Responses API to messages.

Ollama: openai/responses.go. Positions in errors count the items of the request, not those of an earlier response.
Unlike it, items of every kind are read: what a model did elsewhere is in the histories that clients send, and an
item that was refused would be sent again with every later request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from corral.api.openai.files import File, file_content
from corral.api.openai.shared import audio_bytes, image_bytes
from corral.api.reading.call_arguments import arguments_of
from corral.api.responses.compaction import summary_of
from corral.api.responses.foreign import called, results_of
from corral.errors import InvalidRequestError
from corral.types import Message, ToolCall

Item = dict[str, Any]
_TEXT_PARTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
# How OpenAI's own encrypted reasoning begins, which nobody else can read.
_SEALED = "gAAAA"


def messages_of(items: Sequence[Any], *, history_count: int = 0) -> list[Message]:
    """The conversation that items stand for; the first `history_count` are not the request's own.

    Raises:
        InvalidRequestError: an item or a part of one that cannot be shown to a model.
    """
    reader = _Reader()
    last_question = max((i for i, item in enumerate(items) if _is_question(item)), default=-1)
    for i, item in enumerate(items):
        reader.is_history = i < last_question
        following = items[i + 1] if i + 1 < len(items) else None
        reader.read(item, following, f"input[{i - history_count}]")
    return reader.finish()


class _Reader:
    """The messages so far, and thinking that waits for the message it belongs to."""

    def __init__(self) -> None:
        self.is_history = False
        self._messages: list[Message] = []
        self._thinking = ""

    def read(self, item: Any, following: Any, where: str) -> None:
        if not isinstance(item, dict):
            raise InvalidRequestError(f"{where}: input item must be an object")
        kind = item.get("type") or ("message" if item.get("role") else "")
        if not isinstance(kind, str) or not kind:
            raise InvalidRequestError(f"{where}: input item missing required 'type' field")
        if kind == "message":
            self._read_message(item, following, where)
        elif kind == "reasoning":
            self._thinking = _reasoning(item)
        elif kind == "function_call":
            call = ToolCall(_string(item, "name"), arguments_of(item.get("arguments")))
            self._add_call(replace(call, id=_string(item, "call_id")))
        elif kind == "function_call_output":
            self._add_result(item, item.get("output"), where)
        elif (summary := summary_of(item)) is not None:
            if summary:
                self._messages.append(Message("assistant", summary, self._take_thinking()))
        else:
            self._read_foreign(kind, item, where)

    def finish(self) -> list[Message]:
        if self._thinking:
            self._messages.append(Message("assistant", thinking=self._take_thinking()))
        return self._messages

    def _take_thinking(self) -> str:
        thinking, self._thinking = self._thinking, ""
        return thinking

    def _read_message(self, item: Item, following: Any, where: str) -> None:
        role = _string(item, "role").lower()
        text, images = _content(
            item.get("content"), where, "content", is_lenient=self.is_history or role == "assistant"
        )
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

    def _read_foreign(self, kind: str, item: Item, where: str) -> None:
        """A call of a tool that is not a function, or its result; what means nothing to a model is skipped."""
        if kind.endswith("_output"):
            self._add_result(item, item.get("output"), where)
            return
        results = results_of(item)
        if (call := called(kind, item)) is not None and (call.id or results):
            self._add_call(call)
            if results:
                self._messages.append(Message("tool", results, tool_name=call.name, tool_call_id=call.id))
        elif isinstance(item.get("content"), str | list):
            self._read_message({"role": "user", **item}, None, where)

    def _add_call(self, call: ToolCall) -> None:
        last = self._messages[-1] if self._messages else None
        thinking = self._take_thinking()
        if last is not None and last.role == "assistant":
            call = replace(call, index=len(last.tool_calls))
            self._messages[-1] = replace(
                last, tool_calls=(*last.tool_calls, call), thinking=thinking or last.thinking
            )
        else:
            self._messages.append(Message("assistant", thinking=thinking, tool_calls=(call,)))

    def _add_result(self, item: Item, output: Any, where: str) -> None:
        if isinstance(output, dict):
            output = [output]
        text, images = _content(output, where, "output", is_lenient=True)
        call_id = _string(item, "call_id") or _string(item, "id")
        self._messages.append(Message("tool", text, images=images, tool_call_id=call_id))


def _is_question(item: Any) -> bool:
    return isinstance(item, dict) and item.get("role") == "user"


def _is_answered(message: Message, following: Any) -> bool:
    """Whether the next item is the result of a call that this message made."""
    if not isinstance(following, dict) or following.get("type") != "function_call_output":
        return False
    return any(call.id == following.get("call_id") for call in message.tool_calls)


def _string(item: Item, name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""


def _reasoning(item: Item) -> str:
    """What a model thought: our own items carry it twice, others as text, as a summary, or sealed."""
    sealed = _string(item, "encrypted_content")
    if sealed and not sealed.startswith(_SEALED):
        return sealed
    for name in ("content", "summary"):
        parts = item.get(name)
        if isinstance(parts, list) and (
            text := "\n\n".join(_string(part, "text") for part in parts if isinstance(part, dict))
        ):
            return text
    return ""


def _content(content: Any, where: str, member: str, *, is_lenient: bool) -> tuple[str, tuple[bytes, ...]]:
    """Text and images of a `content` or an `output`, which is a string or a list of parts.

    With `is_lenient` a part that no model here can read becomes a note: a model or a tool wrote it, or it was
    refused already when it was new, and whoever sends it again can do nothing about it.
    """
    if content is None or isinstance(content, str):
        return content or "", ()
    if not isinstance(content, list):
        raise InvalidRequestError(f"{where}: {member} must be a string or array")
    texts: list[str] = []
    images: list[bytes] = []
    for j, part in enumerate(content):
        if not isinstance(part, dict):
            raise InvalidRequestError(f"{where}: {member}[{j}]: content part must be an object")
        try:
            text, pictures = _part(part, f"{where}: {member}[{j}]")
        except InvalidRequestError as error:
            if not is_lenient:
                raise
            text, pictures = _string(part, "text") or f"[{error}]", ()
        texts.append(text)
        images += pictures
    return "".join(texts), tuple(images)


def _part(part: Item, where: str) -> tuple[str, tuple[bytes, ...]]:
    kind = part.get("type")
    if kind in _TEXT_PARTS:
        if not isinstance(text := part.get("text"), str | None):
            raise InvalidRequestError(f"{where}: 'text' must be a string")
        return text or "", ()
    if kind == "refusal" and isinstance(refusal := part.get("refusal"), str):
        return refusal, ()
    if kind in ("input_image", "computer_screenshot"):
        url = part.get("image_url")
        url = url.get("url") if isinstance(url, dict) else url
        return "", (image_bytes(str(url)),) if url else ()
    if kind == "input_audio":
        return "", (audio_bytes(part.get("input_audio")),)
    if kind == "input_file":
        if (file := File.read(part)) is None:
            raise InvalidRequestError("file inputs are not currently supported")
        return file_content(file)
    if "stdout" in part or "stderr" in part:
        return "\n".join(text for name in ("stdout", "stderr") if (text := _string(part, name))), ()
    raise InvalidRequestError(f"{where}: unknown content type: {kind or ''}")
