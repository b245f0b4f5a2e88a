"""How large request bodies may be: by route, and all that are held at a time."""

from __future__ import annotations

from corral.errors import CorralError

_KIB = 1024
_MIB = 1024 * 1024

# What holds a name and a few options. A template, a licence or a history may stand in the second kind. Routes that
# take pictures, long texts or audio are not here: CORRAL_MAX_BODY_BYTES alone bounds them, and uploads nothing.
_SMALL = dict.fromkeys(
    (
        "/api/copy",
        "/api/delete",
        "/api/pull",
        "/api/push",
        "/api/verify",
        "/api/me",
        "/api/signout",
        "/api/local-blobs",
        "/api/experimental/web_search",
        "/api/experimental/web_fetch",
    ),
    64 * _KIB,
)
_LIMITS = _SMALL | {"/api/show": 1 * _MIB, "/api/create": 8 * _MIB}

# So much of each body is not counted: a few giants must not shut out everybody's small requests.
_FREE_BYTES = 64 * _KIB


class ServerBusyError(CorralError):
    """Other clients' request bodies fill the memory that there is for them."""

    def __init__(self) -> None:
        super().__init__(
            "the server holds too many large requests, please try again",
            hint="CORRAL_MAX_BODIES_BYTES bounds all request bodies together",
        )


def route_limit_bytes(path: str) -> int | None:
    """The bound of a route's bodies where it has one of its own."""
    return _LIMITS.get(path)


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
