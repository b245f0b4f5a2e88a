"""`llm` with `llm-ollama`: the package and its command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import CAPITAL, LEFT_SOCKETS, MODEL, REPORT, WEATHER
from tests.conftest import Server
from tests.extras import need

need("llm", "llm_ollama")

pytestmark = [pytest.mark.usefixtures("leaves_sockets"), LEFT_SOCKETS]
NAME = f"ollama/{MODEL}"


@pytest.fixture(scope="module")
def model(tiny: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OLLAMA_HOST", tiny.base)
        patch.setenv("LLM_USER_PATH", str(tmp_path_factory.mktemp("llm")))
        import llm  # reads the environment

        yield llm.get_model(NAME)


def get_weather(city: str) -> str:
    """Get the weather of a city"""
    return f"{city}: {REPORT}"


def test_prompt(model: Any) -> None:
    """Whole and streamed."""
    whole = model.prompt(CAPITAL, temperature=0, think=False, stream=False).text()
    assert "Paris" in whole
    pieces = list(model.prompt(CAPITAL, temperature=0, think=False))
    assert len(pieces) > 2
    assert "".join(pieces) == whole


def test_tools(model: Any) -> None:
    """A chain runs the tool that the model calls and asks again with the result."""
    chain = model.chain(WEATHER, tools=[get_weather], options={"temperature": 0, "think": False})
    assert "sunny" in chain.text().lower()
    first, *_ = chain._responses
    assert [call.arguments for call in first.tool_calls()] == [{"city": "Paris"}]


def test_conversation(model: Any) -> None:
    """What was said before goes along."""
    conversation = model.conversation()
    conversation.prompt("My name is Anna.", temperature=0, think=False).text()
    second = conversation.prompt("What is my name?", temperature=0, think=False)
    assert second.text()
    assert second.usage().input > model.prompt("What is my name?", think=False).usage().input


def test_command_line(tiny: Server, tmp_path: Path) -> None:
    """`llm -m MODEL PROMPT`."""
    env = {**os.environ, "OLLAMA_HOST": tiny.base, "LLM_USER_PATH": str(tmp_path)}
    command = [sys.executable, "-m", "llm", "-m", NAME, "-o", "temperature", "0", CAPITAL]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
