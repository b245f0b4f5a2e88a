"""What binds a reply: a grammar made of the request's format, its tool choice, or its own GBNF text.

A grammar is tried on the event loop with a small budget of work, which is enough for nearly all; what takes more is
worked out in a worker process. Grammars are cached, up to some megabytes.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from typing import Literal

from corral.bounded import BoundedCache
from corral.chat.grammar.budget import QUICK_STEPS, WorkLimitError
from corral.chat.grammar.schema import Grammar
from corral.chat.parsing.events import OutputParser
from corral.errors import InvalidRequestError, SchemaError, WorkerLimitError
from corral.inference.bindings import Binding, bind
from corral.inference.chats import Chat
from corral.inference.requests import ChatRequest, InferenceOptions
from corral.types import Think, Tool
from corral.workers.pool import run_job

_FUNCTION = "function:"
_NO_GRAMMAR = Grammar("")
_FREE = Binding()
# What is longer is not even read on the event loop.
_MAX_QUICK_CHARS = 16 << 10
_CPU_S = 10.0
_MEMORY_BYTES = 384 << 20
_CACHE_CHARS = 8 << 20
_CACHE_CHARS_OF_ONE = 1 << 20


# The grammars that were asked for last, by a hash of what they are made of.
_cache: BoundedCache[bytes, Grammar] = BoundedCache(max_entries=10_000, max_bytes=_CACHE_CHARS)
# Why others cannot be: to find that out may take long, too.
_refusals: BoundedCache[bytes, str] = BoundedCache(max_entries=1000, max_bytes=1 << 20)


def is_forced(tool_choice: str) -> bool:
    """Whether the reply has to be a call."""
    return tool_choice == "required" or tool_choice.startswith(_FUNCTION)


def is_bound(common: InferenceOptions) -> bool:
    """Whether a request binds the form of its answer. Raises InvalidRequestError: it does so in two ways."""
    has_format = bool(common.format) and common.format not in ('""', "null")
    if common.grammar and has_format:
        raise InvalidRequestError("grammar and format cannot be combined")
    return bool(common.grammar) or has_format


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


def _chosen(tools: Sequence[Tool], choice: str) -> tuple[Tool, ...]:
    if not choice.startswith(_FUNCTION):
        return tuple(tools)
    return tuple(tool for tool in tools if tool.function.name == choice.removeprefix(_FUNCTION))


def binding_of(
    chat: Chat,
    common: InferenceOptions,
    tools: Sequence[Tool],
    choice: str,
    think: Think,
    parser: OutputParser | None,
) -> Binding:
    """What binds a reply. `parser` is used up.

    A forced call may follow thinking. With tools and a format the model may call or answer; the answer has the
    format. With `none` the text may be anything in which no call begins. Calls of strict tools that come by
    themselves are bound too.
    """
    plain = answer_binding(common)
    has_format = bool(plain.format)
    if plain.grammar:
        return plain
    if is_forced(choice):
        return Binding(
            form=chat.replies.form_key(),
            tools=_chosen(tools, choice),
            calls="must",
            is_single=choice != "required",
            thinking=_thinking(think, parser),
        )
    if choice == "none" and not has_format and chat.quirks.reads_unasked_calls:
        return Binding(form=chat.replies.form_key(), calls="never")
    if tools and has_format and choice != "none":
        return Binding(plain.format, "", plain.is_strict, chat.replies.form_key(), tuple(tools), "may")
    if any(tool.function.is_strict for tool in tools) and not has_format and choice == "auto":
        return Binding(
            form=chat.replies.form_key(),
            tools=tuple(tools),
            calls="after text",
            thinking=_thinking(think, parser),
        )
    return plain


async def check_answer(common: InferenceOptions) -> None:
    """Refuse a format or grammar that cannot be used, before time is spent on thinking. Raises as `bound_grammar`."""
    await bound_grammar(answer_binding(common))


def answer_binding(common: InferenceOptions) -> Binding:
    """What binds an answer, whatever stands before it. Raises InvalidRequestError as `is_bound`."""
    if not is_bound(common):
        return Binding()
    if common.grammar:
        return Binding(grammar=common.grammar)
    return Binding(format=common.format, is_strict=common.is_format_strict)


async def bound_grammar(binding: Binding) -> Grammar:
    """The grammar of a binding; its text is empty when nothing binds the reply.

    Raises:
        FormatError: a format of another kind.
        SchemaError: a schema or a grammar that cannot be used.
        QueueFullError, WorkerError: no worker is free, or it died.
    """
    if binding == _FREE:
        return _NO_GRAMMAR
    key = hashlib.blake2b(pickle.dumps(binding)).digest()
    if (known := _cache.get(key)) is not None:
        return known
    if (refusal := _refusals.get(key)) is not None:
        raise SchemaError(refusal)
    try:
        grammar = await _made(binding)
    except SchemaError as exc:
        _refusals.put(key, str(exc), len(str(exc)))
        raise
    if len(grammar.text) <= _CACHE_CHARS_OF_ONE:
        _cache.put(key, grammar, len(grammar.text))
    return grammar


async def _made(binding: Binding) -> Grammar:
    if len(binding.format) + len(binding.grammar) <= _MAX_QUICK_CHARS:
        try:
            return bind(binding, QUICK_STEPS)
        except WorkLimitError:
            pass
    try:
        return await run_job(bind, binding, cpu_s=_CPU_S, memory_bytes=_MEMORY_BYTES, what="the grammar")
    except WorkerLimitError as exc:
        what = "grammar" if binding.grammar else "JSON schema in format" if binding.format else "tools"
        raise SchemaError(f"invalid {what}: {exc}") from None


def _thinking(think: Think, parser: OutputParser | None) -> Literal["", "may", "begun"]:
    return "begun" if begins_thinking(parser) else "may" if think else ""


def begins_thinking(parser: OutputParser | None) -> bool:
    """Whether what comes first is thinking, as the prompt has begun it. `parser` is used up."""
    return parser is not None and bool(parser.feed("x").thinking or parser.finish().thinking)
