"""The application: makes an exchange of each call and runs it through the steps."""

from __future__ import annotations

import itertools

from corral import __version__, requestfacts
from corral.api.http.exchange import Exchange
from corral.api.http.limits import BodyLimits
from corral.api.http.request_log import RequestLog
from corral.api.http.routing import Handler
from corral.memory import Trimmer
from corral.web.call import Call

# After a body of this size the heap is trimmed.
_LARGE_BYTES = 4 << 20
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
        exchange = Exchange(
            call, f"{next(self._serial):x}", limits=self._limits, stall_timeout_s=self._stall_timeout_s
        )
        requestfacts.begin(exchange.request_id)
        exchange.extra_headers.append(_SERVER)
        if self._request_log is not None:
            exchange.keep_body = self._request_log.keep
        self._active.add(exchange)
        if self._is_stopping:
            exchange.stop()
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
            exchange.stop()
