"""A model that calls functions: python3 agent.py QUESTION [--model NAME]"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import openai

MOST_ROUNDS = 10
_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def get_weather(city: str) -> str:
    """The weather in a city."""
    known = {"paris": "sunny, 21 degrees", "oslo": "snow, -3 degrees"}
    if city.lower() not in known:
        raise ValueError(f"no weather station in {city}")
    return known[city.lower()]


def multiply(first: float, second: float) -> str:
    """The product of two numbers."""
    return str(first * second)


TOOLS: dict[str, Callable[..., str]] = {tool.__name__: tool for tool in (get_weather, multiply)}


def described(tool: Callable[..., str]) -> dict[str, Any]:
    """A function as the model gets to see it."""
    names = inspect.signature(tool).parameters
    properties = {name: {"type": _TYPES[str(each.annotation)]} for name, each in names.items()}
    parameters = {"type": "object", "properties": properties, "required": list(names)}
    return {
        "type": "function",
        "function": {"name": tool.__name__, "description": inspect.getdoc(tool), "parameters": parameters},
    }


def call(name: str, arguments: str) -> str:
    """What a function returns, or why it failed."""
    try:
        return TOOLS[name](**json.loads(arguments))
    except (KeyError, TypeError, ValueError) as error:
        return f"error: {error}"


def run(client: openai.OpenAI, model: str, question: str) -> str:
    messages: list[Any] = [{"role": "user", "content": question}]
    tools: Any = [described(tool) for tool in TOOLS.values()]
    for _ in range(MOST_ROUNDS):
        reply = client.chat.completions.create(model=model, messages=messages, tools=tools, temperature=0)
        message = reply.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages.append(message)
        for wanted in message.tool_calls:
            if wanted.type != "function":
                continue
            result = call(wanted.function.name, wanted.function.arguments)
            print(f"{wanted.function.name}({wanted.function.arguments}) -> {result}", file=sys.stderr)
            messages.append({"role": "tool", "tool_call_id": wanted.id, "content": result})
    return "I gave up: too many calls."


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("question")
    parser.add_argument("--model", default="qwen3")
    arguments = parser.parse_args()
    host = os.environ.get("OLLAMA_HOST", "http://localhost:11434")
    with openai.OpenAI(base_url=f"{host}/v1", api_key=os.environ.get("CORRAL_API_KEY", "none")) as client:
        print(run(client, arguments.model, arguments.question))


if __name__ == "__main__":
    main()
