"""Ministral: `[TOOL_CALLS]NAME[ARGS]{…}`, and thinking in `[THINK]`. Ollama: model/parsers/ministral.go."""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.families.family import Family, Parser, Sign
from corral.chat.parsing.call_forms import CallForm, json_call
from corral.chat.parsing.calls import read_arguments, read_calls
from corral.chat.parsing.scan import ObjectScanner
from corral.chat.parsing.tags import Mode, Sink, TaggedParser, TagSet, Trim
from corral.types import Message, Think, Tool

CALL, ARGS = "[TOOL_CALLS]", "[ARGS]"
OPEN_THINK, CLOSE_THINK = THINK = ("[THINK]", "[/THINK]")


# --- replies -----------------------------------------------------------------------------------------------

_TEXT_TAGS = TagSet(CALL, OPEN_THINK)
_TEXT = Mode(Sink.CONTENT, _TEXT_TAGS, trims_end=True)
_TEXT_AFTER_THINK = Mode(Sink.CONTENT, _TEXT_TAGS, trim_start=Trim.ALL, trims_end=True)
_THOUGHT = Mode(Sink.THINKING, TagSet(CLOSE_THINK))
_NAME = Mode(Sink.BODY, TagSet(ARGS, CALL))
_ARGUMENTS = Mode(Sink.BODY, TagSet())
# Brackets too many.
_AFTER_CALL = Mode(Sink.DROP, TagSet("}", "]"), otherwise=_TEXT)


class _MinistralParser(TaggedParser):
    def __init__(self, tools: Sequence[Tool]) -> None:
        super().__init__(_TEXT, home=_TEXT)
        self._tools = tools
        self._name: str | None = None

    def _on_tag(self, tag: str) -> None:
        if tag == CALL:
            if self._mode is _NAME and self._body:
                self._end_body("")
            self._name = None
            self._enter(_NAME, opened=tag)
        elif tag == ARGS:
            self._name = self._take_body()
            self._enter(_ARGUMENTS, CALL + self._name + ARGS, ObjectScanner())
        elif tag == OPEN_THINK:
            self._enter(_THOUGHT)
        elif tag == CLOSE_THINK:
            self._enter(_TEXT_AFTER_THINK)
        elif tag in ("}", "]"):
            self._enter(_AFTER_CALL)
        else:
            self._enter(_AFTER_CALL if self._end_body("") else _TEXT)

    def _read_body(self, body: str, *, is_complete: bool, is_exact: bool) -> bool:
        """Arguments, or a call without `[ARGS]`: a list of objects, as older models write them."""
        name = "" if self._name is None else self._name.strip()
        if self._name is None:
            return self._take(read_calls(body, self._tools, is_complete=False, tags=(CALL,)))
        if not name or not self._tools:
            return False
        arguments = read_arguments(body, is_complete=is_complete)
        if arguments is not None:
            self._call(name, arguments)
        return arguments is not None


def _create(tools: Sequence[Tool], last_message: Message | None, think: Think) -> TaggedParser:
    return _MinistralParser(tools)


# --- the family --------------------------------------------------------------------------------------------

FAMILY = Family(
    parsers=(
        Parser(
            "ministral",
            _create,
            (CALL, OPEN_THINK, CLOSE_THINK, ARGS),
            CallForm(json_call(CALL, ARGS, ""), (CALL,), thinking=THINK),
        ),
    ),
    signs=(Sign((CALL, ARGS), "ministral"),),
)
