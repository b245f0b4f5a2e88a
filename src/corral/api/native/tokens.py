"""`/api/tokenize` and `/api/detokenize`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from corral.api.http.bodies import read_values
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.http.pieces import joined_rows, send_pieces
from corral.api.native.protocol import DETOKENIZE, TOKENIZE
from corral.errors import InvalidRequestError
from corral.golang.json import encode, encode_plain, escape_string
from corral.inference.pipeline import Inference
from corral.inference.requests import TokensRequest, TokenText

# How many are encoded in a millisecond or two.
_ROW_ENTRIES = 8192


def _answer(request: TokensRequest, result: TokenText) -> Iterator[bytes]:
    yield from joined_rows(
        b'{"model":' + escape_string(request.model) + b',"tokens":[', _rows(result.tokens), b"]"
    )
    if request.wants_pieces:
        yield from joined_rows(b',"pieces":[', _rows(result.pieces), b"]")
    durations = (result.total_duration_ns, result.load_duration_ns)
    yield b',"total_duration":%d,"load_duration":%d}' % durations


def _rows(entries: Sequence[int | str | list[int]]) -> Iterator[bytes]:
    for start in range(0, len(entries), _ROW_ENTRIES):
        yield encode_plain(list(entries[start : start + _ROW_ENTRIES]))[1:-1]


class TokenHandlers:
    """Handlers on one inference service."""

    def __init__(self, service: Inference) -> None:
        self._service = service

    async def tokenize(self, exchange: Exchange) -> None:
        values = await read_values(exchange, "TokenizeRequest", TOKENIZE)
        text = next((values[name] for name in ("content", "text", "prompt") if name in values), None)
        if text is None:
            raise InvalidRequestError("content is required")
        request = TokensRequest(
            model=values.get("model", ""),
            text=text,
            add_special=values.get("add_special", False),
            parse_special=values.get("parse_special", True),
            wants_pieces=values.get("with_pieces", False),
            keep_alive_ns=values.get("keep_alive"),
            options=values.get("options"),
        )

        async def work() -> None:
            result = await self._service.tokenize(request)
            await send_pieces(exchange, JSON_UTF8, _answer(request, result))

        await exchange.run_watched(work())

    async def detokenize(self, exchange: Exchange) -> None:
        values = await read_values(exchange, "DetokenizeRequest", DETOKENIZE)
        if "tokens" not in values:
            raise InvalidRequestError("tokens is required")
        request = TokensRequest(
            model=values.get("model", ""),
            tokens=tuple(values["tokens"]),
            keep_alive_ns=values.get("keep_alive"),
            options=values.get("options"),
        )

        async def work() -> None:
            result = await self._service.detokenize(request)
            answer = {
                "model": request.model,
                "content": result.text,
                "total_duration": result.total_duration_ns,
                "load_duration": result.load_duration_ns,
            }
            await exchange.respond(200, encode(answer), JSON_UTF8)

        await exchange.run_watched(work())
