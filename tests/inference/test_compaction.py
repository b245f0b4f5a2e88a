"""Conversations that become summaries: in one step, or in as many as the context needs."""

from __future__ import annotations

import asyncio

import pytest

from corral.errors import ContextOverflowError
from corral.inference.compaction import summarise, transcript_of
from corral.inference.requests import ChatRequest, Emit, Immediate, InferenceOptions
from corral.types import Chunk, GenerationMetrics, Message, ToolCall

CONVERSATION = [
    Message("system", "Be brief."),
    Message("user", "What is the weather?", images=(b"x",)),
    Message("assistant", "I will look.", thinking="Hm", tool_calls=(ToolCall("weather", {"city": "Åre"}),)),
    Message("tool", "sunny", tool_name="weather"),
]


class FakeModel:
    """Has a context of some letters; its summary of a part is what it was shown, as a number."""

    def __init__(self, context: int, *, says: bool = True) -> None:
        self.context = context
        self.says = says
        self.shown: list[str] = []

    async def chat(self, request: ChatRequest, emit: Emit) -> Immediate | None:
        (message,) = request.messages
        if len(message.content) > self.context:
            counts = {"prompt_count": len(message.content), "num_ctx": self.context} if self.says else {}
            raise ContextOverflowError("too long", **counts)
        assert request.common.truncate is False
        assert request.common.think is False
        assert (request.common.options or {})["temperature"] == 0
        self.shown.append(message.content)
        metrics = GenerationMetrics(prompt_eval_count=10, eval_count=2, cached_count=1)
        await emit([Chunk(f" part {len(self.shown)} "), Chunk(done=True, metrics=metrics)])
        return None


def test_transcript() -> None:
    """Everything that was said and done, and nothing that was only thought."""
    assert transcript_of(CONVERSATION) == (
        "[system] Be brief.\n\n[user] What is the weather?\n\n[user] (1 images)\n\n[assistant] I will look.\n\n"
        '[assistant calls weather] {"city": "Åre"}\n\n[tool (weather)] sunny'
    )


def test_one_step() -> None:
    """A conversation that fits is shown once."""
    model = FakeModel(10_000)
    summary = asyncio.run(
        summarise(model.chat, InferenceOptions("m", options={"temperature": 1.0}), CONVERSATION)
    )
    assert summary.text == "part 1"
    assert summary.metrics == GenerationMetrics(prompt_eval_count=10, eval_count=2, cached_count=1)
    assert "sunny" in model.shown[0]


@pytest.mark.parametrize("says", [True, False])
def test_several_steps(says: bool) -> None:
    """One that does not is read in parts, each with the summary so far, also where no error says how much fits."""
    model = FakeModel(3000, says=says)
    long = [Message("user", f"line {i} " + "x" * 90) for i in range(100)]
    summary = asyncio.run(summarise(model.chat, InferenceOptions("m"), long))
    assert summary.text == f"part {len(model.shown)}"
    assert len(model.shown) > 3
    assert all(f"line {i} " in "".join(model.shown) for i in (0, 50, 99))
    assert f"part {len(model.shown) - 1}" in model.shown[-1]
    assert summary.metrics.prompt_eval_count == 10 * len(model.shown)


def test_a_context_for_nothing() -> None:
    """The error, and an end."""
    with pytest.raises(ContextOverflowError):
        asyncio.run(summarise(FakeModel(100).chat, InferenceOptions("m"), CONVERSATION))


def test_a_conversation_without_end() -> None:
    """Of one that would take hundreds of steps the newest part counts."""
    model = FakeModel(1500)
    long = [Message("user", f"line {i} " + "x" * 990) for i in range(1000)]
    asyncio.run(summarise(model.chat, InferenceOptions("m"), long))
    assert len(model.shown) <= 64
    assert "line 999 " in "".join(model.shown[-3:])
