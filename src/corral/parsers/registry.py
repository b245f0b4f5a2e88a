"""The built-in parsers by the name that a model's config gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corral.parsers import qwen
from corral.parsers.events import OutputParser
from corral.types import Message, Think, Tool

__all__ = ["ParserInfo", "find_parser", "parser_names"]

_Create = Callable[[Sequence[Tool], Message | None, Think], OutputParser]


@dataclass(frozen=True, slots=True)
class ParserInfo:
    """A family's parser. `preserved_tokens`: special tokens that the engine has to show in the text."""

    name: str
    has_tools: bool
    has_thinking: bool
    preserved_tokens: tuple[str, ...]
    create: _Create


_THINK = ("<think>", "</think>")
_TOOL_CALL = ("<tool_call>", "</tool_call>")
_QWEN = _THINK + _TOOL_CALL

_PARSERS = {
    info.name: info
    for info in (
        ParserInfo("qwen3", True, False, _QWEN, qwen.create_qwen3),
        ParserInfo("qwen3-thinking", True, True, _QWEN, qwen.create_qwen3_thinking),
        ParserInfo("qwen3.5", True, True, _QWEN, qwen.create_qwen35),
        ParserInfo("ornith", True, True, _QWEN, qwen.create_qwen35),
        ParserInfo("qwen3-coder", True, False, _TOOL_CALL, qwen.create_qwen3_coder),
        ParserInfo("qwen3-vl-instruct", True, False, ("</think>", *_TOOL_CALL), qwen.create_qwen3_vl),
        ParserInfo("qwen3-vl-thinking", True, True, ("</think>", *_TOOL_CALL), qwen.create_qwen3_vl_thinking),
        ParserInfo("nemotron-3-nano", True, True, _QWEN, qwen.create_nemotron),
        ParserInfo("nemotron-3.5-nano", True, True, _QWEN, qwen.create_nemotron),
    )
}


def find_parser(name: str) -> ParserInfo | None:
    return _PARSERS.get(name)


def parser_names() -> tuple[str, ...]:
    return tuple(_PARSERS)
