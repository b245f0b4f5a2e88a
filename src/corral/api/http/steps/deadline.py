"""How long a request for inference may take: the caller says it in a header, the server in a setting."""

from __future__ import annotations

import asyncio

from corral import deadline
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.errors import DeadlineError

# What runs ends itself at the deadline, in its API's own form; what does not is ended this much later.
_GRACE_S = 2.0


class SetDeadline:
    """The step. `most_s`: of the setting; 0: no bound."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        asked = exchange.header(b"x-corral-deadline")
        if exchange.route is None or exchange.route.scope != "infer" or not (asked or self._most_s):
            await following(exchange)
            return
        if self._most_s:
            deadline.tighten(self._most_s)
        if asked:
            deadline.tighten(deadline.seconds_of(asked, "X-Corral-Deadline"))
        at_s = deadline.current()
        assert at_s is not None
        timeout = asyncio.timeout_at(at_s + _GRACE_S)
        try:
            async with timeout:
                await following(exchange)
        except TimeoutError:
            if timeout.expired():
                raise DeadlineError from None
            raise
