"""A conversation through a Go template: which values it gets, and the three ways to run it.

Ollama: template/template.go. Suffix mode fills in the middle, messages mode runs once over all messages, legacy mode
runs a template of one turn once a turn and ends at the response slot of the last. Nobody's messages are changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from corral.chat.gotemplate import Template
from corral.chat.templates.godata import template_messages, template_tools
from corral.types import Message, Think, Tool

# Processor time of a quick rendering, for the event loop.
_QUICK_CPU_S = 0.008


def uses_messages(template: Template) -> bool:
    """Whether a template runs once over all messages (else once a turn)."""
    return "messages" in template.variables()


def collate(messages: Iterable[Message]) -> list[Message]:
    """Merge neighbours of one role, except tool results: the contents are joined, the first keeps all else."""
    merged: list[Message] = []
    run: list[str] = []

    def close_run() -> None:
        if len(run) > 1:
            merged[-1] = replace(merged[-1], content="\n\n".join(run))

    for message in messages:
        if merged and merged[-1].role == message.role != "tool":
            run.append(message.content)
        else:
            close_run()
            merged.append(message)
            run = [message.content]
    close_run()
    return merged


def _think_values(think: Think) -> dict[str, object]:
    level = think if isinstance(think, str) else "medium" if think else ""
    return {"Think": bool(think), "ThinkLevel": level, "IsThinkSet": think is not None}


def render_messages(
    template: Template,
    messages: Sequence[Message],
    tools: Sequence[Tool] = (),
    think: Think = None,
    *,
    is_quick: bool = False,
) -> str:
    """Render a conversation.

    Raises:
        TemplateError
        NotQuickError: a quick rendering that would take longer than a few milliseconds.
    """
    quick_until_s = time.thread_time() + _QUICK_CPU_S if is_quick else 0.0
    collated = collate(messages)
    if not uses_messages(template):
        return _render_turns(template, collated, _think_values(think), quick_until_s)
    return template.execute(
        {
            "System": "\n\n".join(message.content for message in messages if message.role == "system"),
            "Messages": template_messages(collated),
            "Tools": template_tools(tools),
            "Response": "",
            **_think_values(think),
        },
        quick_until_s=quick_until_s,
    )


def _render_turns(
    template: Template, messages: Iterable[Message], think_values: dict[str, object], quick_until_s: float
) -> str:
    parts: list[str] = []
    system = prompt = response = ""

    def values() -> dict[str, object]:
        return {"System": system, "Prompt": prompt, "Response": response, **think_values}

    for message in messages:
        if message.role not in ("system", "user", "assistant"):
            continue
        if message.role != "assistant" and (response or (prompt and message.role == "system")):
            parts.append(template.execute(values(), quick_until_s=quick_until_s))
            system = prompt = response = ""
        if message.role == "system":
            system = message.content
        elif message.role == "user":
            prompt = message.content
        else:
            response = message.content
    parts.append(template.execute_to_response(values(), quick_until_s=quick_until_s))
    return "".join(parts)


def render_suffix(
    template: Template, prompt: str, suffix: str, think: Think = None, *, is_quick: bool = False
) -> str:
    """Render text before and after a gap that the model fills.

    Raises:
        TemplateError
        NotQuickError: a quick rendering that would take longer than a few milliseconds.
    """
    values = {"Prompt": prompt, "Suffix": suffix, "Response": "", **_think_values(think)}
    quick_until_s = time.thread_time() + _QUICK_CPU_S if is_quick else 0.0
    return template.execute(values, quick_until_s=quick_until_s)
