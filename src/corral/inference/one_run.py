"""One run of the engine for thinking and a bound answer: the grammar of the whole reply, and its reader.

The grammar lets the thinking be any text, up to its closing tag. From there on it binds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from corral.chat.grammar.schema import Grammar
from corral.chat.parsing.answers import AnswerForm, AnswerReader, begins
from corral.chat.parsing.events import OutputParser
from corral.errors import SchemaError
from corral.inference import constraint
from corral.inference.bindings import MAX_GAP, Binding
from corral.inference.chats import Chat
from corral.inference.requests import InferenceOptions
from corral.types import Chunk, Tool


@dataclass(slots=True)
class OneRun:
    """`form`: what its reader looks for; None: the answer comes first."""

    binding: Binding
    grammar: Grammar
    form: AnswerForm | None
    reader: AnswerReader | None = None

    def read_with(self, parser: OutputParser | None) -> OutputParser | None:
        """The reader of the run, which leaves thinking and calls to `parser`."""
        if self.form is None:
            return parser if self.binding.calls else None
        assert parser is not None
        self.reader = AnswerReader(parser, self.form)
        return self.reader

    def is_answered(self, final: Chunk | None) -> bool:
        """Whether the reply has an answer, or the beginning of one. `final`: its end."""
        if self.reader is None or self.reader.has_begun:
            return True
        is_over = final is not None and final.done_reason == "stop" and not final.stop_word
        return is_over and not self.reader.is_thinking  # a grammar may allow an empty answer


async def one_run(
    chat: Chat,
    common: InferenceOptions,
    tools: Sequence[Tool],
    new_reader: Callable[[], OutputParser | None],
) -> OneRun | None:
    """How a chat's reply is bound in one run; None where that cannot be. The format or grammar can be used.

    Raises:
        QueueFullError, WorkerError: no worker is free, or it died.
    """
    key = chat.replies.form_key()
    form = key.form()
    begin = begins(new_reader, form.thinking) if form.thinking is not None else ""
    if begin is None:
        return None
    binding = constraint.answer_binding(common)
    if tools:
        binding = replace(binding, form=key, tools=tuple(tools), calls="may")
    if begin:
        binding = replace(binding, form=key, thinking=begin)
    try:
        grammar = await constraint.bound_grammar(binding)
    except SchemaError:
        return None  # it begins like thinking, or the tools are too much for a grammar
    if not begin or form.thinking is None:
        return OneRun(binding, grammar, None)
    gap = MAX_GAP if grammar.has_gap else 0
    calls = form.markers if tools else None
    return OneRun(binding, grammar, AnswerForm(begin, form.thinking, gap, form.answer_starts, calls))
