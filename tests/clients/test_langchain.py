"""`langchain-ollama` on the native API, `langchain-openai` on chat completions and on responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.conftest import CAPITAL, LEFT_SOCKETS, MODEL, REPORT, WEATHER
from tests.conftest import Server
from tests.extras import lazily

if TYPE_CHECKING:
    import langchain_ollama
    import langchain_openai
    import pydantic
    from langchain_core import messages
    from langchain_core.language_models import BaseChatModel
    from langchain_core.tools import BaseTool
else:
    langchain_ollama = lazily("langchain_ollama")
    langchain_openai = lazily("langchain_openai")
    messages = lazily("langchain_core.messages")
    pydantic = lazily("pydantic")

pytestmark = [pytest.mark.usefixtures("leaves_sockets"), LEFT_SOCKETS]


@pytest.fixture
def get_weather() -> BaseTool:
    from langchain_core.tools import tool

    @tool
    def get_weather(city: str) -> str:
        """Get the weather of a city"""
        return f"{city}: {REPORT}"

    return get_weather


class Capital(pydantic.BaseModel):
    """The capital of a country."""

    capital: str = pydantic.Field(max_length=20)


def make(kind: str, server: Server) -> BaseChatModel:
    if kind == "ollama":
        return langchain_ollama.ChatOllama(
            model=MODEL, base_url=server.base, temperature=0, reasoning=False, num_predict=128
        )
    return langchain_openai.ChatOpenAI(
        model=MODEL,
        base_url=f"{server.base}/v1",
        api_key="none",  # type: ignore[arg-type]
        temperature=0,
        max_retries=0,
        use_responses_api=kind == "responses",
        **({"reasoning": {"effort": "none"}} if kind == "responses" else {"reasoning_effort": "none"}),
    )


@pytest.fixture(params=["ollama", "chat", "responses"])
def model(request: pytest.FixtureRequest, tiny: Server) -> BaseChatModel:
    return make(request.param, tiny)


def test_invoke_and_stream(model: BaseChatModel) -> None:
    """A whole answer is what the pieces of a streamed one add up to."""
    conversation = [messages.SystemMessage("Be brief."), messages.HumanMessage(CAPITAL)]
    answer = model.invoke(conversation)
    assert "Paris" in answer.text
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] > 0
    pieces = list(model.stream(conversation))
    assert len(pieces) > 2
    assert "".join(piece.text for piece in pieces) == answer.text


def test_tool_round_trip(model: BaseChatModel, get_weather: BaseTool) -> None:
    """Bound tools are called, whole and streamed, and their results are used."""
    bound = model.bind_tools([get_weather])
    conversation: list[Any] = [messages.HumanMessage(WEATHER)]
    reply = bound.invoke(conversation)
    assert isinstance(reply, messages.AIMessage)
    (call,) = reply.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})
    gathered: messages.AIMessageChunk | None = None
    for piece in bound.stream(conversation):
        assert isinstance(piece, messages.AIMessageChunk)
        gathered = piece if gathered is None else gathered + piece
    assert gathered is not None
    assert [c["args"] for c in gathered.tool_calls] == [{"city": "Paris"}]
    result = get_weather.invoke(call)
    assert isinstance(result, messages.ToolMessage)
    final = bound.invoke([*conversation, reply, result])
    assert "sunny" in final.text.lower()


def test_structured_output(model: BaseChatModel) -> None:
    """A schema becomes an object of its class."""
    bound = model.with_structured_output(Capital, method="json_schema")
    assert isinstance(bound.invoke("What is the capital of Italy? Answer in JSON."), Capital)


def test_reasoning(tiny: Server) -> None:
    """The thought comes apart from the answer."""
    model = langchain_ollama.ChatOllama(
        model=MODEL, base_url=tiny.base, temperature=0, reasoning=True, num_predict=512
    )
    answer = model.invoke("What is 3 + 4?")
    assert "7" in answer.text
    assert answer.additional_kwargs["reasoning_content"]


def test_responses_that_follow_each_other(tiny: Server) -> None:
    """LangChain sends only what is new, and the id of the last response."""
    model = make("responses", tiny)
    assert isinstance(model, langchain_openai.ChatOpenAI)
    model.use_previous_response_id = True
    first = model.invoke([messages.HumanMessage("My name is Anna.")])
    whole = [messages.HumanMessage("My name is Anna."), first, messages.HumanMessage("What is my name?")]
    followed = model.invoke(whole)
    spelled_out = make("responses", tiny).invoke(whole)
    assert isinstance(followed, messages.AIMessage)
    assert isinstance(spelled_out, messages.AIMessage)
    assert followed.usage_metadata is not None
    assert spelled_out.usage_metadata is not None
    assert followed.usage_metadata["input_tokens"] == spelled_out.usage_metadata["input_tokens"]


def test_completion(tiny: Server) -> None:
    """The older kind of model, which completes a text."""
    model = langchain_ollama.OllamaLLM(
        model=MODEL, base_url=tiny.base, temperature=0, reasoning=False, num_predict=32
    )
    assert "Paris" in model.invoke(CAPITAL)
    assert "Paris" in "".join(model.stream(CAPITAL))


def test_embeddings(tiny: Server) -> None:
    """Both packages get the same vectors."""
    native = langchain_ollama.OllamaEmbeddings(model="embed", base_url=tiny.base).embed_documents(
        ["hello", "the sky"]
    )
    openai = langchain_openai.OpenAIEmbeddings(
        model="embed",
        base_url=f"{tiny.base}/v1",
        api_key="none",  # type: ignore[arg-type]
        check_embedding_ctx_length=False,
    )
    for mine, theirs in zip(native, openai.embed_documents(["hello", "the sky"]), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)
