"""What every parser gives: content, thinking and calls of one step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from corral.types import Message, ToolCall

# A call that is still open after this many characters is text: no reply may fill the memory.
MAX_HELD_CHARS = 1 << 20


@dataclass(slots=True)
class Parsed:
    """What became certain with the last text. Calls carry a running index, and no id."""

    content: str = ""
    thinking: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)


class OutputParser(Protocol):
    """Feeding a text in any cut gives, joined, the same; nothing of it is lost, and none of it is an error."""

    def feed(self, text: str) -> Parsed:
        """Take the next piece. No text is an error."""
        ...

    def finish(self) -> Parsed:
        """The reply has ended: give out what was held back."""
        ...


def is_prefilled(last_message: Message | None) -> bool:
    """Whether the reply continues content that the client has begun."""
    return last_message is not None and last_message.role == "assistant" and bool(last_message.content)
