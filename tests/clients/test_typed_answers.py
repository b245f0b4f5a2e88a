"""Answers of a type: what packages make of pydantic models, as forced calls and as schemas, is held to all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.clients.conftest import LEFT_SOCKETS, MODEL
from tests.conftest import Server
from tests.extras import lazily, need

if TYPE_CHECKING:
    import openai
    import pydantic
else:
    openai = lazily("openai")
    pydantic = lazily("pydantic")

QUESTION: list[Any] = [{"role": "user", "content": "Anna is 30 and lives in Paris."}]


class Address(pydantic.BaseModel):
    city: Literal["Paris", "Rome"]
    code: str = pydantic.Field(pattern=r"^\d{5}$")


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1, max_length=12)
    age: int = pydantic.Field(ge=0, le=120)
    score: float = pydantic.Field(multiple_of=0.5, ge=0, lt=10)
    address: Address
    other: Address | None
    tags: list[Literal["a", "b"]] = pydantic.Field(max_length=2)


class Car(pydantic.BaseModel):
    wheels: int = pydantic.Field(ge=2, le=6)


@pytest.fixture
def client(tiny: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=tiny.base + "/v1", api_key="x", timeout=120, max_retries=0) as made:
        yield made


@pytest.mark.parametrize("seed", range(3))
def test_a_function_made_of_a_model(client: openai.OpenAI, seed: int) -> None:
    """`openai.pydantic_function_tool`, with references and strict, parsed by the package."""
    reply = client.chat.completions.parse(
        model=MODEL,
        messages=QUESTION,
        tools=[openai.pydantic_function_tool(Person)],
        tool_choice="required",
        temperature=1,
        seed=seed,
        max_tokens=600,
    )
    calls = reply.choices[0].message.tool_calls
    assert calls
    assert isinstance(calls[0].function.parsed_arguments, Person)


@pytest.mark.parametrize("seed", range(3))
def test_a_named_function_with_a_plain_schema(client: openai.OpenAI, seed: int) -> None:
    """As instructor asks in its mode of tools: pydantic's own schema, and the tool by its name."""
    schema = Person.model_json_schema()
    reply = client.chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        tools=[{"type": "function", "function": {"name": "Person", "description": "", "parameters": schema}}],
        tool_choice={"type": "function", "function": {"name": "Person"}},
        temperature=1,
        seed=seed,
        max_tokens=600,
    )
    calls = reply.choices[0].message.tool_calls
    assert calls
    assert calls[0].type == "function"
    Person.model_validate(json.loads(calls[0].function.arguments), strict=True)


@pytest.mark.parametrize("effort", ["none", "medium"])
def test_an_answer_of_a_model(client: openai.OpenAI, effort: Any) -> None:
    """`parse` with a type, thinking or not."""
    reply = client.chat.completions.parse(
        model=MODEL,
        messages=QUESTION,
        response_format=Person,
        reasoning_effort=effort,
        temperature=1,
        seed=1,
        max_tokens=600,
    )
    assert isinstance(reply.choices[0].message.parsed, Person)


@LEFT_SOCKETS
@pytest.mark.usefixtures("leaves_sockets")
@pytest.mark.parametrize("form", ["one tool", "tools", "native"])
def test_pydantic_ai(tiny: Server, form: str) -> None:
    """Types as outputs: nested ones as the arguments of a tool, one of several, and as a schema."""
    need("pydantic_ai")
    from pydantic_ai import Agent, NativeOutput, ToolOutput
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=tiny.base + "/v1", api_key="x"))
    outputs: dict[str, Any] = {
        "one tool": Person,
        "tools": [ToolOutput(Person, name="person"), ToolOutput(Car, name="car")],
        "native": NativeOutput(Person),
    }
    agent: Agent[Any, Any] = Agent(model, output_type=outputs[form], retries=0)
    for seed in range(2):
        settings: Any = {
            "temperature": 1,
            "seed": seed,
            "max_tokens": 1500,
            "openai_reasoning_effort": "none",
        }
        result = agent.run_sync("Anna is 30 and lives in Paris.", model_settings=settings)
        assert isinstance(result.output, Person | Car)
