"""The official `anthropic` package against the server: conversations as its users have them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.clients.conftest import CAPITAL, MODEL, REPORT, WEATHER, WEATHER_PARAMETERS
from tests.conftest import Server
from tests.extras import lazily

if TYPE_CHECKING:
    import anthropic
    from anthropic.types import MessageParam, ThinkingConfigDisabledParam, ToolParam
else:
    anthropic = lazily("anthropic")

TOOL: ToolParam = {
    "name": "get_weather",
    "description": "Get the weather of a city",
    "input_schema": {**WEATHER_PARAMETERS},
}
COLD = {"temperature": 0}
OFF: ThinkingConfigDisabledParam = {"type": "disabled"}


@pytest.fixture
def client(tiny: Server) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=tiny.base, api_key="none", max_retries=0) as client:
        yield client


def ask(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": text}]


def test_message(client: anthropic.Anthropic) -> None:
    """A whole answer, with its counts."""
    message = client.messages.create(
        model=MODEL, max_tokens=64, thinking=OFF, extra_body=COLD, messages=ask(CAPITAL)
    )
    assert message.content[0].type == "text"
    assert "Paris" in message.content[0].text
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 5
    assert message.usage.output_tokens > 1


def test_stream_helper(client: anthropic.Anthropic) -> None:
    """Texts as they come add up to the final message."""
    with client.messages.stream(
        model=MODEL, max_tokens=64, thinking=OFF, extra_body=COLD, messages=ask(CAPITAL)
    ) as stream:
        texts = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(texts) > 1
    assert "Paris" in "".join(texts)
    assert stream.get_final_text() == "".join(texts)
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 1


def test_system_blocks_and_stop_sequences(client: anthropic.Anthropic) -> None:
    """A system prompt in blocks counts; a stop sequence ends the answer before it."""
    message = client.messages.create(
        model=MODEL,
        max_tokens=64,
        extra_body=COLD,
        thinking=OFF,
        system=[{"type": "text", "text": "Your name is "}, {"type": "text", "text": "Anna."}],
        messages=ask("What is your name?"),
    )
    assert message.content[0].type == "text"
    text = message.content[0].text
    assert "Anna" in text
    stopped = client.messages.create(
        model=MODEL,
        max_tokens=64,
        extra_body=COLD,
        thinking=OFF,
        system="Your name is Anna.",
        messages=ask("What is your name?"),
        stop_sequences=["Anna"],
    )
    before = text.partition("Anna")[0]
    assert "".join(block.text for block in stopped.content or () if block.type == "text") == before


def test_tool_round_trip(client: anthropic.Anthropic) -> None:
    """A call, its result, and an answer that uses it."""
    messages = ask(WEATHER)
    first = client.messages.create(
        model=MODEL, max_tokens=64, thinking=OFF, extra_body=COLD, messages=messages, tools=[TOOL]
    )
    assert first.stop_reason == "tool_use"
    call = next(block for block in first.content if block.type == "tool_use")
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
    messages += [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": REPORT}]},
    ]
    second = client.messages.create(
        model=MODEL, max_tokens=64, thinking=OFF, extra_body=COLD, messages=messages, tools=[TOOL]
    )
    assert second.content[0].type == "text"
    assert "sunny" in second.content[0].text.lower()


def test_streamed_tool_call(client: anthropic.Anthropic) -> None:
    """The helper builds the call's input from the events."""
    with client.messages.stream(
        model=MODEL, max_tokens=64, thinking=OFF, extra_body=COLD, messages=ask(WEATHER), tools=[TOOL]
    ) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    assert [block.input for block in final.content if block.type == "tool_use"] == [{"city": "Paris"}]


@pytest.mark.parametrize("kind", ["none", "any", "tool"])
def test_tool_choice(client: anthropic.Anthropic, kind: str) -> None:
    """A choice is kept to, whatever the question is."""
    choices: dict[str, anthropic.types.ToolChoiceParam] = {
        "none": {"type": "none"},
        "any": {"type": "any", "disable_parallel_tool_use": True},
        "tool": {"type": "tool", "name": "get_weather"},
    }
    question = WEATHER if kind == "none" else "Hello!"
    message = client.messages.create(
        model=MODEL,
        max_tokens=128,
        extra_body=COLD,
        thinking=OFF,
        messages=ask(question),
        tools=[TOOL],
        tool_choice=choices[kind],
    )
    calls = [block for block in message.content if block.type == "tool_use"]
    if kind == "none":
        assert not calls
        return
    assert [call.name for call in calls] == ["get_weather"]
    assert isinstance(calls[0].input, dict)
    assert isinstance(calls[0].input["city"], str)
    assert message.stop_reason == "tool_use"


def test_thinking(client: anthropic.Anthropic) -> None:
    """A thinking block before the text, whole and streamed; also when it is given back."""
    enabled = anthropic.types.ThinkingConfigEnabledParam(type="enabled", budget_tokens=1024)
    message = client.messages.create(
        model=MODEL, max_tokens=2048, thinking=enabled, extra_body=COLD, messages=ask("What is 3 + 4?")
    )
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[1].type == "text"
    assert "7" in message.content[1].text
    with client.messages.stream(
        model=MODEL, max_tokens=2048, thinking=enabled, extra_body=COLD, messages=ask("What is 3 + 4?")
    ) as stream:
        events = [event.type for event in stream]
        final = stream.get_final_message()
    assert events.index("thinking") < events.index("text")
    assert [block.type for block in final.content] == ["thinking", "text"]
    again = client.messages.create(
        model=MODEL,
        max_tokens=64,
        extra_body=COLD,
        thinking=OFF,
        messages=[
            *ask("What is 3 + 4?"),
            {"role": "assistant", "content": message.content},
            {"role": "user", "content": CAPITAL},
        ],
    )
    assert again.stop_reason in ("end_turn", "max_tokens")


def test_count_tokens(client: anthropic.Anthropic) -> None:
    """The count is what a message is charged, with system, tools and thinking too."""
    for extra in (
        {},
        {"system": "Be brief."},
        {"tools": [TOOL]},
        {"thinking": OFF},
        {"tools": [TOOL], "tool_choice": {"type": "none"}},
    ):
        count = client.messages.count_tokens(model=MODEL, messages=ask(CAPITAL), **extra)
        message = client.messages.create(model=MODEL, max_tokens=1, messages=ask(CAPITAL), **extra)
        assert count.input_tokens == message.usage.input_tokens


def test_native_options(client: anthropic.Anthropic, tiny: Server) -> None:
    """Members of the native API work as extra body fields; one of the wrong type is not worth another try."""
    client.messages.create(
        model=MODEL,
        max_tokens=4,
        messages=ask("Hi"),
        extra_body={"num_ctx": 512, "keep_alive": "10m", "options": {"seed": 1}},
    )
    loaded = {entry["name"]: entry["context_length"] for entry in tiny.get("/api/ps")["models"]}
    assert loaded[f"{MODEL}:latest"] == 512
    client.messages.create(model=MODEL, max_tokens=1, messages=ask("Hi"))
    with pytest.raises(anthropic.BadRequestError, match='option "num_ctx" must be of type integer'):
        client.messages.create(model=MODEL, max_tokens=1, messages=ask("Hi"), extra_body={"num_ctx": "many"})


def test_async_client(tiny: Server) -> None:
    """Several streams at a time."""

    async def talk() -> list[str]:
        async with anthropic.AsyncAnthropic(base_url=tiny.base, api_key="none", max_retries=0) as client:

            async def one() -> str:
                async with client.messages.stream(
                    model=MODEL, max_tokens=64, thinking=OFF, extra_body=COLD, messages=ask(CAPITAL)
                ) as stream:
                    return await stream.get_final_text()

            return list(await asyncio.gather(*(one() for _ in range(3))))

    answers = asyncio.run(talk())
    assert all("Paris" in answer for answer in answers)


def test_errors(client: anthropic.Anthropic) -> None:
    """Each has the package's own class, and the server's words."""
    with pytest.raises(anthropic.NotFoundError, match="model 'nope' not found"):
        client.messages.create(model="nope", max_tokens=4, messages=ask("Hi"))
    with pytest.raises(anthropic.BadRequestError, match="messages is required"):
        client.messages.create(model=MODEL, max_tokens=4, messages=[])
    with pytest.raises(anthropic.BadRequestError, match="send the text of the document"):
        client.messages.create(
            model=MODEL,
            max_tokens=4,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "document",
                            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
                        }
                    ],
                }
            ],
        )
