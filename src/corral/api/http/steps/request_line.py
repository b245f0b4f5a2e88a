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
# Requested every second by programs that watch the server: logged only if they fail, or with OLLAMA_DEBUG=1.
_POLLED = frozenset({"/", "/api/version", "/api/loading", "/api/ps", "/api/status"})


async def log_request(exchange: Exchange, following: Handler) -> None:
    """The step. What follows must answer errors: nothing is logged for what it raises."""
    started_s = time.perf_counter()
    await following(exchange)
    level = logging.DEBUG if exchange.status < 400 and exchange.path in _POLLED else logging.INFO
    if _log.isEnabledFor(level):
        _log.log(
            level,
            "request id=%s method=%s path=%s status=%d ms=%.1f%s%s%s%s",
            exchange.request_id,
            exchange.method,
            exchange.path,
            exchange.status,
            (time.perf_counter() - started_s) * 1000,
            requestfacts.current().words(),
            f" key={key_id}" if (key_id := caller.current().key_id) else "",
            f" user={json.dumps(exchange.user[:_MAX_LOGGED_USER])}" if exchange.user else "",
            f" error={exchange.failure}"
            if exchange.failure
            else f" refused={exchange.refusal}"
            if exchange.refusal
            else "",
        )
