"""What a gateway has to know of a body: its model, what was said, and what binds it to a node. Nothing is checked.

A body that cannot be read, or names no model, is for this server, which says what is wrong with it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from corral.api.http.bodies import parse_body
from corral.api.http.encodings import UnsupportedEncodingError, content_codings, decode_body
from corral.api.http.exchange import Exchange
from corral.cluster.conversation import ROUTES, conversation_pieces, session_of
from corral.errors import InvalidRequestError, QueueFullError

_FORM_MODEL = re.compile(
    rb'name="?model"?[^\r\n]*\r?\n(?:[A-Za-z-]+:[^\r\n]*\r?\n)*\r?\n([^\r\n]{1,400})\r?\n', re.IGNORECASE
)
_FORM_SEARCH_BYTES = 256 << 10
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "num_predict")
_MAX_NAME_CHARS = 400


@dataclass(frozen=True, slots=True)
class Glance:
    """What a body says.

    Attributes:
        model: as it was typed; empty if the body names none.
        pieces: what was asked and what was answered in turn (`conversation_pieces`).
        session: by which requests with a common beginning are kept together.
        predict: how many tokens an answer may have; negative: any number.
        previous: the id of a stored response that it goes on from.
        is_unload: it only asks for the end of the model.
        base: the model that a new one is made from.
        source: the model that gets another name.
        has_files: it refers to blobs that were uploaded before.
    """

    model: str = ""
    pieces: tuple[bytes, ...] = ()
    session: str = ""
    predict: int = -1
    previous: str = ""
    is_unload: bool = False
    base: str = ""
    source: str = ""
    has_files: bool = False

    @property
    def size_bytes(self) -> int:
        """Of what was said, as far as it counts."""
        return sum(map(len, self.pieces))


NOTHING = Glance()


async def unpacked_body(exchange: Exchange) -> bytes | None:
    """The body without its packing; it can be read again. None if it does not unpack.

    Raises:
        BodyTooLargeError, ServerBusyError, ClientGoneError, ClientStalledError, InvalidRequestError
    """
    packed = await exchange.read_packed_body()
    exchange.unread(packed)
    header = exchange.header(b"content-encoding")
    if not header or not packed:
        return packed
    try:
        codings = content_codings(header)
        if not codings:
            return packed
        return await asyncio.to_thread(decode_body, packed, codings, exchange.max_body_bytes)
    except (InvalidRequestError, UnsupportedEncodingError):
        return None


async def glance_at(exchange: Exchange, body: bytes, limit_bytes: int) -> Glance:
    """What there is to see in an unpacked body. `limit_bytes`: how much of what was said counts."""
    kind = exchange.header(b"content-type").lower()
    if kind.startswith("multipart/form-data"):
        match = _FORM_MODEL.search(body, 0, _FORM_SEARCH_BYTES) or _FORM_MODEL.search(
            body[-_FORM_SEARCH_BYTES:]
        )
        return Glance(match[1].decode("utf-8", "replace").strip()) if match else NOTHING
    try:
        has_prompt = exchange.route is not None and exchange.route.path in ROUTES
        return await parse_body(body, read_glance, limit_bytes if has_prompt else 0)
    except (InvalidRequestError, QueueFullError):
        return NOTHING


def read_glance(body: bytes, limit_bytes: int) -> Glance:
    """The same of a JSON body; `limit_bytes` 0: nothing of what was said counts."""
    document = _document(body)
    if document is None:
        return NOTHING
    texts = _texts(document)
    model = texts.get("model") or texts.get("name", "")
    return Glance(
        model if len(model) <= _MAX_NAME_CHARS else "",
        pieces=conversation_pieces(document, limit=limit_bytes) if limit_bytes else (),
        session=session_of(document) if limit_bytes else "",
        predict=_predict(document),
        previous=texts.get("previous_response_id", ""),
        is_unload=_is_unload(document),
        base=texts.get("from", ""),
        source=texts.get("source", ""),
        has_files=bool(document.get("files") or document.get("adapters")),
    )


def _document(body: bytes) -> Mapping[str, Any] | None:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            # As the handlers do: broken UTF-8, and whatever follows the first value, are no reason to refuse.
            found, _ = json.JSONDecoder().raw_decode(body.decode("utf-8", "replace").lstrip(" \t\r\n"))
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def _texts(document: Mapping[str, Any]) -> Mapping[str, str]:
    """Members that are texts, by name in whatever letter case: the native API has Go's habits.

    Of several, the one in lower case counts, else the first one.
    """
    found: dict[str, Any] = {}
    for name, value in document.items():
        if value is not None and (name.islower() or name.lower() not in found):
            found[name.lower()] = value
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _predict(document: Mapping[str, Any]) -> int:
    options = document.get("options")
    for values in (document, options if isinstance(options, dict) else {}):
        for name in _LIMITS:
            found = values.get(name)
            if type(found) is int and found >= 0:
                return found
    return -1


def _is_unload(document: Mapping[str, Any]) -> bool:
    """As `ollama stop` asks: nothing to answer, and nothing to keep."""
    if "keep_alive" not in document or document.get("prompt") or document.get("messages"):
        return False
    return document["keep_alive"] in (0, "0", "0s", "0m", "0ms", "0h") and "input" not in document
