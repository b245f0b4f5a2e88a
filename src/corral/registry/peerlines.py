"""What one download knows of one peer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from corral.registry.request import Peer

# First byte and the one after the last.
Span = tuple[int, int]
_MAX_FAILURES = 3
_Source = TypeVar("_Source")


def kept_spans(spans: list[Span]) -> list[Span]:
    """The same bytes, sorted, with neighbours as one span."""
    found: list[Span] = []
    for start, stop in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return found


@dataclass(slots=True)
class PeerLine(Generic[_Source]):
    """A peer, the connection to it, and how it did. `spans` are the bytes that it sent, times are monotonic.

    `stream_rate` is that of its newest stream, in bytes a second; 0: not known. `is_slow`: others are much faster.
    """

    peer: Peer
    source: _Source
    active: int = 0
    free_at_s: float = 0.0
    failures: int = 0
    is_dropped: bool = False
    problem: str = ""
    spans: list[Span] = field(default_factory=list)
    stream_rate: float = 0.0
    is_slow: bool = False
    gained_bytes: int = 0

    @property
    def sent_bytes(self) -> int:
        return sum(stop - start for start, stop in self.spans)

    def has_all(self, size_bytes: int) -> bool:
        return kept_spans(self.spans) == [(0, size_bytes)]

    def note(self, start: int, count: int, progress_bytes: int) -> None:
        """Bytes of it have come; enough of them make failures forgotten."""
        if self.spans and self.spans[-1][1] == start:
            self.spans[-1] = (self.spans[-1][0], start + count)
        else:
            self.spans.append((start, start + count))
            if len(self.spans) > 64:
                self.spans[:] = kept_spans(self.spans)
        self.gained_bytes += count
        if self.gained_bytes >= progress_bytes:
            self.failures = self.gained_bytes = 0

    def wait_until(self, when_s: float) -> None:
        """It is busy, which is no failure."""
        self.free_at_s = max(self.free_at_s, when_s)

    def fail(self, now_s: float, delay_s: float) -> None:
        """Ask it later, or not any more."""
        self.failures += 1
        self.gained_bytes = 0
        self.free_at_s = now_s + delay_s * 2 ** (self.failures - 1)
        self.is_dropped = self.is_dropped or self.failures >= _MAX_FAILURES

    def drop(self, why: str) -> None:
        self.is_dropped, self.problem = True, why
