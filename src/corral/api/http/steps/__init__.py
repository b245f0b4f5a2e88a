"""What happens to every request on the way to its handler, a file each.

A step gets the exchange and what follows it: it answers itself, or awaits what follows, or does work around it. The
first step is the outermost. `corral/server.py` lists them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler

Step = Callable[[Exchange, Handler], Awaitable[None]]


def chain(steps: list[Step], last: Handler) -> Handler:
    """One handler that runs the steps in their order, and in them `last`."""
    for step in reversed(steps):
        last = _link(step, last)
    return last


def _link(step: Step, following: Handler) -> Handler:
    def handle(exchange: Exchange) -> Awaitable[None]:
        return step(exchange, following)

    return handle
