"""The grammar of a whole reply: what a request wants, worked out at a bounded cost, on the event loop or in a worker.

`bind` is a job for `corral.workers`: its argument and its result are plain values.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from corral.chat import marks
from corral.chat.families.known import find_parser
from corral.chat.grammar.budget import FULL_STEPS, Budget, WorkLimitError
from corral.chat.grammar.checks import check_grammar
from corral.chat.grammar.gbnf import read_grammar, renamed
from corral.chat.grammar.rules import Rules, literal
from corral.chat.grammar.schema import Grammar, SchemaCompiler
from corral.chat.grammar.stacks import MAX_STACKS, may_begin_with, worst_text
from corral.chat.parsing.call_forms import CallForm, generic_form
from corral.errors import FormatError, SchemaError
from corral.types import Tool

# Line breaks that models write around thinking.
MAX_GAP = 2
_GAP = f"[\\n]{{0,{MAX_GAP}}}"
_CLIENT_PREFIX = "c-"  # no rule of ours begins so


@dataclass(frozen=True, slots=True)
class FormKey:
    """The form in which a model writes calls: that of a built-in parser, or the one that a template shows."""

    parser: str = ""
    tag: str = ""
    arguments_key: str = "arguments"
    thinking: tuple[str, str] | None = None

    def form(self) -> CallForm:
        parser = find_parser(self.parser)
        if parser is not None and parser.calls is not None:
            return parser.calls
        tags = marks.THINK if parser is not None and self.thinking is None else self.thinking
        return generic_form(self.tag, self.arguments_key, tags)


@dataclass(frozen=True, slots=True)
class Binding:
    """What binds a reply. `calls`: whether calls must come, may come, may come after text, or must not.

    `format` and `grammar` are the texts of the request. `thinking`: what comes first; `begun` is thinking that the
    prompt began. Before a forced call it has to end. Before an answer the reply may end in the middle of it.
    """

    format: str = ""
    grammar: str = ""
    is_strict: bool = False
    form: FormKey | None = None
    tools: tuple[Tool, ...] = ()
    calls: Literal["", "must", "may", "after text", "never"] = ""
    is_single: bool = False
    thinking: Literal["", "may", "begun"] = ""


def format_schema(text: str) -> dict[str, Any] | Literal["", "json"]:
    """A JSON schema, `json` for any object, or empty; from the member's own JSON text.

    Raises:
        FormatError: a format of another kind.
    """
    try:
        value = json.loads(text) if text else ""
    except (ValueError, RecursionError):
        value = None  # a number of thousands of digits, or lists in lists beyond all reason
    if isinstance(value, dict):
        return value
    if value == "":
        return ""
    if value == "json":
        return "json"
    quoted = json.dumps(text, ensure_ascii=False)
    raise FormatError(f'invalid format: {quoted}; expected "json" or a valid JSON Schema object')


def bind(binding: Binding, steps: int = FULL_STEPS) -> Grammar:
    """The grammar of a reply; its text is empty when nothing binds it.

    Raises:
        FormatError: a format of another kind.
        SchemaError: a schema or a grammar that cannot be used.
        WorkLimitError: more than `steps` steps, when those are fewer than the most that there may be.
    """
    budget = Budget(steps)
    if binding.grammar:
        check_grammar(binding.grammar, budget, is_final=steps >= FULL_STEPS)
        if not (binding.thinking or binding.calls):
            return Grammar(binding.grammar)
    writer = _Writer(binding, budget)
    try:
        return Grammar(writer.text(), tuple(writer.unheld), writer.has_gap)
    except (OverflowError, RecursionError) as exc:
        if isinstance(exc, WorkLimitError) and steps < FULL_STEPS:
            raise
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise SchemaError(f"invalid {writer.at}: {reason}") from None


class _Writer:
    def __init__(self, binding: Binding, budget: Budget) -> None:
        self._binding = binding
        self._budget = budget
        self._rules = Rules()
        self._compiler: SchemaCompiler | None = None
        self.unheld: dict[str, None] = {}
        self.has_gap = True

    @property
    def at(self) -> str:
        """Where the work is."""
        if self._compiler is None:
            return "tools"
        return f"JSON schema in format: at {self._compiler.place[:500]}"

    def text(self) -> str:
        root = self._root()
        if root and self._rules.may_explode:
            self._check_ways(self._text(root))
        if root and self._binding.thinking and self._binding.calls in ("", "may"):
            root = self._after_thinking(root)
        return self._text(root) if root else ""

    def _text(self, root: str) -> str:
        return self._rules.text(root) + renamed(self._binding.grammar, _CLIENT_PREFIX)

    def _check_ways(self, text: str) -> None:
        """Raise SchemaError for a grammar in which the engine would have to follow too many ways at once."""
        self._budget.spend(4 * len(text))
        worst, count = worst_text(read_grammar(text), self._budget)
        if count > MAX_STACKS:
            raise SchemaError(
                f"invalid {self.at}: alternatives that begin alike multiply: after {worst[-60:]!r} there are more "
                f"than {MAX_STACKS} ways on"
            )

    def _root(self) -> str:
        calls = self._binding.calls
        if calls == "must":
            form = self._form()
            return f"{self._thinking(form)} {self._calls(form)}".strip()
        answer = self._answer()
        if calls == "may":
            return f"{self._calls(self._form())} | {answer}" if answer else ""
        if answer or not calls:
            return answer
        form = self._form()
        if not form.markers:
            return ""
        if calls == "never":
            return self._rules.text_without(form.markers)
        # Text that may begin with thinking, which a call in the middle of it would break.
        opening = form.thinking[:1] if form.thinking and self._binding.thinking == "may" else ()
        free = self._rules.text_without((*form.markers, *opening))
        return f'{self._thinking(form)} {free} ({self._calls(form)} | "")'.strip()

    def _form(self) -> CallForm:
        assert self._binding.form is not None
        return self._binding.form.form()

    def _calls(self, form: CallForm) -> str:
        binding = self._binding
        return form.calls(self._rules, binding.tools, is_single=binding.is_single, budget=self._budget)

    def _answer(self) -> str:
        if self._binding.grammar:
            return f"{_CLIENT_PREFIX}root"
        schema = format_schema(self._binding.format)
        if schema == "":
            return ""
        if schema == "json":
            return self._rules.shared("object")
        self._budget.spend(len(self._binding.format) // 20)
        self._compiler = SchemaCompiler(
            self._rules, schema, budget=self._budget, is_strict=self._binding.is_strict
        )
        root = self._compiler.root()
        self.unheld = self._compiler.unheld
        return root

    def _thinking(self, form: CallForm) -> str:
        """What comes before a call: begun thinking has to end, thinking that the model begins may come."""
        if form.thinking is None or not self._binding.thinking:
            return ""
        opening, closing = form.thinking
        text = self._rules.text_without((closing, *form.markers))
        if self._binding.thinking == "begun":
            return f"{text} {literal(closing)} {_GAP}"
        return f"({literal(opening)} {text} {literal(closing)} {_GAP})?"

    def _after_thinking(self, answer: str) -> str:
        """An answer after thinking that nothing binds but its end, or thinking alone.

        Raises:
            SchemaError: the answer may begin like what stands before it.
        """
        form = self._form()
        assert form.thinking is not None
        opening, closing = form.thinking
        name = self._rules.add("answer", answer)
        self._check_begin(opening, form)
        starts = " | ".join(map(literal, form.answer_starts))
        gap = " ".join(
            part for part in (_GAP if self.has_gap else "", f"({starts})?" if starts else "") if part
        )
        rest = f"({literal(closing)} {gap} {name})?"
        text = self._rules.text_without((closing, *self._markers(form)))
        if self._binding.thinking == "begun":
            return f"{text} {rest}"
        return f"{_GAP} {literal(opening)} {text} {rest} | {name}"

    def _markers(self, form: CallForm) -> tuple[str, ...]:
        """What the reader of the thinking takes for the beginning of a call."""
        assert self._binding.form is not None
        return form.markers if self._binding.tools or self._binding.form.parser else ()

    def _check_begin(self, opening: str, form: CallForm) -> None:
        """How the answer of a client's grammar may begin; a JSON text begins with none of these."""
        if not self._binding.grammar:
            return
        rules = read_grammar(self._binding.grammar)
        self.has_gap = not may_begin_with(rules, ("\n",), self._budget)
        tags = (*form.answer_starts, *(form.markers if self._binding.tools else ()))
        if self._binding.thinking == "may":
            tags += tuple("\n" * count + opening for count in range(MAX_GAP + 1))
        if may_begin_with(rules, tags, self._budget):
            raise SchemaError("invalid grammar: it begins like thinking")
