"""What every renderer is given, and the questions that several families ask about it.

Nothing here writes prompt text. White space is what Go counts as such, which is not quite what Python does.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from corral.chat import marks
from corral.types import Message, Think, Tool

# ollama: strings.TrimSpace. Python's own list holds the separators U+001C to U+001F too.
_WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One rendering: messages (images already tagged where the family has tags), tools and the model's facts.

    `parameter_count` 0 means unknown. `today` is the local date that the prompt may mention.
    """

    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    think: Think = None
    model_name: str = ""
    parameter_count: int = 0
    today: datetime.date = datetime.date.min

    def is_thinking(self, default: bool) -> bool:
        """Whether to think: any level is a yes, nothing said is `default`."""
        return default if self.think is None else bool(self.think)

    @property
    def is_prefill(self) -> bool:
        """Whether the last message is the beginning of the answer."""
        return bool(self.messages) and self.messages[-1].role == "assistant"


def trim(text: str) -> str:
    """The text without white space around it."""
    return text.strip(_WHITE_SPACE)


def trim_left(text: str) -> str:
    """The text without white space in front."""
    return text.lstrip(_WHITE_SPACE)


def trim_right(text: str) -> str:
    """The text without white space at its end."""
    return text.rstrip(_WHITE_SPACE)


def has_query_form(content: str) -> bool:
    """Whether a user's text is a question rather than a tool result that a client wrapped as one."""
    return not (content.startswith(marks.OPEN_RESPONSE) and content.endswith(marks.CLOSE_RESPONSE))


def last_query_index(messages: Sequence[Message]) -> int:
    """Position of the last question of the user; of the last message if there is none."""
    for i in range(len(messages) - 1, -1, -1):
        if messages[i].role == "user" and has_query_form(trim(messages[i].content)):
            return i
    return len(messages) - 1


def is_run_start(messages: Sequence[Message], i: int) -> bool:
    """Whether message `i` opens a run of messages of its role."""
    return i == 0 or messages[i - 1].role != messages[i].role


def is_run_end(messages: Sequence[Message], i: int) -> bool:
    """Whether message `i` closes a run of messages of its role."""
    return i == len(messages) - 1 or messages[i + 1].role != messages[i].role
