"""The built-in renderers by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from corral.types import Message, Think, Tool

__all__ = ["RenderFunction", "RendererInfo", "find_renderer"]


class RenderFunction(Protocol):
    def __call__(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        think: Think,
        *,
        model_name: str = "",
        parameter_count: int = 0,
    ) -> str:
        """The prompt of a conversation. Raises TemplateError."""
        ...


@dataclass(frozen=True, slots=True)
class RendererInfo:
    """A family's renderer. `bos`: the text to take off when the tokenizer writes that token itself."""

    name: str
    bos: str
    has_image_tags: bool
    render: RenderFunction


_RENDERERS: dict[str, RendererInfo] = {}


def find_renderer(name: str) -> RendererInfo | None:
    return _RENDERERS.get(name)
