"""Which tools a request lets the model call, in the forms that OpenAI's and the native API take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corral.errors import InvalidRequestError
from corral.golang.quote import quoted
from corral.types import Tool

_TEXT = 'tool_choice must be "auto", "none", "required" or the name of a tool'


def read_tool_choice(value: Any) -> str:
    """`auto`, `none`, `required`, or `function:NAME`, from a plain value.

    Raises:
        InvalidRequestError
    """
    if value in (None, "", "auto"):
        return "auto"
    if value in ("none", "required"):
        return str(value)
    if isinstance(value, str):
        return f"function:{value}"
    if isinstance(value, dict):
        if (allowed := _allowed(value)) is not None:
            return read_tool_choice(allowed.get("mode"))
        function = value.get("function")
        name = function.get("name") if isinstance(function, dict) else value.get("name")
        if isinstance(name, str) and name:
            return f"function:{name}"
        if value.get("type") in ("auto", "none", "required"):
            return str(value["type"])
    raise InvalidRequestError(_TEXT)


def restrict_tools(tools: Sequence[Tool], value: Any, choice: str) -> tuple[Tool, ...]:
    """The tools that a choice leaves: those of its `allowed_tools`, else all.

    Raises:
        InvalidRequestError: the choice asks for a call and there is no such tool.
    """
    left = tuple(tools)
    if (allowed := _allowed(value)) is not None:
        entries = allowed.get("tools")
        names = {_name_of(entry) for entry in entries} if isinstance(entries, list) else set()
        left = tuple(tool for tool in tools if tool.function.name in names)
    if choice == "required" and not left:
        raise InvalidRequestError("tool_choice asks for a tool call, but the request offers no tools")
    kind, _, name = choice.partition(":")
    if kind == "function" and all(tool.function.name != name for tool in left):
        raise InvalidRequestError(
            f"tool_choice names the tool {quoted(name)}, which the request does not offer"
        )
    return left


def _allowed(value: Any) -> dict[str, Any] | None:
    """The mode and the tools of a choice among some of them: a member in chats, the choice itself in responses."""
    if not isinstance(value, dict):
        return None
    allowed = (
        value if value.get("type") == "allowed_tools" and "mode" in value else value.get("allowed_tools")
    )
    return allowed if isinstance(allowed, dict) else None


def _name_of(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return None
    function = entry.get("function")
    name = function.get("name") if isinstance(function, dict) else entry.get("name")
    return name if isinstance(name, str) else None
