"""Qwen 3: calls as JSON; its prompts come from templates. Ollama: model/parsers/qwen3.go."""

from __future__ import annotations

from collections.abc import Sequence

from corral.chat.families.family import Family, Parser
from corral.chat.parsing.call_forms import JSON_IN_TAGS
from corral.chat.parsing.qwen import AFTER_CALL, START, TEXT, TOKENS, QwenParser, create_plain
from corral.types import Message, Think, Tool


def _create_thinking(tools: Sequence[Tool], last_message: Message | None, think: Think) -> QwenParser:
    """The prompt opens the thinking, whether the answer has begun or not."""
    return QwenParser(TEXT if think is False else START, AFTER_CALL, tools)


FAMILY = Family(
    parsers=(
        Parser("qwen3", create_plain, TOKENS, JSON_IN_TAGS),
        Parser("qwen3-thinking", _create_thinking, TOKENS, JSON_IN_TAGS, has_thinking=True),
    ),
    forgetful_families=("qwen3",),
)
