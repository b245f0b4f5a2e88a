"""Which node a client's session was at last: requests with the same `X-Corral-Session` stay together."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b

MAX_SESSIONS = 10_000
KEPT_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Place:
    node: str
    until_s: float


class Sessions:
    """Bounded: the least recently used are forgotten first, and all of them after a time.

    A session is known by a hash, because clients choose its length.
    """

    def __init__(self, *, max_sessions: int = MAX_SESSIONS, kept_s: float = KEPT_S) -> None:
        self._max_sessions = max_sessions
        self._kept_s = kept_s
        self._places: OrderedDict[bytes, _Place] = OrderedDict()

    def node_of(self, session: str, model: str, now: float) -> str:
        """Where it was last; empty if that is not known."""
        place = self._places.get(_key(session, model)) if session else None
        return place.node if place is not None and now <= place.until_s else ""

    def keep(self, session: str, model: str, node: str, now: float) -> None:
        """A request of the session was answered there."""
        if not session:
            return
        key = _key(session, model)
        self._places[key] = _Place(node, now + self._kept_s)
        self._places.move_to_end(key)
        if len(self._places) > self._max_sessions:
            self._places.popitem(last=False)

    def forget_node(self, node: str) -> None:
        """It has started again, or left: nothing of the session is warm there."""
        for key in [key for key, place in self._places.items() if place.node == node]:
            del self._places[key]

    def __len__(self) -> int:
        return len(self._places)


def _key(session: str, model: str) -> bytes:
    hasher = blake2b(model.encode(errors="surrogatepass"), digest_size=16)
    hasher.update(b"\0" + session.encode(errors="surrogatepass"))
    return hasher.digest()
