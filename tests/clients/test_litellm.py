"""`litellm` against the server: its Ollama, OpenAI and Anthropic providers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.clients.conftest import CAPITAL, LEFT_SOCKETS, MODEL, REPORT, WEATHER, WEATHER_PARAMETERS
from tests.conftest import Server
from tests.extras import need

need("litellm")

pytestmark = [pytest.mark.usefixtures("leaves_sockets"), LEFT_SOCKETS]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": WEATHER_PARAMETERS,
    },
}


@pytest.fixture(scope="module")
def litellm() -> Any:
    """The package, which takes seconds to import and asks a server for prices unless told not to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        patch.setenv("LITELLM_MODE", "PRODUCTION")
        import litellm

        yield litellm


@pytest.fixture(params=["ollama_chat", "openai", "anthropic"])
def options(request: pytest.FixtureRequest, tiny: Server) -> dict[str, Any]:
    bases = {"ollama_chat": tiny.base, "openai": f"{tiny.base}/v1", "anthropic": tiny.base}
    quiet: dict[str, dict[str, Any]] = {
        "ollama_chat": {"think": False},
        "openai": {"extra_body": {"reasoning_effort": "none"}},
        "anthropic": {"thinking": {"type": "disabled"}, "allowed_openai_params": ["thinking"]},
    }
    return {
        "model": f"{request.param}/{MODEL}",
        "api_base": bases[request.param],
        "api_key": "none",
        "temperature": 0,
        "max_tokens": 128,
        "num_retries": 0,
        **quiet[request.param],
    }


def test_completion(litellm: Any, options: dict[str, Any]) -> None:
    """Whole and streamed."""
    messages = [{"role": "user", "content": CAPITAL}]
    whole = litellm.completion(messages=messages, **options).choices[0].message.content
    assert "Paris" in whole
    pieces = list(litellm.completion(messages=messages, stream=True, **options))
    assert len(pieces) > 2
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == whole


def test_tool_round_trip(litellm: Any, options: dict[str, Any]) -> None:
    """A call, whole and streamed, and an answer from its result."""
    messages: list[Any] = [{"role": "user", "content": WEATHER}]
    first = litellm.completion(messages=messages, tools=[TOOL], **options).choices[0].message
    (call,) = first.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    pieces = list(litellm.completion(messages=messages, tools=[TOOL], stream=True, **options))
    calls = litellm.stream_chunk_builder(pieces).choices[0].message.tool_calls
    assert [json.loads(c.function.arguments) for c in calls] == [{"city": "Paris"}]
    messages += [
        first.model_dump(),
        {"role": "tool", "tool_call_id": call.id, "name": "get_weather", "content": REPORT},
    ]
    second = litellm.completion(messages=messages, tools=[TOOL], **options).choices[0].message
    assert "sunny" in second.content.lower()


def test_responses(litellm: Any, tiny: Server) -> None:
    """Its own Responses call goes to ours."""
    answer = litellm.responses(
        model=f"openai/{MODEL}",
        input=CAPITAL,
        api_base=f"{tiny.base}/v1",
        api_key="none",
        temperature=0,
        reasoning={"effort": "none"},
        max_output_tokens=64,
    )
    assert "Paris" in answer.output[-1].content[0].text


def test_async(litellm: Any, options: dict[str, Any]) -> None:
    """Several at a time."""
    messages = [{"role": "user", "content": CAPITAL}]

    async def talk() -> list[str]:
        replies = await asyncio.gather(*(litellm.acompletion(messages=messages, **options) for _ in range(3)))
        return [reply.choices[0].message.content for reply in replies]

    assert all("Paris" in text for text in asyncio.run(talk()))


def test_errors(litellm: Any, options: dict[str, Any]) -> None:
    """A model that is not there is an exception that says so."""
    provider = options["model"].partition("/")[0]
    wanted = {**options, "model": f"{provider}/nope"}
    with pytest.raises(Exception, match="model 'nope' not found"):
        litellm.completion(messages=[{"role": "user", "content": "Hi"}], **wanted)
