"""The Responses API with the official `openai` package: streamed events, tools, schemas, kept responses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.conftest import CAPITAL, MODEL, REPORT, WEATHER, WEATHER_PARAMETERS
from tests.conftest import Server
from tests.extras import lazily

if TYPE_CHECKING:
    import openai
    import pydantic
    from openai.types.responses import FunctionToolParam, ResponseInputParam
else:
    openai = lazily("openai")
    pydantic = lazily("pydantic")

TOOL: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather of a city",
    "parameters": WEATHER_PARAMETERS,
    "strict": False,
}
PLAIN: Any = {"temperature": 0, "reasoning": {"effort": "none"}}
NAME = "My name is Anna."
NAME_QUESTION = "What is my name?"


def connect(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.base}/v1", api_key="none", max_retries=0)


@pytest.fixture
def client(tiny: Server) -> Iterator[openai.OpenAI]:
    with connect(tiny) as client:
        yield client


def test_text(client: openai.OpenAI) -> None:
    """A whole answer."""
    response = client.responses.create(model=MODEL, input=CAPITAL, max_output_tokens=64, **PLAIN)
    assert "Paris" in response.output_text
    assert response.status == "completed"
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0


def test_streamed_events(client: openai.OpenAI) -> None:
    """The events are numbered without gaps, and their deltas add up to the final response."""
    stream = client.responses.create(model=MODEL, input=CAPITAL, max_output_tokens=64, stream=True, **PLAIN)
    events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    final = events[-1]
    assert final.type == "response.completed"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert final.response.output_text == text
    assert "Paris" in text


def test_stream_helper(client: openai.OpenAI) -> None:
    """The package's accumulator builds the same response as the server says."""
    with client.responses.stream(
        model=MODEL, input=WEATHER, tools=[TOOL], max_output_tokens=64, **PLAIN
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    calls = [item for item in final.output if item.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [("get_weather", {"city": "Paris"})]


def test_reasoning(client: openai.OpenAI) -> None:
    """A reasoning item comes before the answer, whole and streamed."""
    response = client.responses.create(
        model=MODEL, input="What is 3 + 4?", reasoning={"effort": "low"}, temperature=0, max_output_tokens=512
    )
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert "7" in response.output_text
    events = list(
        client.responses.create(
            model=MODEL,
            input="What is 3 + 4?",
            reasoning={"effort": "low"},
            temperature=0,
            max_output_tokens=512,
            stream=True,
        )
    )
    thought = "".join(e.delta for e in events if e.type == "response.reasoning_summary_text.delta")
    (done,) = [e.text for e in events if e.type == "response.reasoning_summary_text.done"]
    assert done == thought
    assert thought


def test_tool_round_trip(client: openai.OpenAI) -> None:
    """The result goes back as an item, the conversation as items or by reference."""
    first = client.responses.create(model=MODEL, input=WEATHER, tools=[TOOL], max_output_tokens=64, **PLAIN)
    (call,) = first.output
    assert isinstance(call, openai.types.responses.ResponseFunctionToolCall)
    result: ResponseInputParam = [{"type": "function_call_output", "call_id": call.call_id, "output": REPORT}]
    whole: ResponseInputParam = [
        {"role": "user", "content": WEATHER},
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        *result,
    ]
    by_items = client.responses.create(model=MODEL, input=whole, tools=[TOOL], max_output_tokens=64, **PLAIN)
    by_reference = client.responses.create(
        model=MODEL,
        input=result,
        previous_response_id=first.id,
        tools=[TOOL],
        max_output_tokens=64,
        **PLAIN,
    )
    assert "sunny" in by_items.output_text.lower()
    assert by_reference.output_text == by_items.output_text
    assert by_reference.usage is not None
    assert by_items.usage is not None
    assert by_reference.usage.input_tokens == by_items.usage.input_tokens


@pytest.mark.parametrize("choice", ["none", "required", {"type": "function", "name": "get_weather"}])
def test_tool_choice(client: openai.OpenAI, choice: Any) -> None:
    """A choice is kept to, whatever the question is, and is given back."""
    response = client.responses.create(
        model=MODEL,
        input=WEATHER if choice == "none" else "Hello!",
        tools=[TOOL],
        tool_choice=choice,
        max_output_tokens=128,
        **PLAIN,
    )
    calls = [item.name for item in response.output if item.type == "function_call"]
    assert calls == ([] if choice == "none" else ["get_weather"])


class Capital(pydantic.BaseModel):
    """What the model is asked to fill in."""

    capital: str = pydantic.Field(max_length=20)
    sure: bool


def test_parse(client: openai.OpenAI) -> None:
    """A schema holds, also when the model thinks first."""
    for effort in ("none", "low"):
        response = client.responses.parse(
            model=MODEL,
            input="What is the capital of Italy? Answer in JSON.",
            text_format=Capital,
            reasoning={"effort": effort},
            temperature=0,
            max_output_tokens=256,
        )
        assert isinstance(response.output_parsed, Capital)


def test_json_object(client: openai.OpenAI) -> None:
    """The older way to ask for JSON."""
    response = client.responses.create(
        model=MODEL,
        input="What is the capital of Italy? Answer in JSON.",
        text={"format": {"type": "json_object"}},
        max_output_tokens=200,
        **PLAIN,
    )
    assert isinstance(json.loads(response.output_text), dict)


def test_conversation_by_reference(client: openai.OpenAI) -> None:
    """Each response continues from the one before; the instructions do not come along."""
    first = client.responses.create(
        model=MODEL, input=NAME, instructions="Be brief.", max_output_tokens=64, **PLAIN
    )
    second = client.responses.create(
        model=MODEL, input=NAME_QUESTION, previous_response_id=first.id, max_output_tokens=64, **PLAIN
    )
    turns: ResponseInputParam = [
        {"role": "user", "content": NAME},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": NAME_QUESTION},
    ]
    spelled_out = client.responses.create(model=MODEL, input=turns, max_output_tokens=64, **PLAIN)
    assert second.previous_response_id == first.id
    assert second.usage is not None
    assert spelled_out.usage is not None
    assert second.usage.input_tokens == spelled_out.usage.input_tokens
    assert second.output_text == spelled_out.output_text


def test_life_of_a_stored_response(client: openai.OpenAI) -> None:
    """Retrieve it, list its input, delete it."""
    made = client.responses.create(
        model=MODEL, input=CAPITAL, store=True, metadata={"topic": "cities"}, max_output_tokens=64, **PLAIN
    )
    assert made.store is True
    found = client.responses.retrieve(made.id)
    assert found.output_text == made.output_text
    assert found.metadata == {"topic": "cities"}
    (item,) = client.responses.input_items.list(made.id).data
    assert item.type == "message"
    assert item.content[0].type == "input_text"
    assert item.content[0].text == CAPITAL
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError, match=f"Response with id '{made.id}' not found"):
        client.responses.retrieve(made.id)
    with pytest.raises(openai.BadRequestError) as gone:
        client.responses.create(model=MODEL, input="x", previous_response_id=made.id)
    assert gone.value.code == "previous_response_not_found"
    assert gone.value.param == "previous_response_id"


def test_pages_of_input_items(client: openai.OpenAI) -> None:
    """Newest first unless asked otherwise; the package turns the pages."""
    turns: ResponseInputParam = [{"role": "user", "content": f"line {i}"} for i in range(5)]
    made = client.responses.create(model=MODEL, input=turns, store=True, max_output_tokens=4, **PLAIN)

    def texts(order: Any) -> list[str]:
        pages = client.responses.input_items.list(made.id, order=order, limit=2)
        return [item.content[0].text for item in pages]  # type: ignore[union-attr, index]

    assert texts("asc") == [f"line {i}" for i in range(5)]
    assert texts("desc") == texts("asc")[::-1]


def test_a_response_that_must_not_be_kept(client: openai.OpenAI) -> None:
    """`store` false: it cannot be referred to, nor can its items."""
    made = client.responses.create(model=MODEL, input=CAPITAL, store=False, max_output_tokens=16, **PLAIN)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError, match="Items are not persisted"):
        client.responses.create(
            model=MODEL, input=[{"type": "item_reference", "id": str(made.output[0].id)}], max_output_tokens=4
        )


def test_item_references(client: openai.OpenAI) -> None:
    """An item of an earlier response by its id, as the AI SDK sends it."""
    first = client.responses.create(model=MODEL, input=WEATHER, tools=[TOOL], max_output_tokens=64, **PLAIN)
    (call,) = first.output
    assert isinstance(call, openai.types.responses.ResponseFunctionToolCall)
    second = client.responses.create(
        model=MODEL,
        input=[
            {"role": "user", "content": WEATHER},
            {"type": "item_reference", "id": str(call.id)},
            {"type": "function_call_output", "call_id": call.call_id, "output": REPORT},
        ],
        tools=[TOOL],
        max_output_tokens=64,
        **PLAIN,
    )
    assert "sunny" in second.output_text.lower()


def test_stored_responses_outlive_the_server(start_server: Callable[..., Server]) -> None:
    """One that was killed the moment the client had its answer."""
    first_server = start_server()
    first_server.post("/api/pull", {"model": MODEL, "stream": False})
    with connect(first_server) as client:
        plain = client.responses.create(model=MODEL, input=NAME, max_output_tokens=32, **PLAIN)
        stream = client.responses.create(
            model=MODEL,
            input="Hello!",
            store=True,
            stream=True,
            previous_response_id=plain.id,
            max_output_tokens=32,
            **PLAIN,
        )
        for event in stream:
            if event.type == "response.completed":
                break
        first_server.process.kill()
        stored = event.response
        stream.close()
    second_server = start_server(HOME=str(first_server.folder), OLLAMA_MODELS=str(first_server.folder))
    with connect(second_server) as client:
        assert client.responses.retrieve(stored.id).output_text == stored.output_text
        # The one before was kept in memory until a stored one continued from it.
        assert client.responses.retrieve(plain.id).output_text == plain.output_text
        following = client.responses.create(
            model=MODEL, input=NAME_QUESTION, previous_response_id=stored.id, max_output_tokens=32, **PLAIN
        )
        assert following.usage is not None
        assert stored.usage is not None
        assert following.usage.input_tokens > stored.usage.input_tokens


def test_nothing_is_stored_when_the_age_is_zero(start_server: Callable[..., Server]) -> None:
    """The answer says so."""
    server = start_server(CORRAL_RESPONSES_MAX_AGE="0")
    server.post("/api/pull", {"model": MODEL, "stream": False})
    with connect(server) as client:
        made = client.responses.create(model=MODEL, input="Hi", store=True, max_output_tokens=4, **PLAIN)
        assert made.store is False
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(made.id)


def test_logprobs(client: openai.OpenAI) -> None:
    """On request each token's log probability and its rivals."""
    response = client.responses.create(
        model=MODEL,
        input=CAPITAL,
        include=["message.output_text.logprobs"],
        top_logprobs=2,
        max_output_tokens=8,
        **PLAIN,
    )
    (message,) = response.output
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    entries = message.content[0].logprobs
    assert entries
    assert all(len(entry.top_logprobs) == 2 for entry in entries)
    assert "".join(entry.token for entry in entries).strip() == response.output_text.strip()


def test_async_client(tiny: Server) -> None:
    """Several streams at a time."""

    async def talk() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{tiny.base}/v1", api_key="none", max_retries=0) as client:

            async def one() -> str:
                async with client.responses.stream(
                    model=MODEL, input=CAPITAL, max_output_tokens=64, **PLAIN
                ) as stream:
                    return (await stream.get_final_response()).output_text

            return list(await asyncio.gather(*(one() for _ in range(3))))

    assert all("Paris" in answer for answer in asyncio.run(talk()))


def test_a_tool_that_takes_text(client: openai.OpenAI) -> None:
    """A custom tool is called with a text, and its result goes back like any other."""
    tool: Any = {"type": "custom", "name": "get_weather", "description": "Get the weather of a city"}
    common: Any = {"model": MODEL, "input": WEATHER, "tools": [tool], "tool_choice": "required", **PLAIN}
    with client.responses.stream(max_output_tokens=64, **common) as stream:
        kinds = [event.type for event in stream]
    assert "response.custom_tool_call_input.done" in kinds
    response = client.responses.create(max_output_tokens=64, **common)
    (call,) = response.output
    assert call.type == "custom_tool_call"
    assert call.name == "get_weather"
    result: Any = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": REPORT}
    turns: Any = [{"role": "user", "content": WEATHER}, call.model_dump(exclude_none=True), result]
    final = client.responses.create(model=MODEL, input=turns, max_output_tokens=64, **PLAIN)
    assert final.output_text


def test_compaction(client: openai.OpenAI) -> None:
    """A conversation becomes what the user said and an item for the rest, which the next request begins with."""
    turns: Any = [
        {"role": "user", "content": NAME},
        {"role": "assistant", "content": "Hello Anna! " * 20},
        {"type": "function_call", "call_id": "c", "name": "get_weather", "arguments": '{"city": "Paris"}'},
        {"type": "function_call_output", "call_id": "c", "output": REPORT},
    ]
    compacted = client.responses.compact(model=MODEL, input=turns, instructions="Be brief.")
    assert compacted.object == "response.compaction"
    kinds = [item.type for item in compacted.output]
    assert kinds == ["message", "compaction"]
    assert compacted.usage.total_tokens == compacted.usage.input_tokens + compacted.usage.output_tokens > 0
    items: Any = [item.model_dump(exclude_none=True, warnings=False) for item in compacted.output]
    response = client.responses.create(
        model=MODEL, input=[*items, {"role": "user", "content": CAPITAL}], max_output_tokens=32, **PLAIN
    )
    assert response.output_text
    assert response.usage is not None
    longer = client.responses.create(
        model=MODEL, input=[*turns, {"role": "user", "content": CAPITAL}], max_output_tokens=32, **PLAIN
    )
    assert longer.usage is not None
    assert longer.usage.input_tokens > 0


def test_compaction_of_a_kept_response(client: openai.OpenAI) -> None:
    """It may continue from one; nothing at all cannot be compacted."""
    first = client.responses.create(model=MODEL, input=NAME, max_output_tokens=16, **PLAIN)
    compacted = client.responses.compact(model=MODEL, previous_response_id=first.id)
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    with pytest.raises(openai.BadRequestError, match="nothing to compact"):
        client.responses.compact(model=MODEL)
    with pytest.raises(openai.BadRequestError, match="not found"):
        client.responses.compact(model=MODEL, previous_response_id="resp_0")
    with pytest.raises(openai.NotFoundError):
        client.responses.compact(model="nobody", input=NAME)


def test_compaction_of_what_does_not_fit(client: openai.OpenAI) -> None:
    """A conversation of several contexts."""
    turns: Any = [
        {"role": "assistant", "content": f"Line {i}: " + "sunny weather in Paris. " * 40} for i in range(14)
    ]
    compacted = client.responses.compact(model=MODEL, input=[{"role": "user", "content": NAME}, *turns])
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    assert compacted.usage.input_tokens > 2048
