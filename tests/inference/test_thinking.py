"""The bound on thinking, on recorded chunks and on the shipped model."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from corral.inference.reply_parser import Replies, first_call_only
from corral.inference.thinking import (
    ThinkingEndedError,
    ThinkingRun,
    counted_whole,
    within_budget,
)
from corral.types import Chunk, GenerationMetrics, ToolCall
from tests.conftest import Server

QUESTION = "What is 3 + 4?"


def run(batches: list[list[Chunk]], budget: int) -> tuple[list[Chunk], bool]:
    """What goes through, and whether the run was ended."""
    passed: list[Chunk] = []

    async def emit(chunks: list[Chunk]) -> None:
        passed.extend(chunks)

    async def feed() -> bool:
        bounded = within_budget(emit, [], budget)
        try:
            for batch in batches:
                await bounded(batch)
        except ThinkingEndedError:
            return True
        return False

    return passed, asyncio.run(feed())


def thoughts(count: int) -> list[Chunk]:
    return [Chunk(thinking=str(i)) for i in range(count)]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_run_ends_at_the_bound(batch_size: int) -> None:
    """However the pieces come."""
    chunks = thoughts(5)
    batches = [chunks[i : i + batch_size] for i in range(0, 5, batch_size)]
    assert run(batches, 3) == (chunks[:3], True)


def test_less_thinking_is_left_alone() -> None:
    """Content after it, too, however long it is."""
    chunks = [*thoughts(2), *[Chunk("x")] * 9, Chunk(done=True)]
    assert run([chunks], 3) == (chunks, False)


def test_a_last_thought_with_content_behind_it_needs_no_end() -> None:
    """The model has answered by itself."""
    chunks = [*thoughts(2), Chunk("7", thinking="2")]
    assert run([chunks], 3) == (chunks, False)


def test_until_content() -> None:
    """A piece that ends the thinking gives that away, and not its content."""
    passed: list[Chunk] = []

    async def emit(chunks: list[Chunk]) -> None:
        passed.extend(chunks)

    async def feed() -> None:
        await ThinkingRun(emit).until_content([Chunk(thinking="a"), Chunk("c", thinking="b")])

    with pytest.raises(ThinkingEndedError):
        asyncio.run(feed())
    assert passed == [Chunk(thinking="a"), Chunk(thinking="b")]


def test_one_call_at_most() -> None:
    """Of several calls, in one piece or in many, the first."""
    passed: list[Chunk] = []

    async def emit(chunks: list[Chunk]) -> None:
        passed.extend(chunks)

    async def feed() -> None:
        bounded = first_call_only(emit)
        await bounded([Chunk("a"), Chunk(tool_calls=(ToolCall("f", {}), ToolCall("g", {})))])
        await bounded([Chunk("b", tool_calls=(ToolCall("h", {}),)), Chunk(done=True)])

    asyncio.run(feed())
    assert [call.name for chunk in passed for call in chunk.tool_calls] == ["f"]
    assert "".join(chunk.content for chunk in passed) == "ab"
    assert passed[-1].done


def test_closed_thinking() -> None:
    """The tag is written unless the prompt ends with it."""
    replies = Replies(None, ("<think>", "</think>"), "{")
    assert replies.closed_thinking("q\n", "a ") == "q\n<think>\na\n</think>\n\n"
    assert replies.closed_thinking("q<think>\n", "a") == "q<think>\na\n</think>\n\n"


def test_counts_of_two_runs() -> None:
    """All that follows the first prompt is the reply."""
    final = Chunk(done=True, metrics=GenerationMetrics(prompt_eval_count=30, eval_count=5, cached_count=28))
    metrics = counted_whole(final, 20).metrics
    assert metrics == GenerationMetrics(prompt_eval_count=20, eval_count=15, cached_count=20)


@pytest.fixture(scope="module")
def tiny(server: Server) -> Server:
    assert server.stream("/api/pull", {"model": "corral-tiny"})[-1] == {"status": "success"}
    return server


def ask(server: Server, budget: int, **fields: Any) -> Any:
    body = {
        "model": "corral-tiny",
        "max_tokens": 200,
        "temperature": 0,
        "thinking": {"type": "enabled", "budget_tokens": budget},
        "messages": [{"role": "user", "content": QUESTION}],
        **fields,
    }
    return server.post("/v1/messages", body)


def test_the_model_answers_when_its_budget_is_used_up(tiny: Server) -> None:
    """Its thinking is the beginning of what it would have been; the counts are those of one reply."""
    free = ask(tiny, 1000)
    bound = ask(tiny, 3)
    assert [block["type"] for block in bound["content"]] == ["thinking", "text"]
    thought = bound["content"][0]["thinking"]
    assert free["content"][0]["thinking"].startswith(thought)
    assert len(thought) < len(free["content"][0]["thinking"])
    assert bound["content"][1]["text"].strip()
    assert "<think>" not in bound["content"][1]["text"]
    assert "</think>" not in bound["content"][1]["text"]
    assert bound["stop_reason"] == "end_turn"
    assert bound["usage"]["input_tokens"] == free["usage"]["input_tokens"]
    assert 4 < bound["usage"]["output_tokens"] < 60


def test_a_budget_with_a_schema(tiny: Server) -> None:
    """The answer has the form asked for."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    answer = ask(tiny, 3, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert [block["type"] for block in answer["content"]] == ["thinking", "text"]
    assert isinstance(json.loads(answer["content"][1]["text"])["n"], int)


def test_a_budget_with_a_tool(tiny: Server) -> None:
    """The tool is still called."""
    tool = {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city"}},
            "required": ["city"],
        },
    }
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    answer = ask(tiny, 2, tools=[tool], messages=messages)
    calls = [block["input"] for block in answer["content"] if block["type"] == "tool_use"]
    assert calls == [{"city": "Paris"}]


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
NAMED = {"name": "n", "schema": SCHEMA}


def test_a_schema_after_thinking_on_every_surface(tiny: Server) -> None:
    """The same thinking and an answer of the schema, and the prompt is counted as it was sent."""
    messages = [{"role": "user", "content": QUESTION}]
    body = {"model": "corral-tiny", "messages": messages, "temperature": 0, "stream": False}
    native = {**body, "options": {"temperature": 0}}
    free = tiny.post("/api/chat", native)
    found = tiny.post("/api/chat", {**native, "format": SCHEMA})
    assert found["message"]["thinking"] == free["message"]["thinking"]
    text, thinking = found["message"]["content"], found["message"]["thinking"]
    assert isinstance(json.loads(text)["n"], int)
    assert found["prompt_eval_count"] == free["prompt_eval_count"]

    parts = tiny.stream("/api/chat", {**native, "stream": True, "format": SCHEMA})
    assert "".join(part["message"].get("thinking", "") for part in parts) == thinking
    assert "".join(part["message"]["content"] for part in parts) == text
    kinds = ["thinking" if part["message"].get("thinking") else "content" for part in parts[:-1]]
    assert kinds == sorted(kinds, reverse=True)

    answer = tiny.post(
        "/v1/chat/completions", {**body, "response_format": {"type": "json_schema", "json_schema": NAMED}}
    )
    said = answer["choices"][0]["message"]
    assert (said["reasoning"], said["content"]) == (thinking, text)
    assert answer["usage"]["prompt_tokens"] == found["prompt_eval_count"]
    assert answer["usage"]["completion_tokens"] == found["eval_count"]

    form = {"format": {"type": "json_schema", **NAMED}}
    answer = tiny.post("/v1/responses", {**body, "messages": None, "input": QUESTION, "text": form})
    reasoning, said = answer["output"]
    assert reasoning["summary"][0]["text"] == thinking
    assert said["content"][0]["text"] == text

    answer = ask(tiny, 1000, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    assert [block.get("thinking", block.get("text")) for block in answer["content"]] == [thinking, text]
    assert answer["usage"]["output_tokens"] == found["eval_count"]
