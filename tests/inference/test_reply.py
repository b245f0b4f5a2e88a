"""What an engine is asked for one reply, and what is made of its answer, for each kind of chat."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from corral.inference.completion import Stopwatch
from corral.inference.generation import Turn, chat_prompt
from corral.inference.profile import ModelProfile
from corral.inference.prompting import Prompt, chat_messages
from corral.inference.reply import chat_reply, complete
from corral.inference.requests import InferenceOptions
from corral.runner.interface import CompletionRequest, Final, Piece, Runner, RunnerFacts, RunnerSpec
from corral.types import Chunk, Message, SamplingOptions, Think, Tool, ToolFunction, ToolParameters
from tests.inference.test_chats import profile

FACTS = RunnerFacts(4096, "<s>", "</s>", 1, 2, adds_bos=True, adds_eos=True, media_marker="<M>")
FINAL = Final("stop", 3, 0, 5, 2, 7)
USER = Message("user", "q")
TALK = (
    "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}{{ end }}"
    "{{ if .Tools }}{{ range .Messages }}{{ if .ToolCalls }}<tool_call>{{ . }}{{ end }}{{ end }}{{ end }}"
)
TOOLS = (Tool("function", None, ToolFunction("get", "", ToolParameters("object", properties={}))),)


class RecordingRunner:
    """Gives out one recorded reply after the other, a piece a letter, and keeps the requests. A token is a letter."""

    spec = RunnerSpec(Path("w"), "w")
    facts = FACTS

    def __init__(self, *replies: str, num_ctx: int = 4096) -> None:
        self.facts = dataclasses.replace(FACTS, num_ctx=num_ctx)
        self.requests: list[CompletionRequest] = []
        self._replies = list(replies)

    @asynccontextmanager
    async def complete(self, request: CompletionRequest) -> AsyncIterator[AsyncIterator[list[Piece]]]:
        self.requests.append(request)
        reply = self._replies.pop(0)

        async def batches() -> AsyncIterator[list[Piece]]:
            for char in reply:
                yield [Piece(char)]
            yield [Piece("", final=FINAL)]

        yield batches()

    async def tokenize(self, text: str, *, add_special: bool = False) -> Sequence[int]:
        return [ord(char) for char in text]


def turn(found: ModelProfile, runner: RecordingRunner, think: Think = None, **common: Any) -> Turn:
    sampling = SamplingOptions(num_predict=common.pop("num_predict", 5))
    options = InferenceOptions("m", **common)
    return Turn(found, options, cast(Runner, runner), sampling, think, True, Stopwatch())


def reply_to(
    asked: Turn, messages: Sequence[Message], tools: Sequence[Tool] = (), choice: str = "auto"
) -> Chunk:
    """A chat's reply, all chunks as one."""
    chunks: list[Chunk] = []

    async def emit(new: list[Chunk]) -> None:
        chunks.extend(new)

    async def run() -> Chunk | None:
        shown = chat_messages(asked.profile, messages)
        prompt = await chat_prompt(asked, shown, tools)
        return await chat_reply(asked, prompt, shown, tools, choice, emit)

    if (final := asyncio.run(run())) is not None:
        chunks.append(final)
    return Chunk(
        "".join(chunk.content for chunk in chunks),
        "".join(chunk.thinking for chunk in chunks),
        tuple(call for chunk in chunks for call in chunk.tool_calls),
    )


def generated(asked: Turn, text: str) -> list[Chunk]:
    """The chunks of a generate, but the last."""
    chunks: list[Chunk] = []

    async def emit(new: list[Chunk]) -> None:
        chunks.extend(new)

    asyncio.run(complete(asked, Prompt(text), (), None, asked.think, emit, True))
    return chunks


BUILT_IN = profile(renderer="qwen3.5", parser="qwen3.5")
GO = profile(template=TALK)
JINJA = profile("jinja-tools")
HARMONY = profile(
    template="<|start|>{{ range .Messages }}{{ .Thinking }}{{ .Content }}{{ end }}<|end|>", family="gptoss"
)


@pytest.mark.parametrize(("found", "sent"), [(BUILT_IN, -1), (GO, -1), (JINJA, 1)], ids=["r", "go", "j"])
def test_no_tokens_at_all(found: ModelProfile, sent: int) -> None:
    """0 is no bound for prompts that Ollama makes, and one token on the engine's own chat route."""
    runner = RecordingRunner("x")
    reply_to(turn(found, runner, False, num_predict=0), [USER])
    assert runner.requests[0].sampling.num_predict == sent


@pytest.mark.parametrize(("found", "count"), [(BUILT_IN, 101), (GO, 101), (JINJA, 500)], ids=["r", "go", "j"])
def test_repetition(found: ModelProfile, count: int) -> None:
    """It ends a reply, unless the engine's own chat route made it."""
    runner = RecordingRunner("x" * 500)
    assert len(reply_to(turn(found, runner, False), [USER]).content) == count


@pytest.mark.parametrize(("found", "is_cut"), [(BUILT_IN, True), (GO, True), (JINJA, False)])
def test_a_prompt_that_is_too_long(found: ModelProfile, is_cut: bool) -> None:
    """It is cut token by token, or left to the engine to refuse."""
    runner = RecordingRunner("x", num_ctx=300)
    reply_to(turn(found, runner, False), [Message("user", "long " * 200)])
    prompt = runner.requests[0].prompt
    assert isinstance(prompt, list) == is_cut
    assert (len(prompt) < 300) == is_cut


def test_tokens_at_the_ends() -> None:
    """A BOS that the tokenizer adds goes; an EOS only from a template in the weights."""
    for found, text in ((GO, "q</s>"), (JINJA, "q")):
        runner = RecordingRunner("x")
        generated(turn(found, runner), "<s>q</s>")
        assert runner.requests[0].prompt == text


@pytest.mark.parametrize(("found", "empty_count"), [(BUILT_IN, 0), (GO, 15)], ids=["r", "go"])
def test_empty_lines_of_a_generate(found: ModelProfile, empty_count: int) -> None:
    """One for every token that the thinking parser holds back, unless the family's parser reads the reply."""
    runner = RecordingRunner("<think>a</think>b")
    chunks = generated(turn(found, runner, True), "q")
    assert [chunk.content or chunk.thinking for chunk in chunks if chunk.content or chunk.thinking][-1] == "b"
    assert sum(not (chunk.content or chunk.thinking) for chunk in chunks) == empty_count


def test_tokens_that_have_to_show() -> None:
    """Those that the reader of this reply looks for."""
    for found, tools, tokens in (
        (BUILT_IN, (), {"<think>", "</think>", "<tool_call>", "</tool_call>"}),
        (GO, (), {"<think>", "</think>"}),
        (GO, TOOLS, {"<think>", "</think>", "<tool_call>"}),
        (JINJA, TOOLS, {"<think>", "</think>", "<tool_call>", "</tool_call>"}),
    ):
        runner = RecordingRunner("x")
        reply_to(turn(found, runner, False), [USER], tools)
        assert set(runner.requests[0].preserved_tokens) == tokens


def test_calls_that_must_not_come() -> None:
    """Only a family's parser reads calls without being asked to: a grammar forbids them."""
    for found, is_bound in ((BUILT_IN, True), (GO, False), (JINJA, False)):
        runner = RecordingRunner("x")
        reply_to(turn(found, runner, False), [USER], choice="none")
        assert bool(runner.requests[0].grammar) == is_bound


def test_a_call() -> None:
    """Read in the form of the template's tag."""
    runner = RecordingRunner('<tool_call>{"name": "get", "arguments": {}}</tool_call>')
    found = reply_to(turn(GO, runner, False), [USER], TOOLS)
    assert [call.name for call in found.tool_calls] == ["get"]
    assert found.content == ""


def test_an_answer_after_thinking() -> None:
    """A format does not bind the thinking; harmony's answer begins with a header that we write."""
    answer = HARMONY.chat.quirks.answer_start
    runner = RecordingRunner(
        "<|channel|>analysis<|message|>t<|end|><|start|>assistant<|channel|>final<|message|>x", "{}"
    )
    found = reply_to(turn(HARMONY, runner, "high", format='"json"'), [USER])
    first, second = runner.requests
    assert first.grammar == "" and second.grammar != ""
    assert second.prompt == f"<|start|>qt<|end|>{answer}"
    assert (found.thinking, found.content) == ("t", "{}")


def test_a_budget_of_thinking() -> None:
    """Tags of a template are closed in the prompt; a family's own are rendered again."""
    runner = RecordingRunner("<think>abcdef</think>x", "y")
    found = reply_to(turn(GO, runner, True, think_budget=3), [USER])
    assert [request.prompt for request in runner.requests] == ["q", "q<think>\nabc\n</think>\n\n"]
    assert (found.thinking, found.content) == ("abc", "y")
    runner = RecordingRunner("abcdef</think>x", "y")
    found = reply_to(turn(BUILT_IN, runner, True, think_budget=3), [USER])
    assert str(runner.requests[1].prompt).endswith("<think>\nabc\n</think>\n\n")
    assert (found.thinking, found.content) == ("abc", "y")


def test_one_run() -> None:
    """A reply without a format or a budget is one run."""
    runner = RecordingRunner("x")
    assert reply_to(turn(BUILT_IN, runner, True), [USER]).thinking == "x"
    assert len(runner.requests) == 1
