"""Calls of tools that are not functions, as other servers' models made them: shells, patches, searches, code, MCP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from corral.api.reading.call_arguments import arguments_of
from corral.types import ToolCall

# Where items have the input of a tool, and its result.
_QUESTIONS = ("arguments", "input", "action", "actions", "operation", "code", "queries")
_RESULTS = ("output", "outputs", "results", "error")
# Base64 and the like: nothing to show to a model.
_MAX_RESULT_CHARS = 200_000


def called(kind: str, item: Mapping[str, Any]) -> ToolCall | None:
    """The call that an item stands for; None if it stands for none."""
    if not kind.endswith("_call"):
        return None
    name = item.get("name")
    question = next((member for member in _QUESTIONS if item.get(member) is not None), None)
    if question is None:
        return None
    value = item[question]
    plain = isinstance(value, Mapping) or question == "arguments"
    arguments = arguments_of(value) if plain else {question: value}
    call_id = item.get("call_id")
    return ToolCall(
        name if isinstance(name, str) and name else kind.removesuffix("_call"),
        arguments,
        id=call_id if isinstance(call_id, str) else "",
    )


def results_of(item: Mapping[str, Any]) -> str:
    """The result of a tool, if the item of its call has it too."""
    texts = [text for member in _RESULTS if (text := _text(item.get(member)))]
    return "\n".join(texts)[:_MAX_RESULT_CHARS]


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list):
        return "\n".join(text for element in value if (text := _text(element)))
    if isinstance(value, Mapping):
        known = [value[name] for name in ("filename", "text", "logs") if isinstance(value.get(name), str)]
        return "\n".join(known) or json.dumps(value, ensure_ascii=False)
    return str(value)
