"""`/healthz` (the server turns) and `/readyz` (send requests here), as Kubernetes and others ask for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.http.routing import Route, Surface
from corral.api.reading.schema import NUMBER, STRING, Answer, array_of, object_of

_NO_STORE = [(b"cache-control", b"no-store")]
_HEALTH = Answer("Health", object_of("status lag_ms", status=STRING, lag_ms=NUMBER))
_READY = Answer(
    "Readiness",
    object_of(
        "status reasons",
        status=STRING,
        reasons=array_of(object_of("check message", check=STRING, message=STRING)),
    ),
)
_ERROR = Answer("HealthError", object_of("error", error=STRING))


class HealthChecks(Protocol):
    """Where the answers come from."""

    def lag(self) -> tuple[float, bool]:
        """Seconds that the event loop took for its last answer, and whether that is too long."""
        ...

    async def reasons(self) -> Sequence[tuple[str, str]]:
        """Why the server is not ready, as the check and a message."""
        ...


class HealthHandlers:
    def __init__(self, checks: HealthChecks) -> None:
        self._checks = checks

    async def health(self, exchange: Exchange) -> None:
        lag_s, is_stuck = self._checks.lag()
        status = "stuck" if is_stuck else "ok"
        await _answer(
            exchange, 503 if is_stuck else 200, {"status": status, "lag_ms": round(lag_s * 1000, 1)}
        )

    async def ready(self, exchange: Exchange) -> None:
        reasons = [{"check": check, "message": message} for check, message in await self._checks.reasons()]
        status = "not ready" if reasons else "ready"
        await _answer(exchange, 503 if reasons else 200, {"status": status, "reasons": reasons})


async def _answer(exchange: Exchange, status: int, body: object) -> None:
    await exchange.respond(
        status, json.dumps(body, separators=(",", ":")).encode(), JSON_UTF8, headers=_NO_STORE
    )


def health_surface(checks: HealthChecks) -> Surface:
    handlers = HealthHandlers(checks)
    health = Route(
        "GET HEAD", "/healthz", handlers.health, "Whether the server is alive", scope="open", answers=_HEALTH
    )
    ready = Route(
        "GET HEAD", "/readyz", handlers.ready, "Whether to send requests here", scope="open", answers=_READY
    )
    return Surface("health", "Health", (health, ready), _ERROR)
