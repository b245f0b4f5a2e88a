"""Harmony, the format of gpt-oss: messages with a channel, each `HEADER<|message|>TEXT<|end|>`.

The analysis channel is thinking, a message with a recipient is a call, all else is content. Text where a header
should be is content too. Prompts come from the model's Go template, with a few rules that it does not hold.
Ollama: harmony/harmonyparser.go, server/routes.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from corral.chat import marks
from corral.chat.families.family import LEVELS, Family, GoConvention, Parser, Sign
from corral.chat.parsing.call_forms import CallForm, json_call
from corral.chat.parsing.calls import is_in_value, read_arguments
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet
from corral.types import Message, Think, Tool

START, MESSAGE, END = marks.START, marks.MESSAGE, "<|end|>"
CHANNEL, CONSTRAIN = "<|channel|>", "<|constrain|>"
TAGS = (START, END, MESSAGE, CHANNEL, CONSTRAIN)


# --- replies -----------------------------------------------------------------------------------------------

_BUILT_IN_NAMES = ("browser.open", "browser.search", "browser.find", "python")

_HEADER = Mode(Sink.BODY, TagSet(MESSAGE, END, START))
_ENDS = TagSet(END)
_CONTENT = Mode(Sink.CONTENT, _ENDS)
_THOUGHT = Mode(Sink.THINKING, _ENDS)
# The engine mostly keeps the tag that ends a call to itself.
_CALL_END = "<|call|>"
_CALL = Mode(Sink.BODY, TagSet(END, _CALL_END, START), is_inside=is_in_value)
# Text without a header, until one comes.
_BARE = Mode(Sink.CONTENT, TagSet(START, CHANNEL, END))
_HEADER_STARTS = TagSet(START, CHANNEL, CONSTRAIN, MESSAGE, "to=")
_BEGIN = Mode(Sink.DROP, _HEADER_STARTS, otherwise=_BARE)
_BETWEEN = Mode(Sink.DROP, TagSet(START, CHANNEL), otherwise=_BARE)
_FIELDS = re.compile(
    rf"{re.escape(CHANNEL)}(?P<channel>[^\s<]*)|(?:^|(?<=[\s>]))to=(?P<recipient>[^\s<]+)"
    rf"|{re.escape(CONSTRAIN)}[^\s<]*"
)
_LABELS = re.compile(rf"(?:{re.escape(CHANNEL)}|{re.escape(CONSTRAIN)})[^\s<]*")
_ROLES = ("assistant", "user", "system", "developer", "tool", "json", "code")


class _HarmonyParser(TaggedParser):
    def __init__(self, first: Mode, tools: Sequence[Tool]) -> None:
        super().__init__(first, home=_BARE)
        names = [tool.function.name for tool in tools]
        self._names = dict(zip(harmony_names(names), names, strict=True))
        self._recipient = ""

    def _on_tag(self, tag: str) -> None:
        if self._mode is _HEADER:
            self._end_header(tag)
        elif tag == MESSAGE:
            self._enter(_CONTENT)
        elif self._mode is _CALL:
            self._end_body("" if tag == START else tag)
            self._enter(_HEADER if tag == START else _BETWEEN)
        elif tag == END:
            self._enter(_BETWEEN)
        else:
            self._enter(_HEADER)
            self._append_body("" if tag == START else tag)

    def _end_header(self, tag: str) -> None:
        channel = self._read_header(is_whole=tag == MESSAGE)
        if tag == START:
            self._enter(_HEADER)
        elif tag == END:
            self._enter(_BETWEEN)
        elif channel in ("analysis", "commentary") and self._recipient:
            self._enter(_CALL, opened=f"to={self._recipient}{MESSAGE}")
        else:
            self._enter(_THOUGHT if channel == "analysis" else _CONTENT)

    def _read_header(self, *, is_whole: bool) -> str:
        """Return the channel, keep the recipient; words that belong to no header are text.

        Without a message a recipient is text too.
        """
        header = self._take_body()
        channel, self._recipient = "", ""
        for match in _FIELDS.finditer(header):
            channel = channel or match["channel"] or ""
            self._recipient = self._recipient or match["recipient"] or ""
        rest = (_FIELDS if is_whole or not self._recipient else _LABELS).sub(" ", header)
        self._emit(" ".join(word for word in rest.split() if word not in _ROLES))
        return channel

    def _on_unclosed(self) -> None:
        if self._mode is _CALL:
            self._end_body("")
        else:
            self._read_header(is_whole=False)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        """Arguments; anything else in the message of a call is text, and all of it if there are no tools."""
        if not self._names:
            return False
        arguments = read_arguments(body, is_complete=is_complete or not body.strip())
        if arguments is None:
            return False
        name = self._recipient.removeprefix("functions.")
        self._call(self._names.get(name, name), arguments)
        return True


def harmony_names(names: Iterable[str]) -> list[str]:
    """The names under which tools appear in a prompt: identifiers, each of them once."""
    taken: list[str] = []
    for name in names:
        derived = name if name in _BUILT_IN_NAMES else _identifier(name)
        candidate, count = derived, 2
        while candidate in taken:
            candidate = f"{derived}_{count}"
            count += 1
        taken.append(candidate)
    return taken


def _identifier(name: str) -> str:
    kept = "".join(
        "_" if char in " -." else char
        for char in name
        if char in " -._$" or char.isalpha() or char.isdecimal()
    )
    if not kept:
        return "unnamed"
    return "_" + kept if kept[0] in "0123456789" else kept


def _create(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    first = _BEGIN
    if last_message is not None and last_message.role == "assistant":
        first = _CONTENT if last_message.content else _THOUGHT if last_message.thinking else _BEGIN
    return _HarmonyParser(first, tools)


# --- the family --------------------------------------------------------------------------------------------

_FORM = CallForm(
    json_call(f"{CHANNEL}commentary to=functions.", f" {CONSTRAIN}json{MESSAGE}", ""),
    (" to=functions.", "commentary to="),
    separator=None,
    thinking=(f"{CHANNEL}analysis{MESSAGE}", f"{END}{START}assistant"),
    names=harmony_names,
    answer_starts=(f"{CHANNEL}final{MESSAGE}",),
)

FAMILY = Family(
    parsers=(Parser("harmony", _create, TAGS, _FORM, has_thinking=True, think_values=LEVELS),),
    signs=(Sign((CHANNEL, MESSAGE, START), "harmony"),),
    go_convention=GoConvention(
        ("gptoss", "gpt-oss"),
        (START, END),
        "harmony",
        harmony_names,
        answer_start=f"{END}{START}assistant{CHANNEL}final{MESSAGE}",
    ),
)
