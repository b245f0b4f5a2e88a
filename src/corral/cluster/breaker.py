"""Which nodes get nothing for a while, because they have just failed several times.

Closed: failures are counted. Open: nothing goes there until its time is over. Then one request may try; it closes the
circuit, or opens it again for twice as long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from math import inf

FAILURES = 3
WITHIN_S = 10.0
OPEN_S = 5.0
MAX_OPEN_S = 60.0
# A trial whose end nobody reported frees its place after this.
TRIAL_S = 60.0


@dataclass(slots=True)
class _Circuit:
    """`open_until_s`: None while closed. `trial_until_s`: -inf while nobody tries."""

    failures: deque[float] = field(default_factory=lambda: deque(maxlen=FAILURES))
    open_until_s: float | None = None
    open_s: float = OPEN_S
    trial_until_s: float = -inf

    def lets_through(self, now: float) -> bool:
        return self.open_until_s is None or (now >= self.open_until_s and now >= self.trial_until_s)


class Breaker:
    """The circuits of all nodes. Times are of one clock that does not go back, in seconds."""

    def __init__(self) -> None:
        self._circuits: dict[str, _Circuit] = {}

    def is_open(self, node: str, now: float) -> bool:
        """Whether nothing may go there."""
        circuit = self._circuits.get(node)
        return circuit is not None and not circuit.lets_through(now)

    def closed_to(self, now: float) -> Collection[str]:
        """All nodes that are open."""
        return [node for node, circuit in self._circuits.items() if not circuit.lets_through(now)]

    def began(self, node: str, now: float) -> bool:
        """A request goes there. Whether it is a trial; then nothing else goes there before its end is reported."""
        circuit = self._circuits.get(node)
        if circuit is None or circuit.open_until_s is None:
            return False
        circuit.trial_until_s = now + TRIAL_S
        return True

    def succeeded(self, node: str, now: float) -> None:
        """It has answered, with whatever status that does not speak against the node.

        Failures stay counted until they are old: a node that fails every other request is not well. What was under
        way before it opened says nothing about it now.
        """
        circuit = self._circuits.get(node)
        if circuit is not None and circuit.open_until_s is not None and now >= circuit.open_until_s:
            del self._circuits[node]

    def failed(self, node: str, now: float) -> None:
        """It could not be reached, or broke off."""
        circuit = self._circuits.setdefault(node, _Circuit())
        if circuit.open_until_s is not None:
            if now >= circuit.open_until_s:  # the trial failed; others were under way before it opened
                circuit.open_s = min(circuit.open_s * 2, MAX_OPEN_S)
                circuit.open_until_s = now + circuit.open_s
                circuit.trial_until_s = -inf
            return
        circuit.failures.append(now)
        if len(circuit.failures) == FAILURES and now - circuit.failures[0] <= WITHIN_S:
            circuit.open_until_s = now + circuit.open_s

    def abandoned(self, node: str) -> None:
        """A trial ended without a word about the node: its client left. Another one may try."""
        circuit = self._circuits.get(node)
        if circuit is not None:
            circuit.trial_until_s = -inf

    def forget(self, node: str) -> None:
        """It has started again, or left."""
        self._circuits.pop(node, None)
