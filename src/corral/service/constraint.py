"""What binds a reply: a grammar made of the request's format, its tool choice, or its own GBNF text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from corral.errors import InvalidRequestError, SchemaError
from corral.grammar import compile_schema, json_object_grammar
from corral.grammar.rules import Rules, literal
from corral.grammar.schema import SchemaCompiler
from corral.parsers.call_forms import CallForm, call_form, generic_form
from corral.parsers.events import OutputParser
from corral.service.formats import format_schema
from corral.service.profile import ModelProfile
from corral.service.requests import ChatRequest, InferenceOptions
from corral.types import Think, Tool

__all__ = ["check_request", "grammar_of", "is_forced", "tool_grammar"]

_MAX_GRAMMAR_CHARS = 512 << 10
_ROOT = re.compile(r"^\s*root\s*::=", re.MULTILINE)
_NUL = re.compile(r"\x00|\\x00|\\u0000|\\U00000000")
_FUNCTION = "function:"
_AFTER_THINKING = "[\\n]{0,2}"


def grammar_of(common: InferenceOptions) -> str:
    """GBNF for a request's `grammar` or `format`; empty when the answer is free.

    Raises:
        FormatError: a format of another kind.
        SchemaError: a schema or a grammar that cannot be used.
    """
    if common.grammar:
        if common.format and common.format not in ('""', "null"):
            raise InvalidRequestError("grammar and format cannot be combined")
        return _checked(common.grammar)
    return _format_grammar(common.format) if common.format else ""


@lru_cache(maxsize=128)
def _format_grammar(text: str) -> str:
    schema = format_schema(text)
    if schema == "":
        return ""
    return json_object_grammar() if schema == "json" else compile_schema(schema).text


def _checked(grammar: str) -> str:
    """GBNF that will not harm the engine: one that only allows NUL, which no token is, ends its process."""
    if len(grammar) > _MAX_GRAMMAR_CHARS:
        raise SchemaError(f"invalid grammar: longer than {_MAX_GRAMMAR_CHARS} characters")
    if _NUL.search(grammar):
        raise SchemaError("invalid grammar: NUL is no character that a model can write")
    if not _ROOT.search(grammar):
        raise SchemaError("invalid grammar: it has no rule named root (root ::= ...)")
    return grammar


def is_forced(tool_choice: str) -> bool:
    """Whether the reply has to be a call."""
    return tool_choice == "required" or tool_choice.startswith(_FUNCTION)


def check_request(request: ChatRequest) -> None:
    """Raise InvalidRequestError for a tool choice that cannot be met."""
    choice = request.tool_choice
    if not is_forced(choice):
        return
    if not request.tools:
        raise InvalidRequestError("tool_choice asks for a tool call, but the request has no tools")
    if request.common.grammar:
        raise InvalidRequestError("grammar and tool_choice cannot be combined")
    if choice != "required" and not _chosen(request.tools, choice):
        names = ", ".join(repr(tool.function.name) for tool in request.tools)
        raise InvalidRequestError(
            f"tool_choice names {choice.removeprefix(_FUNCTION)!r}, which is not among the tools ({names})"
        )


def _chosen(tools: Sequence[Tool], choice: str) -> list[Tool]:
    if not choice.startswith(_FUNCTION):
        return list(tools)
    return [tool for tool in tools if tool.function.name == choice.removeprefix(_FUNCTION)]


def tool_grammar(
    profile: ModelProfile,
    common: InferenceOptions,
    tools: Sequence[Tool],
    choice: str,
    think: Think,
    parser: OutputParser | None,
) -> str:
    """The grammar of a chat reply; empty when nothing binds it. `parser` is used up.

    A forced call may follow thinking. With tools and a format the model may call or answer; the answer has the
    format. With `none` the text may be anything in which no call begins.

    Raises:
        FormatError, SchemaError
    """
    if common.grammar or (not is_forced(choice) and not (tools and common.format) and choice != "none"):
        return grammar_of(common)
    form = _form(profile)
    rules = Rules()
    try:
        if is_forced(choice):
            chosen = _chosen(tools, choice)
            calls = form.calls(rules, chosen, is_single=choice != "required")
            return rules.text(f"{_thinking(rules, form, think, parser)} {calls}".strip())
        answer = _answer(rules, common)
        if choice == "none":
            if answer:
                return rules.text(answer)
            return rules.text(rules.text_without(form.markers)) if profile.parser and form.markers else ""
        return rules.text(f"{form.calls(rules, tools)} | {answer}") if answer else ""
    except OverflowError as exc:
        raise SchemaError(f"invalid tools or format: {exc}") from None


def _form(profile: ModelProfile) -> CallForm:
    if profile.parser is not None and (built_in := call_form(profile.parser.name)) is not None:
        return built_in
    source = profile.template.source if profile.chat_template is None else profile.chat_template.source
    return generic_form(profile.tool_tag, source, profile.thinking_tags)


def _answer(rules: Rules, common: InferenceOptions) -> str:
    schema = format_schema(common.format) if common.format else ""
    if schema == "":
        return ""
    return rules.shared("object") if schema == "json" else f"({SchemaCompiler(rules, schema).root()})"


def _thinking(rules: Rules, form: CallForm, think: Think, parser: OutputParser | None) -> str:
    """What comes before a call: thinking that the prompt began has to end, thinking of the model's own may come."""
    if form.thinking is None:
        return ""
    opening, closing = form.thinking
    text = rules.text_without((closing, *form.markers))
    if parser is not None and _begins_thinking(parser):
        return f"{text} {literal(closing)} {_AFTER_THINKING}"
    return f"({literal(opening)} {text} {literal(closing)} {_AFTER_THINKING})?" if think else ""


def _begins_thinking(parser: OutputParser) -> bool:
    return bool(parser.feed("x").thinking or parser.finish().thinking)
