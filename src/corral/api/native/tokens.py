"""`/api/tokenize` and `/api/detokenize`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from corral.api.http.bodies import parse_body
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.http.pieces import joined_rows, send_pieces
from corral.api.http.routing import Router
from corral.api.reading import decode
from corral.errors import InvalidRequestError
from corral.golang.json import encode, encode_plain, escape_string
from corral.inference.pipeline import Inference
from corral.inference.requests import TokensRequest, TokenText

_COMMON: dict[str, decode.Decode] = {
    "model": decode.string,
    "keep_alive": decode.keep_alive,
    "options": decode.mapping,
}
# As many as are encoded in a millisecond or two.
_ROW_ENTRIES = 8192
TOKENIZE: dict[str, decode.Decode] = {
    **_COMMON,
    "content": decode.string,
    "text": decode.string,
    "prompt": decode.string,
    "add_special": decode.boolean,
    "parse_special": decode.boolean,
    "with_pieces": decode.boolean,
}
DETOKENIZE: dict[str, decode.Decode] = {**_COMMON, "tokens": decode.integers}


def add_token_routes(router: Router, service: Inference, *, max_body_bytes: int, max_depth: int) -> None:
    routes = _TokenRoutes(service, max_body_bytes=max_body_bytes, max_depth=max_depth)
    router.add("POST", "/api/tokenize", routes.tokenize)
    router.add("POST", "/api/detokenize", routes.detokenize)


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


class _TokenRoutes:
    """Handlers on one inference service."""

    def __init__(self, service: Inference, *, max_body_bytes: int, max_depth: int) -> None:
        self._service = service
        self._max_body_bytes = max_body_bytes
        self._max_depth = max_depth

    async def _read(
        self, exchange: Exchange, struct: str, fields: dict[str, decode.Decode]
    ) -> dict[str, Any]:
        body = await exchange.read_body(self._max_body_bytes)
        return await parse_body(body, decode.decode_request, struct, fields, max_depth=self._max_depth)

    async def tokenize(self, exchange: Exchange) -> None:
        values = await self._read(exchange, "TokenizeRequest", TOKENIZE)
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
        values = await self._read(exchange, "DetokenizeRequest", DETOKENIZE)
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
