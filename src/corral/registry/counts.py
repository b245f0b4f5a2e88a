"""What transfers do, counted for the metrics. For any thread."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class TransferCounts:
    """`pulled_bytes` came over the network, also those of parts that were fetched twice; `retries` of parts of blobs.

    `ends` counts pulls and pushes by what they were and how they ended: `success`, `failed` or `cancelled`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
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
