"""How many tokens the request of this task may still use; asked where prompts are sent to an engine.

The step in front of the handlers sets an `Allowance` for callers that are limited; a task that a request starts
inherits it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class Reservation(Protocol):
    """Tokens that were set aside for one call of an engine. `predict`: how many an answer may have."""

    predict: int

    def settle(self, used: int) -> None:
        """Count what was used, at most what was set aside, and give the rest back. Called once."""
        ...


class Allowance(Protocol):
    """Of one request."""

    def reserve(self, prompt_tokens: int, wanted: int) -> Reservation:
        """Set tokens aside for a prompt and an answer; `wanted` is how long it may be, negative: any length.

        Raises:
            RateLimitError: there are too few left.
        """
        ...


_current: ContextVar[Allowance | None] = ContextVar("allowance", default=None)


def begin(allowance: Allowance | None) -> None:
    """Bind what this task, and those that it starts, may use; None: as much as it likes."""
    _current.set(allowance)


def current() -> Allowance | None:
    """What this task may use; None: as much as it likes."""
    return _current.get()
