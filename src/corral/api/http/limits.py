"""How large request bodies may be: one by one, by the class of their route, and all that are held at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

from corral.errors import CorralError

_KIB = 1024
_MIB = 1024 * 1024

# Classes of bodies, in bytes. Routes that take images, long texts or audio are in none: CORRAL_MAX_BODY_BYTES alone
# bounds them. Uploads are not held in memory, so nothing bounds them.
NO_LIMIT = 1 << 62
SMALL_BODY = 64 * _KIB  # a name and a few options
MEDIUM_BODY = 1 * _MIB  # also a template or a system message
LARGE_BODY = 8 * _MIB  # also licences and a conversation

# This much of each body is not counted: a few giants must not shut out everybody's small requests.
_FREE_BYTES = 64 * _KIB


class ServerBusyError(CorralError):
    """Other clients' request bodies fill the memory that there is for them."""

    def __init__(self) -> None:
        super().__init__(
            "the server holds too many large requests, please try again",
            hint="CORRAL_MAX_BODIES_BYTES bounds all request bodies together",
        )


class BodyBudget:
    """Counts the bytes of all bodies that are held."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0

    def take(self, size_bytes: int, body_bytes: int) -> int:
        """Count more bytes of a body that has had `body_bytes` so far; the bytes to give back later.

        Raises:
            ServerBusyError: there is no room.
        """
        counted_bytes = max(body_bytes + size_bytes - _FREE_BYTES, 0) - max(body_bytes - _FREE_BYTES, 0)
        if counted_bytes and self._held_bytes + counted_bytes > self._limit_bytes:
            raise ServerBusyError
        self._held_bytes += counted_bytes
        return counted_bytes

    def give_back(self, size_bytes: int) -> None:
        self._held_bytes -= size_bytes


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What holds for the body of every exchange. Routes can have a smaller bound than `max_body_bytes`.

    `max_depth`: how deep lists and objects may be nested in JSON.
    """

    max_body_bytes: int = NO_LIMIT
    max_depth: int = 500
    budget: BodyBudget = field(default_factory=lambda: BodyBudget(NO_LIMIT))
