"""The Jinja path against the engine's own rendering, which is what Ollama uses for these templates."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from corral.chat.templates.jinja import ChatTemplate
from corral.errors import TemplateError
from corral.types import Message
from corral.weights.gguf import GGUFFile
from tests.chat.templates.public_templates import PARTS_TEMPLATES, TEMPLATES
from tests.chat.templates.test_jinja_differential import CONVERSATIONS, TOOLS, TOOLS_JSON, as_json
from tests.conftest import FIXTURES

pytestmark = pytest.mark.process

MODEL = FIXTURES / "tiny.gguf"  # its tokenizer adds no BOS
ALL = {**TEMPLATES, **PARTS_TEMPLATES}
# The engine fails or refuses here, or loses the texts of all roles but the user's.
ENGINE_FAULTS = {
    "llama3.1": ("two tools",),  # refused, since a turn has one call
    "llama-guard": ("with system", "tool"),
    "mixed": ("without system", "with system", "tool", "two tools"),
}


def special_tokens() -> dict[str, Any]:
    metadata: Any = GGUFFile.open(MODEL).metadata
    tokens = [str(token, "utf-8") for token in metadata["tokenizer.ggml.tokens"].byte_strings()]
    return {f"{kind}_token": tokens[metadata[f"tokenizer.ggml.{kind}_token_id"]] for kind in ("bos", "eos")}


def body_of(messages: list[Message], has_tools: bool) -> dict[str, Any]:
    sent = [as_json(message) for message in messages]
    for message in sent:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    return {"messages": sent, **({"tools": TOOLS_JSON} if has_tools else {})}


@pytest.mark.parametrize("name", ALL)
def test_equal_to_the_engine(name: str) -> None:
    """The same prompt for every conversation, with tools and without, or both refuse."""
    faults = ENGINE_FAULTS.get(name, ())
    cases = [(conversation, tools) for conversation in CONVERSATIONS for tools in (False, True)]
    bodies = [body_of(CONVERSATIONS[conversation], tools) for conversation, tools in cases]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chat.templates.engine_rendering"],
        input=json.dumps({"model": str(MODEL), "template": ALL[name], "bodies": bodies}),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    template = ChatTemplate.parse(ALL[name])
    compared = 0
    for (conversation, tools), wanted in zip(cases, json.loads(done.stdout), strict=True):
        if conversation in faults:
            continue
        try:
            text = template.render(CONVERSATIONS[conversation], TOOLS if tools else (), **special_tokens())
        except TemplateError:
            text = None
        assert text == wanted, (conversation, tools)
        compared += text is not None
    assert compared >= 2
