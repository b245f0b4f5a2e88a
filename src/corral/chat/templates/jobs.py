"""Renderings as jobs of a worker process: a template's source and its data in, the prompt out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corral.chat.gotemplate import Template
from corral.chat.templates import gochat
from corral.types import Message, Think, Tool


def render_messages(source: str, messages: Sequence[Message], tools: Sequence[Tool], think: Think) -> str:
    """A conversation through a Go template.

    Raises:
        TemplateError
    """
    return gochat.render_messages(Template.parse(source), messages, tools, think)


def render_suffix(source: str, prompt: str, suffix: str, think: Think) -> str:
    """Text around a gap through a Go template.

    Raises:
        TemplateError
    """
    return gochat.render_suffix(Template.parse(source), prompt, suffix, think)


def render_jinja(
    source: str, messages: Sequence[Message], tools: Sequence[Tool], options: Mapping[str, Any]
) -> str:
    """A conversation through a Jinja template; `options` are the other arguments of `ChatTemplate.render`.

    Raises:
        TemplateError
    """
    from corral.chat.templates.jinja import ChatTemplate  # Jinja takes a while to import

    return ChatTemplate.parse(source).render(messages, tools, **options)
