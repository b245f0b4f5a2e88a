"""The official `openai` package against the server, unchanged: what its users' scripts do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Server
from tests.extras import lazily

if TYPE_CHECKING:
    import openai
    import pydantic
    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
else:
    openai = lazily("openai")
    pydantic = lazily("pydantic")

MODEL = "corral-tiny"
CAPITAL: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER_QUESTION: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "What is the weather in Paris?"}
]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


@pytest.fixture(scope="module")
def base_url(server: Server) -> str:
    server.stream("/api/pull", {"model": MODEL})
    server.create("words", "say", template="{{ .Prompt }}")
    return server.base + "/v1"


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key="unused", max_retries=0) as client:
        yield client


def test_chat(client: openai.OpenAI) -> None:
    """A whole answer, with what every script looks at."""
    reply = client.chat.completions.create(
        model=MODEL, messages=CAPITAL, temperature=0, reasoning_effort="none"
    )
    choice = reply.choices[0]
    assert "Paris" in (choice.message.content or "")
    assert (choice.finish_reason, choice.message.role, reply.object) == (
        "stop",
        "assistant",
        "chat.completion",
    )
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_chat_stream(client: openai.OpenAI) -> None:
    """Chunks that join to the whole answer; the last one has the usage."""
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=CAPITAL,
            temperature=0,
            reasoning_effort="none",
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Paris" in text
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def test_conversation_remembers(client: openai.OpenAI) -> None:
    """Several turns, as a chat program has them."""
    messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": "Your name is Anna."}]
    messages.append({"role": "user", "content": "What is your name?"})
    reply = client.chat.completions.create(
        model=MODEL, messages=messages, temperature=0, reasoning_effort="none"
    )
    assert "Anna" in (reply.choices[0].message.content or "")


def test_stream_helper(client: openai.OpenAI) -> None:
    """`.stream()` collects events into the final completion."""
    with client.chat.completions.stream(
        model=MODEL, messages=CAPITAL, temperature=0, reasoning_effort="none"
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert kinds[-1] == "content.done" or "chunk" in kinds
    assert "Paris" in (final.choices[0].message.content or "")
    assert final.choices[0].finish_reason == "stop"


def test_tool_round_trip(client: openai.OpenAI) -> None:
    """It calls what is offered, and answers from the result; history as the package gives it."""
    messages = list(WEATHER_QUESTION)
    first = client.chat.completions.create(
        model=MODEL, messages=messages, tools=[WEATHER], temperature=0, reasoning_effort="none"
    )
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    call = choice.message.tool_calls[0]
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    messages.append(choice.message.to_dict())  # type: ignore[arg-type]
    # Parts, as agents send results: they keep whose result they are.
    messages.append(
        {"role": "tool", "tool_call_id": call.id, "content": [{"type": "text", "text": "sunny, 21 degrees"}]}
    )
    second = client.chat.completions.create(
        model=MODEL, messages=messages, tools=[WEATHER], temperature=0, reasoning_effort="none"
    )
    assert "sunny" in (second.choices[0].message.content or "").lower()


def test_tool_call_streamed(client: openai.OpenAI) -> None:
    """The helper puts the call of a stream together."""
    with client.chat.completions.stream(
        model=MODEL,
        messages=WEATHER_QUESTION,
        tools=[WEATHER],
        temperature=0,
        reasoning_effort="none",
        parallel_tool_calls=False,
    ) as stream:
        events = list(stream)
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert [(event.name, json.loads(event.arguments)) for event in done] == [
        ("get_weather", {"city": "Paris"})
    ]
    final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"


def test_tool_choice_none(client: openai.OpenAI) -> None:
    """The tools are there, and not to be called."""
    reply = client.chat.completions.create(
        model=MODEL,
        messages=WEATHER_QUESTION,
        tools=[WEATHER],
        tool_choice="none",
        temperature=0,
        reasoning_effort="none",
    )
    assert not reply.choices[0].message.tool_calls
    assert reply.choices[0].finish_reason == "stop"


class Capital(pydantic.BaseModel):
    capital: str = pydantic.Field(max_length=20)
    sure: bool


def test_structured_parse(client: openai.OpenAI) -> None:
    """`parse` with a pydantic model."""
    reply = client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "What is the capital of Italy? Answer in JSON."}],
        response_format=Capital,
        temperature=0,
        reasoning_effort="none",
    )
    assert isinstance(reply.choices[0].message.parsed, Capital)


def test_json_object(client: openai.OpenAI) -> None:
    """`json_object` gives one object, whatever the model would have said."""
    reply = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "What is the capital of Italy? Answer in JSON."}],
        response_format={"type": "json_object"},
        temperature=0,
        max_tokens=200,
        reasoning_effort="none",
    )
    assert isinstance(json.loads(reply.choices[0].message.content or ""), dict)


def test_reasoning_in_the_fields_that_clients_read(client: openai.OpenAI) -> None:
    """Thinking comes apart from the answer, under both names; streamed too."""
    question: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is 3 + 4?"}]
    message = (
        client.chat.completions.create(
            model=MODEL, messages=question, temperature=0, reasoning_effort="medium"
        )
        .choices[0]
        .message
    )
    extra = message.model_extra or {}
    assert extra["reasoning"].strip()
    assert extra["reasoning_content"] == extra["reasoning"]
    assert "7" in (message.content or "")
    chunks = client.chat.completions.create(
        model=MODEL, messages=question, temperature=0, reasoning_effort="medium", stream=True
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    streamed = "".join((delta.model_extra or {}).get("reasoning", "") for delta in deltas)
    assert streamed == extra["reasoning"]


def test_several_choices(client: openai.OpenAI) -> None:
    """`n` answers, streamed or not; the prompt counts once; a seed gives each a text of its own."""
    one = client.chat.completions.create(model="tiny", messages=CAPITAL, seed=3, max_tokens=12)
    many = client.chat.completions.create(model="tiny", messages=CAPITAL, seed=3, n=3, max_tokens=12)
    assert [choice.index for choice in many.choices] == [0, 1, 2]
    texts = [choice.message.content for choice in many.choices]
    assert texts[0] == one.choices[0].message.content
    assert len(set(texts)) == 3
    assert many.usage is not None
    assert one.usage is not None
    assert many.usage.prompt_tokens == one.usage.prompt_tokens
    assert many.usage.completion_tokens == 36
    streamed = ["", "", ""]
    reasons: list[Any] = [None] * 3
    for chunk in client.chat.completions.create(
        model="tiny", messages=CAPITAL, seed=3, n=3, max_tokens=12, stream=True
    ):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert streamed == texts
    assert reasons == ["length"] * 3


@pytest.mark.parametrize("name", ["max_completion_tokens", "max_tokens"])
def test_limits(client: openai.OpenAI, name: str) -> None:
    """The newer name of the limit counts, and the older one with it."""
    reply: Any = client.chat.completions.create(
        model="tiny", messages=CAPITAL, temperature=0, extra_body={name: 4}
    )
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 4


def test_native_options_as_extra_fields(client: openai.OpenAI, server: Server) -> None:
    """For clients that cannot send `options`: context, time in memory, sampling."""
    extra = {"num_ctx": 512, "keep_alive": "7m", "top_k": 1, "min_p": 0.1, "repeat_penalty": 1.1}
    first = client.chat.completions.create(model="tiny", messages=CAPITAL, max_tokens=8, extra_body=extra)
    again = client.chat.completions.create(
        model="tiny", messages=CAPITAL, max_tokens=8, extra_body={"options": extra, "keep_alive": "7m"}
    )
    assert first.choices[0].message.content == again.choices[0].message.content
    loaded = {entry["name"]: entry for entry in server.get("/api/ps")["models"]}
    assert loaded["tiny:latest"]["context_length"] == 512
    with pytest.raises(openai.BadRequestError, match="num_ctx"):
        client.chat.completions.create(model="tiny", messages=CAPITAL, extra_body={"num_ctx": "big"})
    with pytest.raises(openai.BadRequestError, match='option "top_k" must be of type integer'):
        client.chat.completions.create(
            model="tiny", messages=CAPITAL, extra_body={"options": {"top_k": "many"}}
        )


def test_think_as_an_extra_field(client: openai.OpenAI) -> None:
    """Thinking is turned off where the API has no word for it; a model that cannot think does not mind."""
    prompt, off = "What is the capital of France?", {"think": False}
    text = (
        client.completions.create(model=MODEL, prompt=prompt, temperature=0, extra_body=off).choices[0].text
    )
    reply = client.chat.completions.create(model=MODEL, messages=CAPITAL, temperature=0, extra_body=off)
    message = reply.choices[0].message
    assert "Paris" in text and message.content == text
    assert not hasattr(message, "reasoning")
    asked = client.chat.completions.create(
        model=MODEL, messages=CAPITAL, reasoning_effort="low", extra_body=off
    )
    assert asked.choices[0].message.model_dump()["reasoning"]
    client.chat.completions.create(model="words", messages=CAPITAL, max_tokens=1, extra_body={"think": True})
    with pytest.raises(openai.BadRequestError, match="invalid think value"):
        client.completions.create(model=MODEL, prompt=prompt, extra_body={"think": "a bit"})


def test_cached_prompt_tokens(client: openai.OpenAI) -> None:
    """What a second request found in the cache."""
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": "Your name is Anna. " * 20},
        {"role": "user", "content": "What is your name?"},
    ]
    for _ in range(2):
        reply = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    assert reply.usage is not None
    assert reply.usage.prompt_tokens_details is not None
    cached = reply.usage.prompt_tokens_details.cached_tokens
    assert cached is not None
    assert 0 < cached < reply.usage.prompt_tokens


def test_logprobs(client: openai.OpenAI) -> None:
    """Of chat and of completions."""
    reply = client.chat.completions.create(
        model=MODEL, messages=CAPITAL, temperature=0, logprobs=True, top_logprobs=2, reasoning_effort="none"
    )
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    assert "".join(entry.token for entry in logprobs.content) == reply.choices[0].message.content
    assert all(len(entry.top_logprobs) == 2 for entry in logprobs.content)
    completion = client.completions.create(model="words", prompt="now A", logprobs=2, temperature=0)
    legacy = completion.choices[0].logprobs
    assert legacy is not None
    assert "".join(legacy.tokens or ()) == completion.choices[0].text
    assert legacy.text_offset == [
        len("".join((legacy.tokens or [])[:i])) for i in range(len(legacy.tokens or ()))
    ]


def test_completions(client: openai.OpenAI) -> None:
    """One prompt, several, several answers each, tokens; streamed and with the prompt in front."""
    answer = "Alpha beta gamma delta epsilon."
    assert client.completions.create(model="words", prompt="now A", temperature=0).choices[0].text == answer
    both = client.completions.create(
        model="words", prompt=["now A", "x A"], n=2, temperature=0, echo=True, max_tokens=2
    )
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    assert [choice.text.split()[0] for choice in both.choices] == ["now", "now", "x", "x"]
    streamed = client.completions.create(model="words", prompt=["now A", "now A"], temperature=0, stream=True)
    texts = ["", ""]
    for chunk in streamed:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [answer, answer]


def test_best_of(client: openai.OpenAI) -> None:
    """Of four answers the likeliest is given; all count."""
    reply = client.completions.create(model="tiny", prompt="hello", best_of=4, seed=1, max_tokens=5)
    assert len(reply.choices) == 1
    assert reply.usage is not None
    assert reply.usage.completion_tokens > 5


def test_embeddings(client: openai.OpenAI) -> None:
    """The package asks for base64 by itself; floats give the same numbers."""
    packed = client.embeddings.create(model="embed", input=["hello world", "cat"])
    plain = client.embeddings.create(model="embed", input=["hello world", "cat"], encoding_format="float")
    assert [row.index for row in packed.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    short = client.embeddings.create(model="embed", input="cat", dimensions=4)
    assert len(short.data[0].embedding) == 4
    assert short.usage.total_tokens > 0


def test_models(client: openai.OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert {"corral-tiny:latest", "embed:latest"} <= names
    model = client.models.retrieve("corral-tiny")
    assert (model.id, model.object, model.owned_by) == ("corral-tiny", "model", "library")


def test_errors(client: openai.OpenAI) -> None:
    """Each kind is the package's own exception, with the server's words."""
    with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
        client.chat.completions.create(model="nope", messages=CAPITAL)
    with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
        client.chat.completions.create(model="nope", messages=CAPITAL, stream=True)
    with pytest.raises(openai.BadRequestError, match="too short"):
        client.chat.completions.create(model=MODEL, messages=[])
    with pytest.raises(openai.BadRequestError, match="n must be between 1 and 128"):
        client.chat.completions.create(model=MODEL, messages=CAPITAL, n=0)
    with pytest.raises(openai.BadRequestError, match='the tool "f", which the request does not offer'):
        client.chat.completions.create(
            model=MODEL,
            messages=CAPITAL,
            tools=[WEATHER],
            tool_choice={"type": "function", "function": {"name": "f"}},
        )
    with pytest.raises(openai.NotFoundError, match="model 'nope:latest' not found"):
        client.models.retrieve("nope")
    with pytest.raises(openai.BadRequestError, match='"embed" does not support chat'):
        client.chat.completions.create(model="embed", messages=CAPITAL)


def test_async_client(base_url: str) -> None:
    """Several requests at once, one of them streamed, with tools and with a schema."""

    async def talk() -> None:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="unused", max_retries=0) as client:
            create = client.chat.completions.create
            replies = await asyncio.gather(
                *(
                    create(model=MODEL, messages=CAPITAL, temperature=0, reasoning_effort="none")
                    for _ in range(5)
                )
            )
            assert all("Paris" in (reply.choices[0].message.content or "") for reply in replies)
            text = ""
            async for chunk in await create(
                model=MODEL, messages=CAPITAL, temperature=0, reasoning_effort="none", stream=True
            ):
                text += chunk.choices[0].delta.content or ""
            assert text == replies[0].choices[0].message.content
            called = await create(
                model=MODEL,
                messages=WEATHER_QUESTION,
                tools=[WEATHER],
                temperature=0,
                reasoning_effort="none",
            )
            assert called.choices[0].finish_reason == "tool_calls"
            parsed = await client.chat.completions.parse(
                model=MODEL, messages=CAPITAL, response_format=Capital, temperature=0, reasoning_effort="none"
            )
            assert isinstance(parsed.choices[0].message.parsed, Capital)
            assert (await client.embeddings.create(model="embed", input="cat")).data
            assert [model async for model in client.models.list()]

    asyncio.run(talk())


def test_transcription_of_a_model_without_ears(client: openai.OpenAI) -> None:
    """The form arrives and the engine says that the model takes no audio."""
    with pytest.raises(openai.BadRequestError, match="does not support multimodal"):
        client.audio.transcriptions.create(model="tiny", file=("a.wav", b"RIFF0000WAVE"))


def test_logit_bias(client: openai.OpenAI, server: Server) -> None:
    """A token that is pushed far enough is all that is said; a forbidden one is not said."""
    tokens = server.post("/api/tokenize", {"model": MODEL, "content": "Paris"})["tokens"]
    assert tokens
    reply = client.chat.completions.create(
        model=MODEL,
        messages=CAPITAL,
        temperature=0,
        max_tokens=3,
        logit_bias={str(tokens[0]): 100},
        reasoning_effort="none",
    )
    text = server.post("/api/detokenize", {"model": MODEL, "tokens": [tokens[0]] * 3})["content"]
    assert reply.choices[0].message.content == text
    banned = client.chat.completions.create(
        model=MODEL,
        messages=CAPITAL,
        temperature=0,
        logit_bias={str(token): -100 for token in tokens},
        reasoning_effort="none",
    )
    assert "Paris" not in (banned.choices[0].message.content or "")
    with pytest.raises(openai.BadRequestError, match="has no token 99999999"):
        client.chat.completions.create(model=MODEL, messages=CAPITAL, logit_bias={"99999999": 1})


def test_prompts_as_tokens(client: openai.OpenAI, server: Server) -> None:
    """Tokens go to the model as they are; ids that it does not have are refused."""
    tokens = server.post("/api/tokenize", {"model": "words", "content": "now A"})["tokens"]
    text = client.completions.create(model="words", prompt=tokens, temperature=0).choices[0].text
    assert text == "Alpha beta gamma delta epsilon."
    with pytest.raises(openai.BadRequestError, match="has no token 99999999"):
        client.completions.create(model="words", prompt=[99999999])


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_forced_call(client: openai.OpenAI, choice: Any) -> None:
    """A question that has nothing to do with the tool is answered by a call all the same; streamed too."""
    for stream in (False, True):
        answer: Any = client.chat.completions.create(
            model=MODEL,
            messages=CAPITAL,
            tools=[WEATHER],
            tool_choice=choice,
            temperature=0,
            max_tokens=200,
            reasoning_effort="none",
            stream=stream,
        )
        if stream:
            chunks = [chunk.choices[0] for chunk in answer]
            calls = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
            reason = chunks[-1].finish_reason
        else:
            calls, reason = answer.choices[0].message.tool_calls, answer.choices[0].finish_reason
        assert [call.function.name for call in calls] == ["get_weather"]
        assert set(json.loads(calls[0].function.arguments)) == {"city"}
        assert reason == "tool_calls"


def test_a_schema_beside_tools(client: openai.OpenAI) -> None:
    """The model may call; when it answers, the schema holds."""
    schema = {
        "type": "json_schema",
        "json_schema": {"name": "capital", "schema": Capital.model_json_schema()},
    }
    ask: Any = client.chat.completions.create
    fields = {"tools": [WEATHER], "response_format": schema, "temperature": 0, "reasoning_effort": "none"}
    called = ask(model=MODEL, messages=WEATHER_QUESTION, **fields).choices[0]
    answered = ask(
        model=MODEL,
        messages=[{"role": "user", "content": "What is the capital of Italy? Answer in JSON."}],
        **fields,
    ).choices[0]
    for choice in (called, answered):
        if choice.message.tool_calls:
            assert json.loads(choice.message.tool_calls[0].function.arguments).keys() == {"city"}
        else:
            Capital.model_validate_json(choice.message.content)
    assert called.message.tool_calls
