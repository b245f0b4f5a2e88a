"""What a Jinja template tells about the model's output: the parser that reads it, or the tags around it.

A model file brings no parser, but its template shows how the model writes calls and thinking, since it writes
earlier ones back the same way. The marks below are those of the families' documented formats.
"""

from __future__ import annotations

from dataclasses import dataclass

from corral.chat import marks
from corral.chat.families import ministral
from corral.chat.families.family import Parser
from corral.chat.families.known import parser_of_template

# Where no parser is known: all of these marks in the source, and the tag that begins a call.
_TAGS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((marks.OPEN_CALL,), marks.OPEN_CALL),
    ((ministral.CALL,), ministral.CALL),
    (("<|tool_call|>",), "<|tool_call|>"),
    (("functools[",), "functools["),
    (("<|start_header_id|>", "tool_calls"), "{"),
)


@dataclass(frozen=True, slots=True)
class OutputForm:
    """`parser` is None when tags are all that is known."""

    parser: Parser | None
    tool_tag: str
    thinking_tags: tuple[str, str] = marks.THINK


def output_form(source: str) -> OutputForm:
    """How the model whose template this is writes. Without a mark: as ChatML models do."""
    tag = next((tag for signs, tag in _TAGS if all(sign in source for sign in signs)), marks.OPEN_CALL)
    is_other = ministral.OPEN_THINK in source and marks.OPEN_THINK not in source
    return OutputForm(parser_of_template(source), tag, ministral.THINK if is_other else marks.THINK)
