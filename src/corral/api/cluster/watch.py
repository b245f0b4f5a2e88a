"""The handler of `/api/cluster/watch`: this node's state as lines, for the other nodes, as long as they listen."""

from __future__ import annotations

from collections.abc import Callable

from corral.api.http.exchange import NDJSON, Exchange
from corral.cluster.peers.announcing import Announcer


class WatchHandler:
    """Each line is an object; the first has the models, the others only if they have changed.

    `is_over`: the server ends and has nothing left to do; nobody is to wait for those who listen.
    """

    def __init__(self, announcer: Announcer, is_over: Callable[[], bool]) -> None:
        self._announcer = announcer
        self._is_over = is_over

    async def get(self, exchange: Exchange) -> None:
        await exchange.run_watched(self._stream(exchange))

    async def _stream(self, exchange: Exchange) -> None:
        await exchange.start_stream(NDJSON, headers=[(b"cache-control", b"no-store")])
        async for line in self._announcer.lines():
            await exchange.write(line)
            if self._is_over():
                break
        await exchange.end_stream()
