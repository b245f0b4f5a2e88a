"""`/api/verify`: a route of our own that compares stored models with their digests."""

from __future__ import annotations

from corral.api.http.bodies import parse_body
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Router
from corral.api.native.progress import answer_with_progress
from corral.api.reading import decode
from corral.library.verify import Verifier

VERIFY: dict[str, decode.Decode] = {
    "model": decode.string,
    "models": decode.strings,
    "stream": decode.boolean,
}


def add_verify_route(router: Router, verifier: Verifier, *, max_body_bytes: int, max_depth: int) -> None:
    async def verify(exchange: Exchange) -> None:
        """The models that are named, or all of them."""
        body = await exchange.read_body(max_body_bytes)
        values = await parse_body(body, decode.decode_request, "VerifyRequest", VERIFY, max_depth=max_depth)
        names = [*values.get("models", ()), *([values["model"]] if values.get("model") else [])]
        await answer_with_progress(
            exchange, values.get("stream", True), lambda report: verifier.verify(names, report)
        )

    router.add("POST", "/api/verify", verify)
