"""Turns of the servers of a cluster that fetch weights here: two at a time, so that the first ones have all soon.

Whoever has the whole model serves it too. If all were served at once, all would have it late and nobody would help;
with turns, the number of those that have it grows by a factor in each round.

A turn is the peer's, not a request's: it lasts as long as the peer's requests follow each other closely.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from corral.errors import CorralError
from corral.registry.request import PEER_HEADER

HEADER = PEER_HEADER.lower().encode()
MOST_AT_A_TIME = 2
# Between two blobs of a model a peer writes and hashes the first one.
_GRACE_S = 2.0
_ASK_AGAIN_S = 1
# What is smaller needs no turn: manifests, templates, the beginning of a file.
SMALL_BYTES = 1 << 20


class NoTurnError(CorralError):
    """Others are fetching; `retry_after_s` is when to ask again."""

    def __init__(self) -> None:
        super().__init__(
            f"{MOST_AT_A_TIME} servers are fetching weights here already",
            hint="ask again in a second, or ask a server that has got them since",
        )
        self.retry_after_s = _ASK_AGAIN_S


class UploadTurns:
    """Who may fetch now. For the event loop. `served` counts turns, `refused` requests without one."""

    def __init__(
        self,
        most: int = MOST_AT_A_TIME,
        *,
        grace_s: float = _GRACE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._grace_s = grace_s
        self._clock = clock
        self._active: Counter[str] = Counter()
        # When the last request of a peer ended that has a turn and no request.
        self._resting: dict[str, float] = {}
        self.served = 0
        self.refused = 0

    @contextmanager
    def turn(self, peer: str, *, rests: bool = True) -> Iterator[None]:
        """Serve a request of a peer. `rests`: it keeps its turn for a moment, for its next request.

        Raises:
            NoTurnError: others have all turns.
        """
        self._begin(peer)
        try:
            yield
        finally:
            self._active[peer] -= 1
            if not self._active[peer]:
                del self._active[peer]
                if rests:
                    self._resting[peer] = self._clock()

    def _begin(self, peer: str) -> None:
        now_s = self._clock()
        self._resting = {
            name: since_s for name, since_s in self._resting.items() if now_s - since_s < self._grace_s
        }
        if peer not in self._active and peer not in self._resting:
            if len(self._active) + len(self._resting) >= self._most:
                self.refused += 1
                raise NoTurnError
            self.served += 1
        self._resting.pop(peer, None)
        self._active[peer] += 1
