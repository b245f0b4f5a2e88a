"""The conversation in the body of a request, as bytes that grow at their end only.

A gateway may not have the model, so it cannot render the prompt. It takes everything that templates render, in the
order in which they do: two requests whose bytes begin alike have prompts that begin alike. Bodies of all APIs are
read by the names of their members. Nothing here is checked: whatever a client sent has some bytes, and the node says
what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from corral.cluster.keys import BLOCK, MAX_BLOCKS

# Routes whose bodies hold a conversation. Of vectors and scores nothing can be used again.
ROUTES = frozenset(
    {
        "/api/chat",
        "/api/generate",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/messages",
        "/v1/responses",
    }
)
# Beginning of a turn, end of its role, end of a part.
_TURN, _ROLE, _PART = b"\x1e", b"\x1f", b"\x1d"
# Before everything that was said, in the order of templates.
_HEAD = {
    "template": "template",
    "system": "system",
    "instructions": "system",
    "tools": "tools",
    "context": "context",
}
_ANSWERS = frozenset({"assistant", "model"})
_ROLES = {"developer": "system", "function": "tool", "model": "assistant"}
# Templates leave out what was thought before.
_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_text"})
# Members of a turn or of a part, in this order. What is not listed does not reach a prompt, or says who sent it.
_SAID = ("content", "text", "refusal")
_MEDIA = ("images", "image_url", "input_audio", "audio_url", "source", "file", "file_data", "file_id")
_CALLED = ("tool_calls", "function_call", "name", "tool_name", "arguments", "input", "output")
# Of one text, characters; of an image, characters at each end, which with its length tell it from others.
_LONGEST = 1 << 20
_END = 1 << 15


def conversation_pieces(body: Mapping[str, Any], *, limit: int = BLOCK * MAX_BLOCKS) -> tuple[bytes, ...]:
    """What was asked and what was answered in turn, beginning with what was asked, as `keys.prompt_of` takes it.

    Args:
        body: of one of `ROUTES`.
        limit: bytes; turns that begin later are left out.
    """
    pieces = [bytearray()]
    size = 0
    with suppress(RecursionError):  # nobody talks in such depths, and the node says so
        # The native API takes names in any letter case, as Go does.
        for is_answer, data in _turns({name.lower(): value for name, value in body.items()}):
            if is_answer == len(pieces) % 2:  # the piece before is of the other kind
                pieces.append(bytearray())
            pieces[-1] += data
            size += len(data)
            if size >= limit:
                break
    return tuple(map(bytes, pieces))


def session_of(body: Mapping[str, Any]) -> str:
    """What OpenAI's clients send so that requests with a common beginning meet the same cache; empty without it."""
    key = body.get("prompt_cache_key")
    return key if isinstance(key, str) else ""


def _turns(body: Mapping[str, Any]) -> Iterator[tuple[bool, bytes]]:
    """Whether a model said it, and its bytes."""
    for name, role in _HEAD.items():
        if body.get(name):
            yield False, _TURN + role.encode() + _ROLE + b"".join(_parts(body[name]))
    for name in ("messages", "input"):
        given = body.get(name)
        if given:
            for turn in given if isinstance(given, list) else [given]:
                yield _turn(turn)
    prompt = [body[name] for name in ("prompt", "suffix") if body.get(name)]
    if prompt or body.get("images"):
        # Nothing ends it, because such a prompt grows at its end.
        text = b"".join(_parts(prompt)).removesuffix(_PART)
        yield False, _TURN + b"prompt" + _ROLE + _media(body.get("images")) + text


def _turn(turn: Any) -> tuple[bool, bytes]:
    if not isinstance(turn, Mapping):
        return False, _TURN + b"user" + _ROLE + b"".join(_parts(turn))
    kind, role = turn.get("type"), turn.get("role")
    if kind in _THOUGHTS:
        return True, b""
    if not isinstance(role, str):
        is_result = isinstance(kind, str) and kind.endswith("_output")
        role = (
            "tool"
            if is_result
            else "assistant"
            if isinstance(kind, str) and kind.endswith("_call")
            else "user"
        )
    role = _ROLES.get(role, role)
    return role in _ANSWERS, _TURN + _encoded(role) + _ROLE + b"".join(_members(turn))


def _members(value: Mapping[str, Any]) -> Iterator[bytes]:
    for name in (*_SAID, *_MEDIA, *_CALLED):
        member = value.get(name)
        if member is not None:
            yield from [_media(member)] if name in _MEDIA else _parts(member)


def _parts(value: Any) -> Iterator[bytes]:
    """A text, a list of parts, a part, or anything else."""
    if value is None or (isinstance(value, Mapping) and value.get("type") in _THOUGHTS):
        return
    if isinstance(value, str):
        yield _encoded(value) + _PART
    elif isinstance(value, list) and not (value and isinstance(value[0], int)):
        for part in value:
            yield from _parts(part)
    elif isinstance(value, Mapping) and _is_said(value):
        yield from _members(value)
    else:
        text = _json(value)
        # A longer list of tokens begins like a shorter one.
        yield _encoded(text[1:-1] + "," if isinstance(value, list) else text) + _PART


def _is_said(value: Mapping[str, Any]) -> bool:
    """Whether it is a part of a message rather than a schema, arguments, or a kind of part that is not known."""
    return isinstance(value.get("type"), str) and any(name in value for name in (*_SAID, *_MEDIA))


def _media(value: Any) -> bytes:
    """Images and sounds as a hash, each; nothing for none."""
    if not value:
        return b""
    if isinstance(value, list):
        return b"".join(map(_media, value))
    text = value if isinstance(value, str) else _json(value)
    ends = f"{len(text)} {text[:_END]} {text[-_END:]}".encode(errors="surrogatepass")
    return blake2b(ends, digest_size=16).digest() + _PART


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)


def _encoded(text: str) -> bytes:
    return text[:_LONGEST].encode(errors="surrogatepass")
