"""Prompts that a real Ollama server rendered (sources of August 2026), renderer by renderer, compared exactly.

`cases/conversations.json` holds messages and tools as a client sends them, `cases/texts.json` long constant passages
that stand as ⟦NAME⟧ in the expected prompts, the other files one family each. Where the server had cut the
conversation to fit the context, the messages are those that it kept.
"""

from __future__ import annotations

import base64
import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corral.chat.families.known import find_renderer, renderer_names
from corral.chat.rendering.images import insert_image_tags
from corral.errors import TemplateError
from corral.types import Message, Tool, ToolCall, ToolFunction, ToolParameters, ToolProperty

_CASES = Path(__file__).parent / "cases"
_TODAY = datetime.date(2026, 3, 9)


def _load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((_CASES / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


_CONVERSATIONS = _load("conversations")
_TEXTS = {**_load("texts"), "TODAY": _TODAY.isoformat()}
_FAMILIES = sorted(path.stem for path in _CASES.glob("*.json") if path.stem not in {"conversations", "texts"})


def _rows() -> list[Any]:
    return [
        pytest.param(renderer, case, id=f"{renderer}: {case['conversation']}, think {case['think']}, {i}")
        for family in _FAMILIES
        for renderer, cases in _load(family).items()
        for i, case in enumerate(cases)
    ]


def _message(raw: dict[str, Any]) -> Message:
    calls = [
        ToolCall(c["function"]["name"], c["function"].get("arguments") or {}, id=c.get("id", ""))
        for c in raw.get("tool_calls", ())
    ]
    return Message(
        role=raw.get("role", "").lower(),
        content=raw.get("content", ""),
        thinking=raw.get("thinking", ""),
        images=tuple(base64.b64decode(image) for image in raw.get("images", ())),
        tool_calls=tuple(calls),
        tool_name=raw.get("tool_name", ""),
        tool_call_id=raw.get("tool_call_id", ""),
    )


def _property(raw: dict[str, Any]) -> ToolProperty:
    types = raw.get("type", ())
    return ToolProperty(
        any_of=tuple(_property(option) for option in raw.get("anyOf", ())),
        types=(types,) if isinstance(types, str) else tuple(types),
        items=raw.get("items"),
        description=raw.get("description", ""),
        enum=tuple(raw.get("enum", ())),
        properties=_properties(raw),
        required=tuple(raw.get("required", ())),
    )


def _properties(raw: dict[str, Any]) -> dict[str, ToolProperty] | None:
    return (
        {name: _property(prop) for name, prop in raw["properties"].items()} if "properties" in raw else None
    )


def _tool(raw: dict[str, Any]) -> Tool:
    function = raw["function"]
    parameters = function.get("parameters", {})
    return Tool(
        type=raw["type"],
        function=ToolFunction(
            function["name"],
            function.get("description", ""),
            ToolParameters(
                type=parameters.get("type", ""),
                defs=parameters.get("$defs"),
                required=tuple(parameters.get("required", ())),
                properties=_properties(parameters),
            ),
        ),
    )


def _render(renderer: str, case: dict[str, Any]) -> str:
    info = find_renderer(renderer)
    assert info is not None
    conversation = _CONVERSATIONS[case["conversation"]]
    messages = [_message(raw) for raw in conversation["messages"]]
    if info.has_image_tags:
        messages = insert_image_tags(messages, separator=True)
    return info.render(
        messages,
        [_tool(raw) for raw in conversation.get("tools", ())],
        case["think"],
        model_name=case.get("model_name", ""),
        parameter_count=case.get("parameter_count", 0),
        today=_TODAY,
    )


def _expand(text: str) -> str:
    for name, passage in _TEXTS.items():
        text = text.replace(f"⟦{name}⟧", passage)
    return text


@pytest.mark.parametrize(("renderer", "case"), _rows())
def test_recorded_case(renderer: str, case: dict[str, Any]) -> None:
    """The prompt, or the error, is the recorded one to the byte."""
    if "error" in case:
        with pytest.raises(TemplateError) as caught:
            _render(renderer, case)
        assert str(caught.value) == case["error"]
    else:
        assert _render(renderer, case) == _expand(case["prompt"])


def test_every_renderer_has_cases() -> None:
    """No renderer goes without a recorded prompt; tev1 is qwen3.5 by another name."""
    recorded = {renderer for family in _FAMILIES for renderer in _load(family)}
    assert recorded | {"tev1"} == set(renderer_names())
    tev1, qwen = find_renderer("tev1"), find_renderer("qwen3.5")
    assert tev1 is not None and qwen is not None
    assert replace(tev1, name=qwen.name) == qwen
