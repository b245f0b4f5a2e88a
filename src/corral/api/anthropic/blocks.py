"""Content blocks of Anthropic's messages and what the model is shown of them.

Ollama: anthropic/anthropic.go. Unlike it, documents and search results are text for the model instead of nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from corral.api.reading.call_arguments import arguments_of
from corral.api.reading.decode import decode_base64
from corral.errors import InvalidRequestError
from corral.types import Message, ToolCall

Block = Mapping[str, Any]


@dataclass(slots=True)
class _Turn:
    """What the blocks of one message add up to."""

    texts: list[str] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[Message] = field(default_factory=list)
    thinking: str = ""


def messages_of(role: str, content: str | Sequence[Block], *, is_history: bool = False) -> list[Message]:
    """The service's messages for one of the client's: results of tools are messages of their own.

    With `is_history` a block that no model can read becomes a note: it was refused already when it was new, and is
    sent again with every request that follows.

    Raises:
        InvalidRequestError: a block that lacks something, or holds what no model here can read.
    """
    if isinstance(content, str):
        return [Message(role, content)] if content else []
    turn = _Turn()
    for block in content:
        try:
            _reader_of(_text(block, "type"))(turn, block)
        except InvalidRequestError as error:
            if not is_history:
                raise
            if block.get("type") == "tool_use":
                turn.calls.append(_call(block))
            elif str(block.get("type")).endswith("tool_result"):
                # A call without a result would be answered by the user's next words.
                use_id = block.get("tool_use_id")
                turn.results.append(
                    Message("tool", f"[{error}]", tool_call_id=use_id if isinstance(use_id, str) else "")
                )
            else:
                turn.texts.append(f"[{error}]")
    text = "".join(turn.texts)
    own = []
    if text or turn.images or turn.calls or turn.thinking:
        own.append(Message(role, text, turn.thinking, tuple(turn.images), tuple(turn.calls)))
    # The result of a tool comes before what the user adds to it.
    return turn.results + own if role == "user" else own + turn.results


def _text(block: Block, name: str) -> str:
    value = block.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequestError(f'the "{name}" of a content block must be a string')
    return value


def _add_text(turn: _Turn, block: Block) -> None:
    turn.texts.append(_text(block, "text"))


def _add_image(turn: _Turn, block: Block) -> None:
    turn.images.append(_image(block, "invalid image source"))


def _image(block: Block, missing: str) -> bytes:
    source = block.get("source")
    if not isinstance(source, dict):
        raise InvalidRequestError(missing)
    kind = _text(source, "type")
    if kind != "base64":
        raise InvalidRequestError(f"invalid image source type: {kind}. Only base64 images are supported.")
    try:
        return decode_base64(_text(source, "data"))
    except InvalidRequestError as exc:
        raise InvalidRequestError(f"invalid base64 image data: {exc}") from None


def _add_thinking(turn: _Turn, block: Block) -> None:
    turn.thinking = _text(block, "thinking")


def _add_call(turn: _Turn, block: Block) -> None:
    for name in ("id", "name"):
        if not _text(block, name) and _text(block, "type") == "tool_use":
            raise InvalidRequestError(f"tool_use block missing required '{name}' field")
    turn.calls.append(_call(block))


def _call(block: Block) -> ToolCall:
    name, call_id = (value if isinstance(value := block.get(key), str) else "" for key in ("name", "id"))
    return ToolCall(name, arguments_of(block.get("input")), id=call_id)


def _add_result(turn: _Turn, block: Block) -> None:
    content = block.get("content")
    text, images = (content, ()) if isinstance(content, str) else _read_parts(content)
    if isinstance(content, dict):
        text = json.dumps(content, ensure_ascii=False)
    turn.results.append(Message("tool", text, images=images, tool_call_id=_text(block, "tool_use_id")))


def _read_parts(content: Any) -> tuple[str, tuple[bytes, ...]]:
    """Text and images of the content of a tool's result."""
    texts: list[str] = []
    images: list[bytes] = []
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            raise InvalidRequestError("the content of a tool_result must be a string or an array of blocks")
        kind = _text(part, "type")
        if kind == "text":
            texts.append(_text(part, "text"))
        elif kind == "image":
            images.append(_image(part, "invalid tool_result image source"))
        elif kind == "document":
            texts.append(_readable_text(part))
        elif kind == "search_result":
            texts.append(_search_result_text(part))
    return "".join(texts), tuple(images)


def _readable_text(document: Block) -> str:
    """A document that a tool gave: a note if it is not text: whoever sends it has nothing else."""
    try:
        return _document_text(document)
    except InvalidRequestError as error:
        return f"[{error}]"


def _add_server_result(turn: _Turn, block: Block) -> None:
    """The result of another server's tool: a text, blocks, or an object of any form."""
    content = block.get("content")
    text = content if isinstance(content, str) else _read_parts(content)[0]
    if not text and content:
        text = json.dumps(content, ensure_ascii=False)
    turn.results.append(Message("tool", text, tool_call_id=_text(block, "tool_use_id")))


def _add_summary(turn: _Turn, block: Block) -> None:
    """What stands for the beginning of a long conversation."""
    content = block.get("content")
    turn.texts.append(content if isinstance(content, str) else _read_parts(content)[0])


def _pass_over(turn: _Turn, block: Block) -> None:
    """A block that means nothing to a model (`redacted_thinking`, containers and the like)."""


def _add_document(turn: _Turn, block: Block) -> None:
    turn.texts.append(_document_text(block))


def _document_text(block: Block) -> str:
    """A document under its title, apart from what stands around it.

    Raises:
        InvalidRequestError: it is not a text.
    """
    source = block.get("source")
    if not isinstance(source, dict):
        raise InvalidRequestError("invalid document source")
    kind = _text(source, "type")
    if kind == "text":
        body = _text(source, "data")
    elif kind == "content":
        content = source.get("content")
        body = content if isinstance(content, str) else _read_parts(content)[0]
    else:
        shown = ", ".join(word for word in (kind, _text(source, "media_type")) if word)
        raise InvalidRequestError(f"invalid document source ({shown}): send the text of the document instead")
    parts = (_text(block, "title"), _text(block, "context"), body)
    return "\n\n".join(part for part in parts if part) + "\n\n"


def _add_search_result(turn: _Turn, block: Block) -> None:
    turn.texts.append(_search_result_text(block))


def _search_result_text(block: Block) -> str:
    parts = (_text(block, "title"), _text(block, "source"), _read_parts(block.get("content"))[0])
    return "\n".join(part for part in parts if part) + "\n\n"


def _add_web_search_result(turn: _Turn, block: Block) -> None:
    content = block.get("content")
    if isinstance(content, dict):
        text = f"web_search_tool_result_error: {_text(content, 'error_code')}"
    else:
        text = "\n".join(
            f"- {_text(result, 'title')}: {_text(result, 'url')}"
            for result in (content if isinstance(content, list) else ())
            if isinstance(result, dict)
        )
    turn.results.append(Message("tool", text, tool_call_id=_text(block, "tool_use_id")))


def _reader_of(kind: str) -> Callable[[_Turn, Block], None]:
    if kind.endswith("_tool_result"):
        return _READERS.get(kind, _add_server_result)
    return _READERS.get(kind, _pass_over)


_READERS: dict[str, Callable[[_Turn, Block], None]] = {
    "text": _add_text,
    "image": _add_image,
    "thinking": _add_thinking,
    "tool_use": _add_call,
    "server_tool_use": _add_call,
    "mcp_tool_use": _add_call,
    "compaction": _add_summary,
    "tool_result": _add_result,
    "web_search_tool_result": _add_web_search_result,
    "document": _add_document,
    "search_result": _add_search_result,
}
