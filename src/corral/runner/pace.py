"""How much goes to the engine in one turn: as much as takes about half a second.

A turn cannot be stopped half way, and while it lasts no other request for vectors gets its own.
"""

from __future__ import annotations

from collections import deque

_TURN_S = 0.5
_FIRST_BYTES = 16 << 10
_MIN_BYTES = 1 << 10
_MAX_BYTES = 1 << 20
# About 250 tokens, which keep two cores as busy as more do. A fast engine gets more: a twentieth of a second's work.
_STEP_BYTES = 1 << 10
_STEPS_OF_A_TURN = 10


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


class Step:
    """What the engine computes together: a text a slot.

    In a step each token is compared with those of all its texts, so that long texts are slower together than alone.
    """

    def __init__(self, slots: int, turn_bytes: int) -> None:
        self._last: deque[int] = deque(maxlen=slots - 1)
        self._most_bytes = max(_STEP_BYTES, turn_bytes // _STEPS_OF_A_TURN) if slots > 1 else 0

    def holds(self, text_bytes: int) -> bool:
        """Whether a further text is still faster together with those before it."""
        return not self._most_bytes or sum(self._last) + text_bytes <= self._most_bytes

    def add(self, text_bytes: int) -> None:
        self._last.append(text_bytes)
