"""One log line for each request, written when it has been answered."""

from __future__ import annotations

import json
import logging
import time

from corral import caller, requestfacts
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler

_log = logging.getLogger("corral.http")
_MAX_LOGGED_USER = 64
_STATUS_GONE = 499
# Requested every second by programs that watch the server: logged only if they fail, or with OLLAMA_DEBUG=1.
POLLED = frozenset(
    "/ /api/cluster /api/cluster/watch /api/version /api/loading /api/logs /api/ps /api/queue /api/status /api/top "
    "/metrics /healthz /readyz".split()
)


def is_polled(path: str) -> bool:
    """Whether a path says little about what the server does; the files of the page are many at a time."""
    return path in POLLED or path.startswith("/ui/")


class LogRequests:
    """The step. What follows must answer errors: nothing is logged for what it raises.

    Requests that take longer than `slow_s` are warnings (0: none is). `has_fields`: the log wants what the line says
    as fields too.
    """

    def __init__(self, *, slow_s: float = 0.0, has_fields: bool = False) -> None:
        self._slow_ms = slow_s * 1000
        self._has_fields = has_fields

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        started_s = time.perf_counter()
        await following(exchange)
        taken_ms = (time.perf_counter() - started_s) * 1000
        is_slow = 0 < self._slow_ms < taken_ms
        is_quiet = (exchange.status < 400 or exchange.status == _STATUS_GONE) and is_polled(exchange.path)
        level = logging.WARNING if is_slow else logging.DEBUG if is_quiet else logging.INFO
        if not _log.isEnabledFor(level):
            return
        key_id = caller.current().key_id
        _log.log(
            level,
            "%s id=%s method=%s path=%s status=%d ms=%.1f%s%s%s%s",
            "slow request" if is_slow else "request",
            exchange.request_id,
            exchange.method,
            exchange.path,
            exchange.status,
            taken_ms,
            requestfacts.current().words(),
            f" key={key_id}" if key_id else "",
            f" user={json.dumps(exchange.user[:_MAX_LOGGED_USER])}" if exchange.user else "",
            f" error={exchange.failure}"
            if exchange.failure
            else f" refused={exchange.refusal}"
            if exchange.refusal
            else "",
            extra={"fields": _fields(exchange, taken_ms, key_id)} if self._has_fields else None,
        )


def _fields(exchange: Exchange, taken_ms: float, key_id: str) -> dict[str, int | float | str]:
    found: dict[str, int | float | str] = {
        "request": exchange.request_id,
        "method": exchange.method,
        "path": exchange.path,
        "status": exchange.status,
        "ms": round(taken_ms, 1),
        **requestfacts.current().values(),
    }
    others = {
        "key": key_id,
        "user": exchange.user[:_MAX_LOGGED_USER],
        "error": exchange.failure,
        "refused": exchange.refusal,
    }
    return found | {name: value for name, value in others.items() if value}
