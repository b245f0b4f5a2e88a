"""What transfers do, counted for the metrics. For any thread."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

# Why a range did not come from a peer: it gave no turn; it refuses the key; it breaks the protocol or sent wrong
# bytes; it does not have the blob; others were much faster; anything else, as a rule the connection.
PEER_FAILURES = ("busy", "refused", "invalid", "missing", "slow", "lost")


class PeerCounts:
    """What came from other servers of the cluster.

    Attributes:
        bytes: of ranges, also of such as broke off.
        seconds: in which they came, of all streams together.
        waits: ranges that had to wait until a peer had a turn for them, for `waited_s` together.
        failures: ranges that did not come, or not to their end, by `PEER_FAILURES`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes = self.waits = 0
        self.seconds = self.waited_s = 0.0
        self.failures: Counter[str] = Counter()

    def add_range(self, count: int, seconds: float) -> None:
        with self._lock:
            self.bytes += count
            self.seconds += seconds

    def add_wait(self, seconds: float) -> None:
        with self._lock:
            self.waits += 1
            self.waited_s += seconds

    def add_failure(self, reason: str) -> None:
        with self._lock:
            self.failures[reason] += 1


class TransferCounts:
    """`pulled_bytes` came over the network, also those of parts that were fetched twice; `retries` of parts of blobs.

    `ends` counts pulls and pushes by what they were and how they ended: `success`, `failed` or `cancelled`. `peers`
    has what came from other servers of the cluster, which `pulled_bytes` has too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.peers = PeerCounts()
        self.pulled_bytes = 0
        self.retries = 0
        self.ends: Counter[tuple[str, str]] = Counter()

    def add_bytes(self, count: int) -> None:
        with self._lock:
            self.pulled_bytes += count

    def add_retry(self) -> None:
        with self._lock:
            self.retries += 1

    @contextmanager
    def watched(self, kind: str) -> Iterator[None]:
        """Count a pull or a push by how it ends. On the event loop."""
        result = "cancelled"
        try:
            yield
            result = "success"
        except Exception:
            result = "failed"
            raise
        finally:
            self.ends[kind, result] += 1
