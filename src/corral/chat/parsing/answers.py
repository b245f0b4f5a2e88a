"""Replies whose answer is bound by a grammar: thinking up to its closing tag, then the answer as it stands.

Only what stands before the answer is read: a tag inside of its strings is text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from corral.chat.parsing.events import OutputParser, Parsed


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What may stand before an answer, as its grammar has it.

    `begin`: whether thinking was begun by the prompt, may come, or does not. `max_gap`: line breaks between the
    closing tag and the answer. `starts`: texts of which one may follow them. `calls`: what begins a call, which may
    stand in place of the answer; None: there are none; (): any answer may turn out to be one.
    """

    begin: Literal["", "may", "begun"]
    thinking: tuple[str, str]
    max_gap: int = 0
    starts: tuple[str, ...] = ()
    calls: tuple[str, ...] | None = None


class _At(Enum):
    START = auto()  # thinking may come
    THINKING = auto()
    GAP = auto()
    ANSWER = auto()  # nothing of it has come
    TEXT = auto()  # the answer
    REST = auto()  # calls, or what may be one


class AnswerReader:
    """`inner` reads the thinking, and the calls."""

    def __init__(self, inner: OutputParser, form: AnswerForm) -> None:
        self._inner = inner
        self._form = form
        self._held = ""
        self._at = {"begun": _At.THINKING, "may": _At.START, "": _At.ANSWER}[form.begin]

    @property
    def is_thinking(self) -> bool:
        return self._at is _At.THINKING

    @property
    def has_begun(self) -> bool:
        """Whether something of the answer has come."""
        return self._at in (_At.TEXT, _At.REST)

    def feed(self, text: str) -> Parsed:
        if self._at is _At.TEXT:
            return Parsed(text)
        if self._at is _At.REST:
            return self._inner.feed(text)
        if self._at is _At.THINKING and not self._held and self._form.thinking[1][0] not in text:
            return self._inner.feed(text)
        return self._step(self._held + text)

    def finish(self) -> Parsed:
        held, self._held = self._held, ""
        if self._at is _At.THINKING:
            head, tail = self._inner.feed(held), self._inner.finish()
            return Parsed("", head.thinking + tail.thinking + head.content + tail.content)
        if self._at is _At.REST:
            return self._inner.finish()
        return Parsed("" if self._at is _At.GAP else held)

    def _step(self, text: str) -> Parsed:
        """Read as far as it is certain what `text` is, and keep the rest."""
        self._held = ""
        match self._at:
            case _At.START:
                return self._read_start(text)
            case _At.THINKING:
                return self._read_thinking(text)
            case _At.GAP:
                return self._read_gap(text)
            case _:
                return self._read_answer(text)

    def _read_start(self, text: str) -> Parsed:
        visible, opening = text.lstrip("\n"), self._form.thinking[0]
        if visible.startswith(opening):
            self._at = _At.THINKING
            end = len(text) - len(visible) + len(opening)
            return _joined(self._inner.feed(text[:end]), self._step, text[end:])
        if opening.startswith(visible):
            self._held = text
            return Parsed()
        self._at = _At.ANSWER
        return self._step(text)

    def _read_thinking(self, text: str) -> Parsed:
        closing = self._form.thinking[1]
        thought, found, rest = text.partition(closing)
        if found:
            self._at = _At.GAP
            return _joined(self._inner.feed(thought + closing), self._step, rest)
        held = _overlap(text, closing)
        self._held = text[len(text) - held :]
        return self._inner.feed(text[: len(text) - held])

    def _read_gap(self, text: str) -> Parsed:
        form = self._form
        gap = min(len(text) - len(text.lstrip("\n")), form.max_gap)
        rest = text[gap:]
        if not rest or any(start.startswith(rest) and start != rest for start in form.starts):
            self._held = text
            return Parsed()
        start = next((start for start in form.starts if rest.startswith(start)), "")
        self._at = _At.ANSWER
        return self._step(rest[len(start) :])

    def _read_answer(self, text: str) -> Parsed:
        calls = self._form.calls
        if not text or any(call.startswith(text) and call != text for call in calls or ()):
            self._held = text
            return Parsed()
        if calls is None or (calls and not text.startswith(calls)):
            self._at = _At.TEXT
            return Parsed(text)
        self._at = _At.REST
        return self._inner.feed(text)


def _joined(first: Parsed, read: Callable[[str], Parsed], text: str) -> Parsed:
    rest = read(text)
    return Parsed(
        first.content + rest.content, first.thinking + rest.thinking, first.tool_calls + rest.tool_calls
    )


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of `text` may be the beginning of `tag`."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:length]):
            return length
    return 0


def begins(
    new_reader: Callable[[], OutputParser | None], thinking: tuple[str, str]
) -> Literal["", "may", "begun"] | None:
    """Whether thinking comes first, may, or does not, in what such a reader reads.

    None: these tags do not tell where the answer begins.
    """
    opening, closing = thinking
    as_begun, as_opened = (_read(new_reader(), f"{start}x{closing}y") for start in ("", opening))
    if as_begun == ("x", "y"):
        return "begun"
    if as_opened == ("x", "y"):
        return "may"
    return "" if not (as_begun[0] or as_opened[0]) else None


def _read(reader: OutputParser | None, text: str) -> tuple[str, str]:
    """Thinking and content of a reply."""
    if reader is None:
        return "", text
    parts: Sequence[Parsed] = (reader.feed(text), reader.finish())
    return "".join(part.thinking for part in parts), "".join(part.content for part in parts)
