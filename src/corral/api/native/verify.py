"""`/api/verify`: compares stored models with their digests. Ollama does not have this route."""

from __future__ import annotations

from corral.api.http.bodies import read_values
from corral.api.http.exchange import Exchange
from corral.api.native.progress import answer_with_progress
from corral.api.native.protocol import VERIFY
from corral.library.verify import Verifier


class VerifyHandlers:
    """The handler on one verifier."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def verify(self, exchange: Exchange) -> None:
        """The models that are named, or all of them."""
        values = await read_values(exchange, "VerifyRequest", VERIFY)
        names = [*values.get("models", ()), *([values["model"]] if values.get("model") else [])]
        await answer_with_progress(
            exchange, values.get("stream", True), lambda report: self._verifier.verify(names, report)
        )
