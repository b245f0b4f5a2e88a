"""How many parts to download at a time: more as long as that makes the whole faster, fewer when the server reports
that it is too many."""

from __future__ import annotations

_PROBE_S = 1.0
_PATIENCE_S = 15.0
_GAIN = 1.15
# Four gigabits a second: such a transfer is limited by this machine, and more streams only slow each other down.
_ENOUGH_BYTES_PER_S = 500_000_000


class StreamTuner:
    """Hill climbing on the rate. Pure: time and bytes are arguments.

    Doubles as long as a step makes the transfer clearly faster, goes back when it does not, and tries again after a
    while, because networks change. `refuse` halves (429, 503) and stays there.
    """

    def __init__(self, first: int, most: int) -> None:
        self.target = min(first, most)
        self._most = most
        self._best_rate = 0.0
        self._before = 0
        self._since_s = 0.0
        self._since_bytes = 0
        self._rest_until_s = 0.0

    def start(self, now_s: float, done_bytes: int) -> None:
        self._since_s, self._since_bytes = now_s, done_bytes

    def observe(self, now_s: float, done_bytes: int, *, is_limited: bool) -> int:
        """Note the progress; return how many parts to download at a time."""
        elapsed_s = now_s - self._since_s
        if elapsed_s < _PROBE_S:
            return self.target
        rate = max(done_bytes - self._since_bytes, 0) / elapsed_s
        self._since_s, self._since_bytes = now_s, done_bytes
        if is_limited or now_s < self._rest_until_s:
            return self.target
        if self._before and rate <= self._best_rate * _GAIN:
            # The last step brought nothing: each stream more costs the server and other people on the line.
            self.target, self._before = self._before, 0
            self._rest_until_s = now_s + _PATIENCE_S
            return self.target
        self._best_rate = rate
        can_grow = self.target < self._most and rate < _ENOUGH_BYTES_PER_S
        self._before = self.target if can_grow else 0
        if can_grow:
            self.target = min(self.target * 2, self._most)
        return self.target

    def refuse(self) -> None:
        """The server asked for less."""
        self.target = max(self.target // 2, 1)
        self._most = self.target
        self._before = 0
