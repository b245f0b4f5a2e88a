"""Thinking between two tags at the start of a reply. Ollama: thinking/parser.go."""

from __future__ import annotations

from enum import Enum, auto

from corral.parsers.events import Parsed, held_suffix

__all__ = ["ThinkingParser"]


class _State(Enum):
    START = auto()
    AFTER_OPENING = auto()
    THINKING = auto()
    AFTER_CLOSING = auto()
    DONE = auto()


class ThinkingParser:
    """A reply that does not begin with the opening tag is content from its first character on.

    `started`: the prompt has ended with the opening tag already.
    """

    def __init__(self, open_tag: str, close_tag: str, started: bool = False) -> None:
        self._open_tag = open_tag
        self._close_tag = close_tag
        self._state = _State.AFTER_OPENING if started else _State.START
        self._held = ""

    def feed(self, text: str) -> Parsed:
        if self._state is _State.DONE:
            return Parsed(text)
        self._held += text
        parsed = Parsed()
        while self._step(parsed):
            continue
        return parsed

    def finish(self) -> Parsed:
        held, self._held = self._held, ""
        if self._state is _State.THINKING:
            return Parsed(thinking=held)
        if self._state is _State.START:
            return Parsed(held)
        return Parsed()  # only white space around the tags

    def _step(self, parsed: Parsed) -> bool:
        """Take one step with the held text; False when it needs more."""
        match self._state:
            case _State.START:
                visible = self._held.lstrip()
                if visible.startswith(self._open_tag):
                    self._held = visible[len(self._open_tag) :]
                    self._state = _State.AFTER_OPENING
                    return True
                if self._open_tag.startswith(visible):
                    return False
                self._state = _State.DONE
                return True
            case _State.AFTER_OPENING | _State.AFTER_CLOSING:
                self._held = self._held.lstrip()
                if not self._held:
                    return False
                is_opening = self._state is _State.AFTER_OPENING
                self._state = _State.THINKING if is_opening else _State.DONE
                return True
            case _State.THINKING:
                head, tag, tail = self._held.partition(self._close_tag)
                if tag:
                    parsed.thinking += head
                    self._held = tail
                    self._state = _State.AFTER_CLOSING
                    return True
                keep = held_suffix(self._held, self._close_tag)
                parsed.thinking += self._held[: len(self._held) - keep]
                self._held = self._held[len(self._held) - keep :]
                return False
            case _State.DONE:
                parsed.content += self._held
                self._held = ""
                return False
