"""What a Jinja template tells about the model's output: the parser that reads it, or the tags around it.

A model file brings no parser, but its template shows how the model writes calls and thinking, since it writes
earlier ones back the same way. The marks below are those of the families' documented formats.
"""

from __future__ import annotations

from dataclasses import dataclass

_THINK = ("<think>", "</think>")
# All of these marks in the source: the parser that reads such replies.
_PARSERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("<|channel|>", "<|message|>", "<|start|>"), "harmony"),
    (("<function=", "<parameter=", "<think>"), "qwen3.5"),
    (("<function=", "<parameter="), "qwen3-coder"),
    (("<arg_key>", "<arg_value>"), "glm-4.7"),
    (("<｜tool▁calls▁begin｜>",), "deepseek3"),
    (("<|START_ACTION|>",), "cohere"),
    (("<|tool_call_start|>",), "lfm2"),
    (("<start_function_call>",), "functiongemma"),
    (("<|tool_call>",), "gemma4"),
    (("<function_calls>",), "olmo3"),
    (("[TOOL_CALLS]", "[ARGS]"), "ministral"),
)
_TAGS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("<tool_call>",), "<tool_call>"),
    (("[TOOL_CALLS]",), "[TOOL_CALLS]"),
    (("<|tool_call|>",), "<|tool_call|>"),
    (("functools[",), "functools["),
    (("<|start_header_id|>", "tool_calls"), "{"),
)


@dataclass(frozen=True, slots=True)
class OutputForm:
    """`parser` is empty when tags are all that is known."""

    parser: str
    tool_tag: str
    thinking_tags: tuple[str, str] = _THINK


def output_form(source: str) -> OutputForm:
    """How the model behind a template writes. Without a mark: as ChatML models do."""
    tag = next((tag for marks, tag in _TAGS if all(mark in source for mark in marks)), "<tool_call>")
    thinking = ("[THINK]", "[/THINK]") if "[THINK]" in source and "<think>" not in source else _THINK
    parser = next((name for marks, name in _PARSERS if all(mark in source for mark in marks)), "")
    return OutputForm(parser, tag, thinking)
