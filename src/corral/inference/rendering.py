"""Prompts from templates without holding up the event loop.

A template is tried on the loop first, with a few milliseconds of processor time: nearly all of them end within one.
What is too large for that, may do something that nobody can interrupt, or takes too long, is rendered in a worker
process. A template that once took too long for a conversation is not tried again with one of that size.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from corral.chat.gotemplate import NotQuickError as GoNotQuickError
from corral.chat.gotemplate import Template
from corral.chat.templates import gochat, jobs
from corral.chat.templates.jinja import ChatTemplate
from corral.chat.templates.sandbox import NotQuickError as JinjaNotQuickError
from corral.errors import TemplateError, WorkerLimitError
from corral.types import Message, Think, Tool
from corral.workers.pool import run_job

_T = TypeVar("_T")
# What a conversation may weigh to be rendered on the loop: characters, and for each value in it that many.
_MAX_QUICK_WEIGHT = 1 << 18
_VALUE_WEIGHT = 32
_CPU_S = 5.0
_MEMORY_BYTES = 384 << 20
# A Go template of a request is parsed by a worker if it is longer: that takes up to 10 ms a kilobyte.
_MAX_LOCAL_SOURCE_CHARS = 16 << 10
_MAX_REMEMBERED = 256


class _SlowTemplates:
    """From which weight on templates are known not to be quick, by their source's hash."""

    def __init__(self) -> None:
        self._weights: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()

    def limit(self, source: str) -> int:
        return self._weights.get(hash(source), _MAX_QUICK_WEIGHT + 1)

    def note(self, source: str, weight: int) -> None:
        with self._lock:
            self._weights[hash(source)] = min(weight, self.limit(source))
            while len(self._weights) > _MAX_REMEMBERED:
                self._weights.popitem(last=False)


_slow = _SlowTemplates()


async def render_jinja(
    template: ChatTemplate, messages: Sequence[Message], tools: Sequence[Tool], options: Mapping[str, Any]
) -> str:
    """A conversation through a model's own template; `options` are the other arguments of `ChatTemplate.render`.

    Raises:
        TemplateError: it fails, or takes too much time or memory.
    """
    quick = None
    if template.can_be_quick:

        def quick() -> str:
            return template.render(messages, tools, is_quick=True, **options)

    job = (jobs.render_jinja, template.source, _without_images(messages), tools, dict(options))
    return await _quick_or_job(template.source, _weight(messages, tools), quick, job)


async def render_go(
    source: Template | str, messages: Sequence[Message], tools: Sequence[Tool], think: Think
) -> str:
    """A conversation through a Go template, or through the source of one.

    Raises:
        TemplateError: it does not parse, fails, or takes too much time or memory.
    """
    return await _render_go(
        source,
        _weight(messages, tools),
        lambda template: gochat.render_messages(template, messages, tools, think, is_quick=True),
        (jobs.render_messages, _without_images(messages), tools, think),
    )


async def render_go_suffix(source: Template | str, prompt: str, suffix: str, think: Think) -> str:
    """Text before and after a gap through a Go template, or through the source of one.

    Raises:
        TemplateError: it does not parse, fails, or takes too much time or memory.
    """
    return await _render_go(
        source,
        len(prompt) + len(suffix),
        lambda template: gochat.render_suffix(template, prompt, suffix, think, is_quick=True),
        (jobs.render_suffix, prompt, suffix, think),
    )


async def _render_go(
    source: Template | str,
    weight: int,
    render: Callable[[Template], str],
    job: tuple[Callable[..., str], *tuple[Any, ...]],
) -> str:
    """`render` on the loop where that may be quick, else `job`, whose first argument is the source."""
    template = await _parsed(source)
    text = source if isinstance(source, str) else source.source
    quick = None if template is None else lambda: render(template)
    return await _quick_or_job(text, weight, quick, (job[0], text, *job[1:]))


def is_large(messages: Sequence[Message], tools: Sequence[Tool]) -> bool:
    """Whether even our own renderers should not work on a conversation on the event loop."""
    return _weight(messages, tools) > _MAX_QUICK_WEIGHT


async def _parsed(source: Template | str) -> Template | None:
    """A template ready to run; None for a source that a worker should parse."""
    if isinstance(source, Template):
        return source
    if len(source) > _MAX_LOCAL_SOURCE_CHARS:
        return None
    return await asyncio.to_thread(_prepared, source)


def _prepared(source: str) -> Template:
    template = Template.parse(source)
    template.prepare()
    return template


async def _quick_or_job(
    source: str,
    weight: int,
    quick: Callable[[], str] | None,
    job: tuple[Callable[..., str], *tuple[Any, ...]],
) -> str:
    if quick is not None and weight < _slow.limit(source):
        try:
            return quick()
        except (GoNotQuickError, JinjaNotQuickError):
            _slow.note(source, weight)
    try:
        return await run_job(*job, cpu_s=_CPU_S, memory_bytes=_MEMORY_BYTES, what="the template")
    except WorkerLimitError as error:
        raise TemplateError(str(error), hint="simplify the template, or shorten the conversation") from None


def _without_images(messages: Sequence[Message]) -> list[Message]:
    """Messages as a worker gets them: that there are images may matter to a template, what they show does not."""
    return [
        replace(message, images=(b"",) * len(message.images)) if message.images else message
        for message in messages
    ]


def _weight(messages: Sequence[Message], tools: Sequence[Tool]) -> int:
    """About how many characters a template gets to see; stops counting above the limit."""
    weight = 0
    for message in messages:
        weight += len(message.content) + len(message.thinking) + _VALUE_WEIGHT
        for call in message.tool_calls:
            weight += _value_weight(call.arguments, _MAX_QUICK_WEIGHT - weight)
        if weight > _MAX_QUICK_WEIGHT:
            return weight
    for tool in tools:
        parameters = tool.function.parameters
        weight += len(tool.function.description) + _VALUE_WEIGHT
        weight += _value_weight([parameters], _MAX_QUICK_WEIGHT - weight)
    return weight


def _value_weight(value: Any, limit: int) -> int:
    weight = 0
    waiting = [value]
    while waiting and weight <= limit:
        item = waiting.pop()
        weight += _VALUE_WEIGHT
        if isinstance(item, str):
            weight += len(item)
        elif isinstance(item, Mapping):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
        elif hasattr(item, "__slots__"):
            waiting += [part for name in item.__slots__ if (part := getattr(item, name))]
    return weight
