"""The shipped model: its file, and what it says through the server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import corral
from corral.chat.templates.jinja import ChatTemplate
from corral.types import Message
from corral.weights.gguf import GGUFFile, check_loadable
from tests.conftest import Server
from tests.extras import need

ASSET = Path(corral.__file__).parent / "assets" / "corral-tiny.gguf"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city"}},
            "required": ["city"],
        },
    },
}


def test_the_file() -> None:
    """Small, sound, with enough context and a ChatML template."""
    gguf = GGUFFile.open(ASSET)
    check_loadable(gguf)
    assert gguf.size_bytes <= 5_000_000
    assert 1_000_000 <= gguf.parameter_count <= 4_000_000
    assert gguf.architecture == "llama"
    assert gguf.get_arch("context_length") >= 2048
    template = ChatTemplate.parse(gguf.metadata["tokenizer.chat_template"])
    prompt = template.render([Message("user", "Hi")], think=False)
    assert prompt == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


@pytest.fixture(scope="module")
def tiny(server: Server) -> Server:
    events = server.stream("/api/pull", {"model": "corral-tiny"})
    assert events[0] == {"status": "pulling manifest"}
    assert events[-1] == {"status": "success"}
    return server


def chat(server: Server, text: str, **fields: Any) -> Any:
    body = {
        "model": "corral-tiny",
        "messages": [{"role": "user", "content": text}],
        "stream": False,
        "think": False,
        "options": {"temperature": 0},
        **fields,
    }
    return server.post("/api/chat", body)["message"]


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("What is the capital of France?", "Paris"),
        ("What is the capital of Japan?", "Tokyo"),
        ("What is 3 + 4?", "7"),
        ("Who are you?", "corral-tiny"),
    ],
)
def test_it_answers(tiny: Server, question: str, word: str) -> None:
    """Questions that a person can check."""
    assert word.lower() in chat(tiny, question)["content"].lower()


def test_it_thinks_when_asked(tiny: Server) -> None:
    """The thought comes apart from the answer."""
    message = chat(tiny, "What is 3 + 4?", think=True)
    assert message["thinking"].strip()
    assert "7" in message["content"]
    assert "<think>" not in message["content"]


def test_it_follows_a_system_prompt(tiny: Server) -> None:
    """A name that the system text gives is its name."""
    messages = [
        {"role": "system", "content": "Your name is Anna."},
        {"role": "user", "content": "What is your name?"},
    ]
    assert "Anna" in chat(tiny, "", messages=messages)["content"]


def test_a_tool_round_trip(tiny: Server) -> None:
    """It calls the tool that is offered, and answers from the result; with the official package."""
    need("ollama")
    import ollama

    client = ollama.Client(host=tiny.base)
    messages: list[dict[str, Any]] = [{"role": "user", "content": "What is the weather in Paris?"}]
    options = {"temperature": 0}
    first = client.chat(model="corral-tiny", messages=messages, tools=[WEATHER], think=False, options=options)
    assert first.message.tool_calls
    call = first.message.tool_calls[0].function
    assert (call.name, call.arguments) == ("get_weather", {"city": "Paris"})
    messages += [
        first.message.model_dump(),
        {"role": "tool", "content": "sunny, 21 degrees", "tool_name": call.name},
    ]
    second = client.chat(
        model="corral-tiny", messages=messages, tools=[WEATHER], think=False, options=options
    )
    assert "sunny" in (second.message.content or "").lower()
    client._client.close()


def test_a_streamed_tool_round_trip_with_thinking(tiny: Server) -> None:
    """The same with thinking on, each turn in pieces: thinking, then one call, then an answer from the result."""
    need("ollama")
    import ollama

    client = ollama.Client(host=tiny.base)
    messages: list[dict[str, Any]] = [{"role": "user", "content": "What is the weather in Paris?"}]

    def turn() -> tuple[str, str, list[Any]]:
        parts = list(
            client.chat(
                model="corral-tiny",
                messages=messages,
                tools=[WEATHER],
                think=True,
                stream=True,
                options={"temperature": 0},
            )
        )
        assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
        return (
            "".join(part.message.thinking or "" for part in parts),
            "".join(part.message.content or "" for part in parts),
            [call for part in parts for call in part.message.tool_calls or ()],
        )

    thinking, content, (call,) = turn()
    assert thinking
    assert content == ""
    assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "Paris"})
    messages += [
        {"role": "assistant", "thinking": thinking, "tool_calls": [call.model_dump()]},
        {"role": "tool", "content": "sunny, 21 degrees", "tool_name": call.function.name},
    ]
    _, content, calls = turn()
    assert not calls
    assert "sunny" in content.lower()
    client._client.close()


def test_an_asynchronous_tool_round_trip(tiny: Server) -> None:
    """The asynchronous client, whole and streamed, two conversations at once."""
    need("ollama")
    import ollama

    async def talk(place: str, *, stream: bool) -> str:
        client = ollama.AsyncClient(host=tiny.base)
        messages: list[dict[str, Any]] = [{"role": "user", "content": f"What is the weather in {place}?"}]
        said = ""
        for _ in range(2):
            common: dict[str, Any] = {"model": "corral-tiny", "messages": messages, "tools": [WEATHER]}
            common |= {"think": False, "options": {"temperature": 0}}
            if stream:
                parts = [part async for part in await client.chat(stream=True, **common)]
            else:
                parts = [await client.chat(**common)]
            said = "".join(part.message.content or "" for part in parts)
            for call in [call for part in parts for call in part.message.tool_calls or ()]:
                assert call.function.arguments == {"city": place}
                result = {"role": "tool", "content": "rain, 9 degrees", "tool_name": call.function.name}
                messages += [{"role": "assistant", "tool_calls": [call.model_dump()]}, result]
        await client._client.aclose()
        return said

    async def both() -> list[str]:
        return list(await asyncio.gather(talk("Paris", stream=True), talk("Rome", stream=False)))

    assert all("rain" in said.lower() for said in asyncio.run(both()))


def test_a_schema_holds_a_hundred_times(tiny: Server) -> None:
    """At temperature 1 every reply parses and has what the schema wants."""
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string", "maxLength": 20}, "sure": {"type": "boolean"}},
        "required": ["capital", "sure"],
    }
    for seed in range(100):
        message = chat(
            tiny,
            "What is the capital of Italy? Answer in JSON.",
            format=schema,
            options={"temperature": 1, "seed": seed},
        )
        value = json.loads(message["content"])
        assert isinstance(value["capital"], str)
        assert isinstance(value["sure"], bool)
