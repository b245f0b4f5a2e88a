"""The application: makes an exchange of each call and runs it through the steps."""

from __future__ import annotations

import itertools
import re

from corral import __version__, requestfacts
from corral.api.http.exchange import Exchange, ServerStoppingError
from corral.api.http.limits import BodyLimits
from corral.api.http.request_log import RequestLog
from corral.api.http.routing import Handler
from corral.memory import Trimmer
from corral.web.call import Call

# After a body of this size the heap is trimmed.
_LARGE_BYTES = 4 << 20
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_SERVER = (b"server", f"corral/{__version__}".encode("ascii"))


class App:
    """Everything between the web server and a handler. `handle` is the chain of steps; it raises nothing."""

    def __init__(
        self,
        handle: Handler,
        limits: BodyLimits,
        *,
        stall_timeout_s: float = 0,
        request_log: RequestLog | None = None,
    ) -> None:
        self._handle = handle
        self._limits = limits
        self._stall_timeout_s = stall_timeout_s
        self._request_log = request_log
        self._active: set[Exchange] = set()
        self._trimmer = Trimmer()
        self._is_stopping = False
        self._serial = itertools.count(1)

    async def __call__(self, call: Call) -> None:
        request_id = f"{next(self._serial):x}"
        exchange = Exchange(call, request_id, limits=self._limits, stall_timeout_s=self._stall_timeout_s)
        if given := exchange.headers.get(b"x-request-id"):
            exchange.request_id = request_id = checked_id(given) or request_id
        requestfacts.begin(request_id)
        exchange.extra_headers += (_SERVER, (b"x-request-id", request_id.encode("ascii")))
        if self._request_log is not None:
            exchange.keep_body = self._request_log.keep
        self._active.add(exchange)
        if self._is_stopping:
            exchange.end(ServerStoppingError)
        try:
            await self._handle(exchange)
        finally:
            self._active.discard(exchange)
            if exchange.release() > _LARGE_BYTES:
                self._trimmer.ask()

    def stop(self) -> None:
        """End what runs for clients; each surface reports it in its own form."""
        self._is_stopping = True
        for exchange in list(self._active):
            exchange.end(ServerStoppingError)


def checked_id(given: bytes) -> str:
    """The id that a client gave its request; empty if it is too long, or could be something else in a log."""
    text = given.decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else ""
