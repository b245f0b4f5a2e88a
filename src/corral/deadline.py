"""When a request has to be over: set by the step in front of the handlers or by the body, inherited by its tasks."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from corral.errors import DeadlineError, InvalidRequestError
from corral.golang.time import parse_duration_ns

_NS_PER_S = 1_000_000_000
_MAX_S = 7 * 86_400.0
_current: ContextVar[float | None] = ContextVar("deadline", default=None)


def current() -> float | None:
    """The time by the event loop's clock; None: the request has all the time."""
    return _current.get()


def tighten(seconds: float) -> None:
    """The request of this task has this much time from now, unless it has less already."""
    at_s, before_s = asyncio.get_running_loop().time() + seconds, _current.get()
    _current.set(at_s if before_s is None else min(at_s, before_s))


def tighten_by(options: Any) -> None:
    """The same by a body's `options.deadline`, if there is one.

    Raises:
        InvalidRequestError
    """
    value = options.get("deadline") if options else None
    if value is not None:
        tighten(seconds_of(value, "options.deadline"))


def seconds_of(value: Any, what: str) -> float:
    """A duration like `30s` or `1m30s`, or a number of seconds.

    Raises:
        InvalidRequestError: it is none, or not above 0.
    """
    seconds = 0.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        try:
            is_number = value.replace(".", "", 1).isdecimal() and value.isascii()
            seconds = float(value) if is_number and len(value) < 20 else parse_duration_ns(value) / _NS_PER_S
        except InvalidRequestError:
            seconds = 0.0
    if not seconds > 0:
        raise InvalidRequestError(f"{what} must be a duration above 0, such as 30s or 1m30s")
    return min(seconds, _MAX_S)


class Limit:
    """A block that ends with a `DeadlineError` when the request's time is up."""

    def __init__(self) -> None:
        self._timeout = asyncio.timeout_at(_current.get())

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise DeadlineError from None
