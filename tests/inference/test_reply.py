"""What an engine is asked for one reply, and what is made of its answer, for each kind of chat."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from corral import deadline
from corral.chat.families.known import find_parser
from corral.chat.templates.jinja import ChatTemplate
from corral.errors import ContextOverflowError
from corral.inference.chats import JinjaChat
from corral.inference.completion import Stopwatch
from corral.inference.generation import Turn, chat_prompt
from corral.inference.profile import ModelProfile
from corral.inference.prompting import Prompt, chat_messages
from corral.inference.reply import chat_reply, complete
from corral.inference.reply_parser import Replies
from corral.inference.requests import InferenceOptions
from corral.runner.interface import CompletionRequest, Final, Piece, Runner, RunnerFacts, RunnerSpec
from corral.types import Chunk, Message, SamplingOptions, Think, Tool, ToolFunction, ToolParameters
from tests.inference.test_chats import profile

FACTS = RunnerFacts(4096, "<s>", "</s>", 1, 2, adds_bos=True, adds_eos=True, media_marker="<M>")
FINAL = Final("stop", 3, 0, 5, 2, 7)
STOPPED = dataclasses.replace(FINAL, stopping_word="\n\n")
CUT = dataclasses.replace(FINAL, reason="length")
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

    def __init__(self, *replies: str, num_ctx: int = 4096, finals: Sequence[Final] = ()) -> None:
        self.facts = dataclasses.replace(FACTS, num_ctx=num_ctx)
        self.requests: list[CompletionRequest] = []
        self._replies = list(replies)
        self._finals = list(finals)

    @asynccontextmanager
    async def complete(self, request: CompletionRequest) -> AsyncIterator[AsyncIterator[list[Piece]]]:
        self.requests.append(request)
        reply = self._replies.pop(0)
        final = self._finals.pop(0) if self._finals else FINAL

        async def batches() -> AsyncIterator[list[Piece]]:
            for i, char in enumerate(reply):
                so_far = Final("length", 3, 1, 5, i + 1, i + 1) if request.wants_counts else None
                yield [Piece(char, so_far=so_far)]
            yield [Piece("", final=final)]

        yield batches()

    async def tokenize(self, text: str, *, add_special: bool = False) -> Sequence[int]:
        return [ord(char) for char in text]


def turn(found: ModelProfile, runner: RecordingRunner, think: Think = None, **common: Any) -> Turn:
    sampling = SamplingOptions(num_predict=common.pop("num_predict", -1))
    options = InferenceOptions("m", **common)
    return Turn(found, options, cast(Runner, runner), sampling, think, True, Stopwatch())


def reply_to(
    asked: Turn,
    messages: Sequence[Message],
    tools: Sequence[Tool] = (),
    choice: str = "auto",
    limit_s: float = 3600,
) -> Chunk:
    """A chat's reply, all chunks as one."""
    chunks: list[Chunk] = []

    async def emit(new: list[Chunk]) -> None:
        chunks.extend(new)

    async def run() -> Chunk | None:
        deadline.tighten(limit_s)
        shown = chat_messages(asked.profile, messages)
        prompt = await chat_prompt(asked, shown, tools)
        return await chat_reply(asked, prompt, shown, tools, choice, emit)

    if (final := asyncio.run(run())) is not None:
        chunks.append(final)
    return Chunk(
        "".join(chunk.content for chunk in chunks),
        "".join(chunk.thinking for chunk in chunks),
        tuple(call for chunk in chunks for call in chunk.tool_calls),
        done_reason=chunks[-1].done_reason,
        metrics=chunks[-1].metrics,
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


JSON = '"json"'
CALL = '<tool_call>\n{"name": "get", "arguments": {}}\n</tool_call>'
SPECIAL = '{"a": "<tool_call><think></think>"}'


@pytest.mark.parametrize(
    ("found", "said", "thinking", "content"),
    [
        (BUILT_IN, "t\n</think>\n\n{}", "t", "{}"),
        (BUILT_IN, f"t</think>{SPECIAL}", "t", SPECIAL),
        (GO, "<think>t</think>\n{}", "t", "{}"),
        (GO, "{}", "", "{}"),  # no thinking at all
        (GO, f"<think>t</think>{SPECIAL}", "t", SPECIAL),
    ],
)
def test_thinking_and_a_bound_answer_in_one_run(
    found: ModelProfile, said: str, thinking: str, content: str
) -> None:
    """A grammar of the whole reply. What stands in the answer is text."""
    runner = RecordingRunner(said)
    reply = reply_to(turn(found, runner, True, format=JSON), [USER])
    assert (reply.thinking, reply.content, reply.tool_calls) == (thinking, content, ())
    (request,) = runner.requests
    assert "</think>" in request.grammar
    assert request.sampling.num_predict == -1
    assert not request.wants_counts
    assert reply.metrics is not None
    assert (reply.metrics.prompt_eval_count, reply.metrics.eval_count) == (3, 2)


@pytest.mark.parametrize("grammar", ['root ::= "yes"', 'root ::= "\\n" "yes"'])
def test_a_grammar_of_the_client_after_thinking(grammar: str) -> None:
    """Line breaks belong to the answer if they may."""
    runner = RecordingRunner("t</think>\nyes")
    reply = reply_to(turn(BUILT_IN, runner, True, grammar=grammar), [USER])
    assert (reply.thinking, reply.content) == ("t", "\nyes" if "n" in grammar[:14] else "yes")
    assert len(runner.requests) == 1


def test_a_grammar_that_begins_like_thinking() -> None:
    """Only a second run can tell the two apart."""
    grammar = 'root ::= "<think>" | "yes"'
    runner = RecordingRunner("<think>t</think>x", "<think>")
    reply = reply_to(turn(GO, runner, True, grammar=grammar), [USER])
    assert [request.grammar for request in runner.requests] == ["", grammar]
    assert (reply.thinking, reply.content) == ("t", "<think>")


@pytest.mark.parametrize("found", [BUILT_IN, GO], ids=["r", "go"])
@pytest.mark.parametrize(
    ("said", "final"),
    [
        ("t", FINAL),  # the end of the reply
        ("t", STOPPED),
        ("t", CUT),
        ("t</think>", STOPPED),
        ("t</think>\n", CUT),
        ("t</think", FINAL),
    ],
)
def test_thinking_without_an_answer(found: ModelProfile, said: str, final: Final) -> None:
    """The answer follows in a run of its own; the counts are those of one reply."""
    runner = RecordingRunner(said if found is BUILT_IN else f"<think>{said}", "{}", finals=[final, FINAL])
    reply = reply_to(turn(found, runner, True, format=JSON), [USER])
    assert (reply.thinking.partition("<")[0], reply.content) == ("t", "{}")
    first, second = runner.requests
    assert "</think>" in first.grammar
    assert "</think>" not in second.grammar
    assert second.grammar
    assert str(second.prompt).count("<think>") == 1
    assert reply.done_reason == "stop"
    assert reply.metrics is not None
    assert reply.metrics.prompt_eval_count == 3
    assert reply.metrics.eval_duration_ns == 14


def test_an_empty_answer() -> None:
    """Where the grammar allows it, it is one."""
    runner = RecordingRunner("t</think>\n")
    reply = reply_to(turn(BUILT_IN, runner, True, grammar='root ::= "yes"?'), [USER])
    assert (reply.thinking, reply.content) == ("t", "")
    assert len(runner.requests) == 1


def test_thinking_that_fills_the_context() -> None:
    """What there is of it is the reply, once."""

    class Full(RecordingRunner):
        @asynccontextmanager
        async def complete(self, request: CompletionRequest) -> AsyncIterator[AsyncIterator[list[Piece]]]:
            if self.requests:
                raise ContextOverflowError("too long", prompt_count=9, num_ctx=8)
            async with super().complete(request) as batches:
                yield batches

    reply = reply_to(turn(GO, Full("<think>t </thi", finals=[CUT]), True, format=JSON), [USER])
    assert (reply.thinking, reply.content, reply.done_reason) == ("t </thi", "", "length")


class Hanging(RecordingRunner):
    """The runs from the given one on say what they have to, but not that it is the end, for two hours."""

    def __init__(self, *replies: str, hangs_from: int) -> None:
        super().__init__(*replies)
        self.hangs_from = hangs_from

    @asynccontextmanager
    async def complete(self, request: CompletionRequest) -> AsyncIterator[AsyncIterator[list[Piece]]]:
        async def without_end(batches: AsyncIterator[list[Piece]]) -> AsyncIterator[list[Piece]]:
            async for pieces in batches:
                if pieces[-1].final is not None:
                    await let_hours_pass()
                yield pieces

        async with super().complete(request) as batches:
            yield without_end(batches) if len(self.requests) > self.hangs_from else batches


async def let_hours_pass() -> None:
    loop = asyncio.get_running_loop()
    then_s = loop.time() + 7200
    loop.time = lambda: then_s  # type: ignore[method-assign]
    await asyncio.Event().wait()


@pytest.mark.parametrize("found", [BUILT_IN, GO], ids=["r", "go"])
def test_a_deadline_while_a_model_thinks(found: ModelProfile) -> None:
    """The thinking is the reply: there is no time for an answer."""
    runner = Hanging("t" if found is BUILT_IN else "<think>t", hangs_from=0)
    reply = reply_to(turn(found, runner, True, format=JSON), [USER])
    assert (reply.thinking, reply.content, reply.done_reason) == ("t", "", "deadline")
    assert len(runner.requests) == 1


def test_a_deadline_in_the_answer_after_thinking() -> None:
    runner = Hanging("t", "{", hangs_from=1)
    reply = reply_to(turn(BUILT_IN, runner, True, format=JSON), [USER])
    assert (reply.thinking, reply.content, reply.done_reason) == ("t", "{", "deadline")
    assert reply.metrics is not None and reply.metrics.eval_count >= 1


def test_a_deadline_before_the_answer_after_thinking() -> None:
    """The engine had not begun with the answer: what was thought is the reply, and no error in the middle of it."""

    class Busy(RecordingRunner):
        @asynccontextmanager
        async def complete(self, request: CompletionRequest) -> AsyncIterator[AsyncIterator[list[Piece]]]:
            if self.requests:
                await let_hours_pass()
            async with super().complete(request) as batches:
                yield batches

    reply = reply_to(turn(BUILT_IN, Busy("t"), True, format=JSON), [USER])
    assert (reply.thinking, reply.content, reply.done_reason) == ("t", "", "deadline")


def test_num_predict_of_thinking_and_of_the_answer() -> None:
    """Each has the whole of it."""
    text = "x" * 50
    runner = RecordingRunner(f'<think>{"t" * 9}</think>"{text}')
    reply = reply_to(turn(GO, runner, True, format=JSON, num_predict=30), [USER])
    assert (reply.thinking, reply.content, reply.done_reason) == ("t" * 9, f'"{text[:29]}', "length")
    (request,) = runner.requests
    assert request.sampling.num_predict == 60
    assert request.wants_counts
    assert reply.metrics is not None
    assert (reply.metrics.eval_count, reply.metrics.eval_duration_ns) == (54, 54)
    runner = RecordingRunner(f"<think>{text}</think>x", '"a"')
    reply = reply_to(turn(GO, runner, True, format=JSON, num_predict=30), [USER])
    assert (reply.thinking, reply.content) == (text[:23], '"a"')
    assert runner.requests[1].sampling.num_predict == 30


def test_calls_and_a_format_after_thinking() -> None:
    """Either of the two, in one run."""
    for found, before in ((BUILT_IN, ""), (GO, "<think>")):
        for said, content, names in ((CALL, "", ["get"]), ("{}", "{}", []), (SPECIAL, SPECIAL, [])):
            runner = RecordingRunner(f"{before}t</think>\n\n{said}")
            reply = reply_to(turn(found, runner, True, format=JSON), [USER], TOOLS)
            assert (reply.thinking, reply.content) == ("t", content)
            assert [call.name for call in reply.tool_calls] == names
            (request,) = runner.requests
            assert "get" in request.grammar


def test_a_reply_that_the_client_has_begun() -> None:
    """Its family goes on with the answer: nothing but that may come."""
    runner = RecordingRunner("{}")
    messages = [USER, Message("assistant", "so: ")]
    reply = reply_to(turn(BUILT_IN, runner, True, format=JSON), messages)
    assert (reply.thinking, reply.content) == ("", "{}")
    (request,) = runner.requests
    assert "think" not in request.grammar


def test_a_budget_of_thinking_before_a_format() -> None:
    """The answer is bound, also where the budget ended the thinking."""
    runner = RecordingRunner("<think>ab</think>{}")
    reply = reply_to(turn(GO, runner, True, format=JSON, think_budget=3), [USER])
    assert (reply.thinking, reply.content, len(runner.requests)) == ("ab", "{}", 1)
    runner = RecordingRunner("<think>abcdef</think>{}", "[]")
    reply = reply_to(turn(GO, runner, True, format=JSON, think_budget=3), [USER])
    assert (reply.thinking, reply.content, len(runner.requests)) == ("abc", "[]", 2)


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


def in_weights(parser: str | None) -> ModelProfile:
    """A model whose template in the weights shows no thinking, of the family of that parser."""
    template = ChatTemplate.parse("{% for m in messages %}{{ m.content }}{% endfor %}<a>")
    replies = Replies(None if parser is None else find_parser(parser), ("<think>", "</think>"), "{")
    chat = JinjaChat(template, replies, JINJA.chat.quirks, "m", {}, template_in_weights="x")
    return dataclasses.replace(GO, chat=chat)


@pytest.mark.parametrize(
    ("parser", "said", "closed", "start"),
    [
        (None, "<think>abc", "<think>\nabc\n</think>\n\n", ""),
        ("deepseek3", "abc", "<think>\nabc\n</think>\n\n", ""),
        ("cohere", "abc", "<|START_THINKING|>abc<|END_THINKING|>", "<|START_TEXT|>"),
        (
            "harmony",
            "<|channel|>analysis<|message|>abc",
            "<|channel|>analysis<|message|>abc<|end|><|start|>assistant",
            "<|channel|>final<|message|>",
        ),
    ],
)
def test_a_second_run_of_a_template_in_the_weights(
    parser: str | None, said: str, closed: str, start: str
) -> None:
    """It goes on after the thinking, which such templates would not show."""
    for common, second in (
        ({"format": JSON}, f"q<a>{closed}{start}"),
        ({"think_budget": 3}, f"q<a>{closed}"),
    ):
        runner = RecordingRunner(said, "{}")
        reply = reply_to(turn(in_weights(parser), runner, True, **common), [USER])
        assert [request.prompt for request in runner.requests] == ["q<a>", second]
        assert (reply.thinking, reply.content) == ("abc", "{}")


def test_one_run() -> None:
    """A reply without a format or a budget is one run."""
    runner = RecordingRunner("x")
    assert reply_to(turn(BUILT_IN, runner, True), [USER]).thinking == "x"
    assert len(runner.requests) == 1
