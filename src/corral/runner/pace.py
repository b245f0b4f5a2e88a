"""How much goes to the engine in one turn: as much as takes about half a second.

A turn cannot be stopped half way, and while it lasts no other request for vectors gets its own.
"""

from __future__ import annotations

_TURN_S = 0.5
_FIRST_BYTES = 16 << 10
_MIN_BYTES = 1 << 10
_MAX_BYTES = 1 << 20


class Pace:
    """`turn_bytes`: text that one turn should hold, by what the engine took so far."""

    def __init__(self) -> None:
        self.turn_bytes = _FIRST_BYTES

    def note(self, size_bytes: int, seconds: float) -> None:
        """Learn from a turn. A small one says little, since every call has a fixed cost."""
        wanted = int(size_bytes * _TURN_S / max(seconds, 1e-6))
        if wanted > self.turn_bytes and size_bytes * 2 < self.turn_bytes:
            return
        wanted = min(max(wanted, self.turn_bytes // 2), self.turn_bytes * 2)
        self.turn_bytes = min(max(wanted, _MIN_BYTES), _MAX_BYTES)
