"""What every parser gives: content, thinking and calls of one step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from corral.types import ToolCall

__all__ = ["OutputParser", "Parsed", "held_suffix"]


@dataclass(slots=True)
class Parsed:
    """What became certain with the last text. Calls carry a running index, and no id."""

    content: str = ""
    thinking: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)


class OutputParser(Protocol):
    """Feeding a text in any cut gives, joined, the same."""

    def feed(self, text: str) -> Parsed:
        """Take the next piece.

        Raises:
            OutputParseError: the reply breaks the form that its parser reads.
        """
        ...

    def finish(self) -> Parsed:
        """The reply has ended: give out what was held back. Raises as `feed`."""
        ...


def held_suffix(text: str, tag: str) -> int:
    """How many characters at the end of `text` may be the beginning of `tag`."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:length]):
            return length
    return 0
