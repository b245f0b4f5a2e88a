"""The application: origin and host checks, routing, error answers, one log line a request."""

from __future__ import annotations

import itertools
import json
import logging
import time

from corral import __version__, requestfacts
from corral.api.http.errors import (
    body_of,
    compatible_status_of,
    error_body,
    hint_of,
    log_failure,
    status_of,
    text_of,
)
from corral.api.http.exchange import (
    JSON_UTF8,
    BodyTooLargeError,
    ClientGoneError,
    ClientStalledError,
    Exchange,
    ServerStoppingError,
)
from corral.api.http.limits import BodyBudget, ServerBusyError, route_limit_bytes
from corral.api.http.origins import HostGuard, OriginRules
from corral.api.http.request_log import RequestLog
from corral.api.http.routing import Match, Router
from corral.errors import CorralError
from corral.memory import Trimmer
from corral.web.call import Call

_log = logging.getLogger("corral.http")
_MAX_LOGGED_USER = 64
_MAX_NAMED = 100
# After a body of this size the heap is trimmed.
_LARGE_BYTES = 4 << 20
_SERVER = (b"server", f"corral/{__version__}".encode("ascii"))
# Asked every second by programs that watch the server: logged only if they fail, or with OLLAMA_DEBUG=1.
_POLLED = frozenset({"/", "/api/version", "/api/loading", "/api/ps", "/api/status"})


class App:
    """Everything between the web server and a handler."""

    def __init__(
        self,
        router: Router,
        origins: OriginRules,
        guard: HostGuard,
        *,
        stall_timeout_s: float = 0,
        max_bodies_bytes: int = 1 << 62,
        request_log: RequestLog | None = None,
    ) -> None:
        self._request_log = request_log
        self._stall_timeout_s = stall_timeout_s
        self._router = router
        self._origins = origins
        self._guard = guard
        self._budget = BodyBudget(max_bodies_bytes)
        self._active: set[Exchange] = set()
        self._trimmer = Trimmer()
        self._is_stopping = False
        self._serial = itertools.count(1)

    async def __call__(self, call: Call) -> None:
        started_s = time.perf_counter()
        exchange = Exchange(
            call, f"{next(self._serial):x}", budget=self._budget, stall_timeout_s=self._stall_timeout_s
        )
        requestfacts.begin(exchange.request_id)
        exchange.extra_headers.append(_SERVER)
        if self._request_log is not None:
            exchange.keep_body = self._request_log.keep
        self._active.add(exchange)
        if self._is_stopping:
            exchange.stop()
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
        finally:
            self._active.discard(exchange)
            if exchange.release() > _LARGE_BYTES:
                self._trimmer.ask()
        _log_request(exchange, started_s, error)
        error = (
            None  # with its traceback it would hold this frame, and the body in it, until a full collection
        )

    def stop(self) -> None:
        """End what runs for clients; each is told so in the form of its surface."""
        self._is_stopping = True
        for exchange in list(self._active):
            exchange.stop()

    async def _serve(self, exchange: Exchange) -> None:
        if (limit_bytes := route_limit_bytes(exchange.path)) is not None:
            exchange.body_limit_bytes = limit_bytes
        if exchange.method == "OPTIONS" and exchange.path == "*":
            await exchange.respond(200)
            return
        match = self._router.match(exchange)
        if match.allow:
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
        is_same = origin in (f"http://{host}", f"https://{host}") and not self._guard.may_be_rebound(host)
        if origin and not is_same:
            is_preflight = exchange.method == "OPTIONS"
            headers = self._origins.headers_for(origin, is_preflight=is_preflight)
            if headers is None:
                exchange.extra_headers = [h for h in exchange.extra_headers if h[0] in (b"allow", b"server")]
                reason = f"origin {origin[:_MAX_NAMED]!r} is not allowed"
                await _forbid(
                    exchange, f"{reason}; add it to OLLAMA_ORIGINS if its pages may use this server"
                )
                return True
            exchange.extra_headers += headers
            if is_preflight:
                await exchange.respond(204)
                return True
        verdict = self._guard.verdict(host)
        if not verdict:
            reason = f"host {host[:_MAX_NAMED]!r} is not allowed while the server listens on loopback only"
            await _forbid(
                exchange, f"{reason}; use localhost or an IP address, or set the Host header in the proxy"
            )
            return True
        if verdict == "name" and exchange.method == "OPTIONS":
            await exchange.respond(204)
            return True
        return False


async def _forbid(exchange: Exchange, reason: str) -> None:
    """Refuse, and say why, in the body and in the log; Ollama's body is empty."""
    exchange.refusal = reason
    await exchange.respond(403, error_body(reason), JSON_UTF8)


def _log_request(exchange: Exchange, started_s: float, error: BaseException | None) -> None:
    level = logging.DEBUG if exchange.status < 400 and exchange.path in _POLLED else logging.INFO
    if _log.isEnabledFor(level):
        _log.log(
            level,
            "request id=%s method=%s path=%s status=%d ms=%.1f%s%s%s",
            exchange.request_id,
            exchange.method,
            exchange.path,
            exchange.status,
            (time.perf_counter() - started_s) * 1000,
            requestfacts.current().words(),
            f" user={json.dumps(exchange.user[:_MAX_LOGGED_USER])}" if exchange.user else "",
            f" error={error!r}"
            if error is not None
            else f" refused={exchange.refusal}"
            if exchange.refusal
            else "",
        )


async def _answer_unmatched(exchange: Exchange, match: Match) -> None:
    if match.redirect_status:
        location = (b"location", match.location.encode("latin-1"))
        await exchange.respond(match.redirect_status, headers=[location])
    elif match.allow:
        await exchange.respond(405, b"405 method not allowed", "text/plain")
    else:
        await exchange.respond(404, b"404 page not found", "text/plain")


_LEAVES_BODY = (ClientStalledError, BodyTooLargeError, ServerBusyError, ServerStoppingError)


async def _answer_error(exchange: Exchange, error: BaseException) -> None:
    if exchange.is_started:
        return
    if isinstance(error, _LEAVES_BODY):
        exchange.extra_headers.append((b"connection", b"close"))  # the rest of the body is of no use
    if (encode := exchange.error_encoder) is None:
        await exchange.respond(status_of(error), body_of(error), JSON_UTF8)
        return
    status = compatible_status_of(error)
    await exchange.respond(status, encode(status, text_of(error), hint_of(error)), JSON_UTF8)
