"""tev1, a model that answers typed questions: prompts and replies are those of Qwen3.5.

A message holds the state and one question, as JSON. Ollama: docs/capabilities/decision.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial

from corral.chat.families.family import DecisionForm, Family, Parser, Renderer
from corral.chat.families.qwen3_5 import render
from corral.chat.parsing.call_forms import XML_IN_TAGS
from corral.chat.parsing.qwen import TOKENS, create_thinking
from corral.types import Option, Question


def _ask(state: str, questions: Sequence[Question]) -> Callable[[Question], str]:
    return partial(_message, state)


def _message(state: str, question: Question) -> str:
    options = [
        {"label": chr(ord("A") + i), "key": _key(option), "description": option.description}
        for i, option in enumerate(question.options)
    ]
    content = {"state": state, "question": question.instructions, "options": options}
    return json.dumps(content, ensure_ascii=False)


def _key(option: Option) -> str:
    return option.value if isinstance(option.value, str) else json.dumps(option.value)


FAMILY = Family(
    renderers=(Renderer("tev1", render, has_image_tags=True),),
    parsers=(Parser("tev1", create_thinking, TOKENS, XML_IN_TAGS, has_thinking=True),),
    decision=DecisionForm("tev1", _ask, max_options=24, needs_descriptions=True),
)
