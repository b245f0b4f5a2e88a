"""What the pipeline does with a request, from the model's name to the last chunk, without a process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from corral.errors import (
    CapabilityError,
    ContextOverflowError,
    CorralError,
    EngineError,
    InvalidRequestError,
    ModelNotFoundError,
    OptionError,
)
from corral.inference.requests import (
    ChatRequest,
    EmbedRequest,
    GenerateRequest,
    Immediate,
    InferenceOptions,
    TokensRequest,
)
from corral.types import Message, Tool, ToolFunction, ToolParameters, ToolProperty
from tests.inference.recording import Recording

CHAT = "{{ range .Messages }}<{{ .Role }}>{{ .Content }}{{ end }}<assistant>"
THINKING = (
    "{{ range .Messages }}<{{ .Role }}>{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}"
    "{{ end }}<assistant>{{ if .IsThinkSet }}{{ if not .Think }}<think></think>{{ end }}{{ end }}"
)
TOOLS = (
    "{{ if .Tools }}{{ range .Tools }}{{ . }}{{ end }}{{ end }}{{ range .Messages }}<{{ .Role }}>{{ .Content }}"
    "{{ if .ToolCalls }}<tool_call>{{ range .ToolCalls }}"
    '{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}{{ end }}</tool_call>'
    "{{ end }}{{ end }}<assistant>"
)
WEATHER = Tool(
    "function",
    None,
    ToolFunction(
        "weather", "", ToolParameters("object", properties={"city": ToolProperty(types=("string",))})
    ),
)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    made = Recording(tmp_path / "models")
    made.add("plain", "tiny-notmpl.gguf", template=CHAT, system="Be brief.", params={"temperature": 0.5})
    made.add("thinks", "tiny-notmpl.gguf", template=THINKING)
    made.add("tools", "tiny-notmpl.gguf", template=TOOLS)
    made.add("fills", "tiny-notmpl.gguf", template="<pre>{{ .Prompt }}<suf>{{ .Suffix }}<mid>")
    made.add("embeds", "embed.gguf")
    return made


def user(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def chat(recording: Recording, model: str, text: str = "Hi", **fields: Any) -> Immediate | None:
    common = {
        name: fields.pop(name) for name in list(fields) if name in InferenceOptions.__dataclass_fields__
    }
    messages = fields.pop("messages", user(text))
    request = ChatRequest(InferenceOptions(model, **common), messages, **fields)
    return recording.run(lambda inference: inference.chat(request, recording.emit))


def generate(recording: Recording, model: str, prompt: str = "Hi", **fields: Any) -> Immediate | None:
    common = {
        name: fields.pop(name) for name in list(fields) if name in InferenceOptions.__dataclass_fields__
    }
    request = GenerateRequest(InferenceOptions(model, **common), prompt, **fields)
    return recording.run(lambda inference: inference.generate(request, recording.emit))


def test_a_chat(recording: Recording) -> None:
    """The model's system text and options go along; the last chunk has the counts."""
    recording.replies = ["Good morning to you"]
    assert chat(recording, "plain") is None
    assert recording.prompts == ["<system>Be brief.<user>Hi<assistant>"]
    (runner,) = recording.runners
    assert runner.requests[0].sampling.temperature == 0.5
    assert recording.text == "Good morning to you"
    last = recording.emitted[-1]
    assert (last.done, last.done_reason) == (True, "stop")
    assert last.metrics is not None
    assert last.metrics.eval_count == 4
    assert not any(chunk.done for chunk in recording.emitted[:-1])
    assert runner.is_closed  # with the scheduler


def test_options_of_the_request_win(recording: Recording) -> None:
    """Over those of the model; what is wrong is said before anything is loaded."""
    recording.replies = ["a"]
    chat(recording, "plain", options={"temperature": 1.5, "num_ctx": 512, "seed": 7})
    (runner,) = recording.runners
    assert (runner.spec.num_ctx, runner.requests[0].sampling.seed) == (512, 7)
    assert runner.requests[0].sampling.temperature == 1.5
    with pytest.raises(OptionError, match="temperature"):
        chat(recording, "plain", options={"temperature": "hot"})
    assert len(recording.runners) == 1


@pytest.mark.parametrize(
    ("model", "fields", "error", "text"),
    [
        ("nobody", {}, ModelNotFoundError, "nobody"),
        ("plain", {"tools": (WEATHER,)}, CapabilityError, "does not support tools"),
        ("plain", {"think": True}, CapabilityError, "does not support thinking"),
        ("plain", {"top_logprobs": 21}, InvalidRequestError, "between 0 and 20"),
        ("plain", {"format": '"yaml"'}, InvalidRequestError, "format"),
        ("embeds", {}, CapabilityError, "does not support chat"),
        ("plain", {"grammar": "root ::= x"}, InvalidRequestError, "grammar"),
    ],
)
def test_refusals_cost_no_run(
    recording: Recording, model: str, fields: dict[str, Any], error: type[CorralError], text: str
) -> None:
    """What cannot be done is refused with a reason before the engine is asked."""
    with pytest.raises(error, match=text):
        chat(recording, model, **fields)
    assert recording.prompts == []


def test_loading_and_unloading(recording: Recording) -> None:
    """No message loads a model; with a keep-alive of nothing it is unloaded, or never loaded."""
    assert chat(recording, "plain", messages=()) == Immediate("load")
    assert chat(recording, "plain", messages=(), keep_alive_ns=0) == Immediate("unload")
    assert len(recording.runners) == 1


def test_thinking_is_parted_from_the_answer(recording: Recording) -> None:
    """By the tags of the template; told not to, the prompt says so."""
    recording.replies = ["<think>hm well</think>It is four.", "four"]
    chat(recording, "thinks", "2+2?")
    assert (recording.thinking, recording.text) == ("hm well", "It is four.")
    recording.emitted.clear()
    chat(recording, "thinks", "2+2?", think=False)
    assert recording.prompts[-1].endswith("<assistant><think></think>")
    assert (recording.thinking, recording.text) == ("", "four")


def test_a_format_binds_the_answer_not_the_thinking(recording: Recording) -> None:
    """One run, in which free thinking is followed by the answer, held to the schema."""
    recording.replies = ['<think>one and one</think>{"n": 2}']
    chat(recording, "thinks", "1+1?", format='{"type": "object", "properties": {"n": {"type": "integer"}}}')
    (request,) = recording.runners[0].requests
    assert "</think>" in request.grammar
    assert recording.thinking == "one and one"
    assert recording.text == '{"n": 2}'
    assert recording.runners[0].left_early == 0


def test_thinking_without_an_answer_gets_one(recording: Recording) -> None:
    """In a second run, after the thinking."""
    recording.replies = ["<think>one and one", '{"n": 2}']
    chat(recording, "thinks", "1+1?", format='{"type": "object", "properties": {"n": {"type": "integer"}}}')
    first, second = recording.runners[0].requests
    assert "</think>" in first.grammar
    assert second.grammar
    assert "</think>" not in second.grammar
    assert "one and one" in second.prompt
    assert (recording.thinking, recording.text) == ("one and one", '{"n": 2}')


def test_tool_calls(recording: Recording) -> None:
    """A call in the reply is a call in the chunks, with an id; the tool was in the prompt."""
    recording.replies = ['<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>']
    chat(recording, "tools", "Weather?", tools=(WEATHER,))
    assert '"name":"weather"' in recording.prompts[0].replace(" ", "")
    calls = [call for chunk in recording.emitted for call in chunk.tool_calls]
    assert [(call.name, call.arguments) for call in calls] == [("weather", {"city": "Oslo"})]
    assert calls[0].id.startswith("call_")
    assert recording.text == ""


def test_a_forced_call_is_held_by_a_grammar(recording: Recording) -> None:
    """`required` binds the reply to calls; `none` takes the tools out of the prompt."""
    recording.replies = ['<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>', "Sunny"]
    chat(recording, "tools", tools=(WEATHER,), tool_choice="required")
    chat(recording, "tools", tools=(WEATHER,), tool_choice="none")
    first, second = (request for runner in recording.runners for request in runner.requests)
    assert "weather" in first.grammar
    assert (second.grammar, "weather" in str(second.prompt)) == ("", False)


def test_generate_fills_in(recording: Recording) -> None:
    """A suffix needs a template for it; a raw prompt is nobody's business."""
    recording.replies = ["middle", "raw"]
    generate(recording, "fills", "begin", suffix="end")
    generate(recording, "plain", "<as it is>", is_raw=True)
    assert recording.prompts == ["<pre>begin<suf>end<mid>", "<as it is>"]
    with pytest.raises(CapabilityError, match="insert"):
        generate(recording, "plain", "begin", suffix="end")


def test_generate_goes_on_from_a_context(recording: Recording) -> None:
    """The tokens of an earlier answer come before the prompt, and new ones are given back."""
    recording.replies = ["you"]
    generate(recording, "plain", "and", context=tuple(map(ord, "me ")))
    (prompt,) = recording.prompts
    assert prompt.startswith("me ")
    assert "".join(map(chr, recording.emitted[-1].context or ())) == prompt + "you"


def test_only_the_prompt(recording: Recording) -> None:
    """Rendered and given back; the engine is not asked to run it."""
    answer = chat(recording, "plain", is_render_only=True)
    assert answer == Immediate("", "<system>Be brief.<user>Hi<assistant>", 0)
    assert recording.prompts == []


def test_old_messages_leave_a_full_context(recording: Recording) -> None:
    """The oldest go first, system texts and the last message stay; where that is not allowed it is an error."""
    recording.replies = ["a"]
    messages = tuple(Message("user" if i % 2 == 0 else "assistant", f"{i}" * 200) for i in range(9))
    chat(recording, "plain", messages=messages, options={"num_ctx": 512})
    (prompt,) = recording.prompts
    assert "<system>Be brief." in prompt
    assert "8" * 200 in prompt
    assert "0" * 200 not in prompt
    with pytest.raises(ContextOverflowError):
        chat(recording, "plain", messages=messages, options={"num_ctx": 512}, truncate=False)


def test_errors_of_the_engine_pass(recording: Recording) -> None:
    """As they are; what came before stays emitted, and the runner serves the next request."""
    recording.replies = [EngineError(500, "it broke"), "fine"]

    async def both(inference: Any) -> None:
        request = ChatRequest(InferenceOptions("plain"), user("Hi"))
        with pytest.raises(EngineError, match="it broke"):
            await inference.chat(request, recording.emit)
        await inference.chat(request, recording.emit)

    recording.run(both)
    assert recording.text == "fine"
    assert len(recording.runners) == 1


def test_a_client_that_leaves_stops_the_decoder(recording: Recording) -> None:
    """Cancelling leaves the completion's context at once and gives the lease back."""
    recording.replies = [" ".join("word" for _ in range(10_000)), "next"]

    async def leave(inference: Any) -> None:
        request = ChatRequest(InferenceOptions("plain"), user("Hi"))
        task = asyncio.create_task(inference.chat(request, recording.emit))
        while not recording.emitted:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        recording.emitted.clear()
        await inference.chat(request, recording.emit)

    recording.run(leave)
    (runner,) = recording.runners
    assert runner.left_early == 1
    assert recording.text == "next"


def test_embeddings(recording: Recording) -> None:
    """Vectors of unit length, in the order of the texts, and the count of tokens."""
    request = EmbedRequest("embeds", ("ab", "abcd"))
    result = recording.run(lambda inference: inference.embed(request))
    assert result.prompt_count == 6
    assert len(result.embeddings) == 2
    assert result.embeddings[0] != result.embeddings[1]


def test_tokens_there_and_back(recording: Recording) -> None:
    """Whatever runner is loaded."""

    async def both(inference: Any) -> tuple[Any, Any]:
        there = await inference.tokenize(TokensRequest("plain", text="abc"))
        return there, await inference.detokenize(TokensRequest("plain", tokens=tuple(there.tokens)))

    there, back = recording.run(both)
    assert (list(there.tokens), back.text) == ([97, 98, 99], "abc")
    assert len(recording.runners) == 1
