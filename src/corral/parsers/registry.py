"""The built-in parsers by the name that a model's config gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corral.parsers.events import OutputParser
from corral.types import Message, Think, Tool

__all__ = ["ParserInfo", "find_parser"]


@dataclass(frozen=True, slots=True)
class ParserInfo:
    """A family's parser. `preserved_tokens`: special tokens that the engine has to show in the text."""

    name: str
    has_tools: bool
    has_thinking: bool
    preserved_tokens: tuple[str, ...]
    create: Callable[[Sequence[Tool], Message | None, Think], OutputParser]


_PARSERS: dict[str, ParserInfo] = {}


def find_parser(name: str) -> ParserInfo | None:
    return _PARSERS.get(name)
