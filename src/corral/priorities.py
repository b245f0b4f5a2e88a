"""Classes of requests: whose answer somebody waits for, and what may come later."""

from __future__ import annotations

from typing import Literal, TypeGuard

from corral.errors import InvalidRequestError

Priority = Literal["interactive", "normal", "batch"]
# The most urgent first.
PRIORITIES: tuple[Priority, ...] = ("interactive", "normal", "batch")
DEFAULT_PRIORITY: Priority = "normal"
_MAX_SHOWN = 40


def is_priority(text: str) -> TypeGuard[Priority]:
    return text in PRIORITIES


def read_priority(text: str, what: str) -> Priority:
    """A class by its name, whatever its case; `what` is named in the error.

    Raises:
        InvalidRequestError
    """
    name = text.strip().lower()
    if not is_priority(name):
        raise InvalidRequestError(
            f"{what}: {text[:_MAX_SHOWN]!r} is not a priority", hint=f"priorities are {', '.join(PRIORITIES)}"
        )
    return name


def lower_of(one: Priority, other: Priority) -> Priority:
    """The less urgent of two classes."""
    return max(one, other, key=PRIORITIES.index)
