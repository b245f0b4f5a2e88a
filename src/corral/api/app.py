"""The ASGI application: origin and host checks, routing, error answers, one log line a request."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from corral.api.errors import compatible_status_of, error_body, log_failure, status_of, text_of
from corral.api.http import (
    JSON_UTF8,
    BodyTooLargeError,
    ClientGoneError,
    ClientStalledError,
    Exchange,
    Receive,
    Send,
)
from corral.api.origins import HostGuard, OriginRules
from corral.api.routing import Match, Router
from corral.errors import CorralError

__all__ = ["App"]

_log = logging.getLogger("corral.http")
_MAX_LOGGED_USER = 64

Lifespan = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class App:
    """Everything between the web server and a handler."""

    def __init__(
        self,
        router: Router,
        origins: OriginRules,
        guard: HostGuard,
        lifespan: Lifespan,
        *,
        stall_timeout_s: float = 0,
    ) -> None:
        self._stall_timeout_s = stall_timeout_s
        self._router = router
        self._origins = origins
        self._guard = guard
        self._lifespan = lifespan
        self._serial = itertools.count(1)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if scope["type"] != "http":
            # The web server offers websockets only if a library for them is installed; we speak none.
            await send({"type": "websocket.close", "code": 1003})
            return
        started_s = time.perf_counter()
        exchange = Exchange(scope, receive, send, f"{next(self._serial):x}", self._stall_timeout_s)
        error: BaseException | None = None
        try:
            await self._serve(exchange)
        except ClientGoneError as exc:
            error = exc
            exchange.status = 499
        except CorralError as exc:
            error = exc
            await _answer_error(exchange, exc)
        except Exception as exc:
            error = exc
            log_failure(_log, exchange.request_id, exc)
            await _answer_error(exchange, exc)
        if _log.isEnabledFor(logging.INFO):
            duration_ms = (time.perf_counter() - started_s) * 1000
            _log.info(
                "request id=%s method=%s path=%s status=%d ms=%.1f%s%s",
                exchange.request_id,
                exchange.method,
                exchange.path,
                exchange.status,
                duration_ms,
                f" user={json.dumps(exchange.user[:_MAX_LOGGED_USER])}" if exchange.user else "",
                f" error={error!r}" if error is not None else "",
            )

    async def _serve(self, exchange: Exchange) -> None:
        match = self._router.match(exchange)
        if match.allow and match.handler is None:
            exchange.extra_headers.append((b"allow", match.allow.encode("ascii")))
        if await self._is_refused(exchange):
            return
        if match.handler is not None:
            await match.handler(exchange)
        else:
            await _answer_unmatched(exchange, match)

    async def _is_refused(self, exchange: Exchange) -> bool:
        """Answer and return True when the origin or the host ends the request here."""
        host = exchange.header(b"host")
        origin = exchange.header(b"origin")
        if origin and origin not in (f"http://{host}", f"https://{host}"):
            is_preflight = exchange.method == "OPTIONS"
            headers = self._origins.headers_for(origin, is_preflight=is_preflight)
            if headers is None:
                exchange.extra_headers = [h for h in exchange.extra_headers if h[0] == b"allow"]
                await exchange.respond(403)
                return True
            exchange.extra_headers += headers
            if is_preflight:
                await exchange.respond(204)
                return True
        verdict = self._guard.verdict(host)
        if not verdict:
            await exchange.respond(403)
            return True
        if verdict == "name" and exchange.method == "OPTIONS":
            await exchange.respond(204)
            return True
        return False


async def _answer_unmatched(exchange: Exchange, match: Match) -> None:
    if match.redirect_status:
        location = (b"location", match.location.encode("latin-1"))
        await exchange.respond(match.redirect_status, headers=[location])
    elif match.allow:
        await exchange.respond(405, b"405 method not allowed", "text/plain")
    else:
        await exchange.respond(404, b"404 page not found", "text/plain")


async def _answer_error(exchange: Exchange, error: BaseException) -> None:
    if exchange.is_started:
        return
    if isinstance(error, ClientStalledError | BodyTooLargeError):
        exchange.extra_headers.append((b"connection", b"close"))  # the rest of the body is of no use
    encode, text = exchange.error_encoder, text_of(error)
    status = compatible_status_of(error) if encode else status_of(error)
    await exchange.respond(status, encode(status, text) if encode else error_body(text), JSON_UTF8)
