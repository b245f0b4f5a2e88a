"""Schemas on the real engine: a model of random weights, sampled hot, can say nothing but valid instances."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from corral.chat.grammar import json_object_grammar, schema_grammar
from corral.runner.factory import EngineFactory
from corral.runner.interface import CompletionRequest, EngineChoice, RunnerSpec
from corral.types import SamplingOptions

pytestmark = pytest.mark.process

MODEL = Path(__file__).parents[2] / "fixtures" / "tiny.gguf"

SCHEMAS: dict[str, dict[str, Any]] = {
    "required and optional": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}, "c": {"type": "null"}},
        "required": ["b"],
        "additionalProperties": False,
    },
    "all optional": {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "boolean"}},
        "additionalProperties": False,
    },
    "extra members": {
        "type": "object",
        "properties": {"a": {"type": "boolean"}},
        "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 3},
        "required": ["a"],
    },
    "enum": {"enum": ["x", 1, None, {"k": [True]}]},
    "const": {"const": 'a "quoted" text\n'},
    "integer range": {"type": "integer", "minimum": -17, "maximum": 1203},
    "exclusive range": {"type": "integer", "exclusiveMinimum": 9, "exclusiveMaximum": 11},
    "array": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
    "tuple": {
        "type": "array",
        "prefixItems": [{"type": "boolean"}, {"enum": ["x"]}],
        "items": False,
        "minItems": 2,
    },
    "length": {"type": "string", "minLength": 3, "maxLength": 5},
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}-\\d{3}(a|b)?$"},
    "date-time": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "any of": {"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 5, "maximum": 7}]},
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]},
            {"properties": {"b": {"enum": [1, 2]}}, "required": ["b"]},
        ],
    },
    "types": {"type": ["boolean", "null"]},
    "record": {
        "type": "object",
        "propertyNames": {"type": "string"},
        "additionalProperties": {"type": "boolean"},
        "maxProperties": 3,
    },
    "record of an enum": {
        "type": "object",
        "propertyNames": {"type": "string", "enum": ["a", "b"]},
        "additionalProperties": {"type": "boolean"},
        "required": ["a", "b"],
    },
    "record of some names": {
        "type": "object",
        "propertyNames": {"minLength": 2, "maxLength": 3},
        "additionalProperties": {"type": "boolean"},
        "maxProperties": 2,
    },
    "names by patterns": {
        "type": "object",
        "patternProperties": {"^[a-z]{1,3}$": {"type": "boolean"}, "^[0-9]{2}$": {"type": "boolean"}},
        "additionalProperties": False,
        "maxProperties": 3,
    },
    "email with look-ahead": {
        "type": "string",
        "format": "email",
        "pattern": (
            r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
        ),
    },
    "decimal with look-ahead": {"type": "string", "pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"},
    "nothing in one branch": {"anyOf": [{"not": {}}, {"type": "boolean"}]},
    "nested": {
        "type": "object",
        "properties": {
            "person": {
                "type": "object",
                "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 120}},
                "required": ["age"],
                "additionalProperties": False,
            }
        },
        "required": ["person"],
        "additionalProperties": False,
    },
    "reference": {
        "$defs": {"flag": {"type": "boolean"}},
        "type": "object",
        "properties": {"f": {"$ref": "#/$defs/flag"}},
        "required": ["f"],
        "additionalProperties": False,
    },
    "recursion": {
        "type": "object",
        "properties": {
            "v": {"type": "boolean"},
            "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}, {"type": "null"}, {"type": "null"}]},
        },
        "required": ["v", "next"],
        "additionalProperties": False,
    },
}


async def sample(grammars: dict[str, str], count: int) -> dict[str, list[str]]:
    """Texts that the engine makes under each grammar."""
    factory = EngineFactory(EngineChoice())
    runner = await factory.start(
        RunnerSpec(MODEL, "k", num_ctx=1024, num_parallel=4, num_thread=1), lambda _s: None
    )

    async def one(grammar: str, seed: int) -> str:
        sampling = SamplingOptions(temperature=1.0, top_k=0, top_p=1.0, num_predict=700, seed=seed)
        text = ""
        async with runner.complete(CompletionRequest("x", sampling, grammar=grammar)) as batches:
            async for pieces in batches:
                text += "".join(piece.text for piece in pieces)
                if pieces[-1].final is not None and pieces[-1].final.reason == "length":
                    return ""  # a reply cut by its length is no instance of anything
        return text

    try:
        names = list(grammars)
        texts = await asyncio.gather(*(one(grammars[name], i) for name in names for i in range(count)))
        return {name: texts[i * count : (i + 1) * count] for i, name in enumerate(names)}
    finally:
        await runner.close()
        factory.close()


@pytest.fixture(scope="module")
def samples() -> dict[str, list[str]]:
    grammars = {name: schema_grammar(schema) for name, schema in SCHEMAS.items()}
    return asyncio.run(sample({**grammars, "json": json_object_grammar()}, 6))


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_reply_validates(name: str, samples: dict[str, list[str]]) -> None:
    """Whatever the model says parses and validates, judged by another implementation."""
    texts = [text for text in samples[name] if text]
    assert texts
    validator = jsonschema.Draft202012Validator(
        SCHEMAS[name], format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    for text in texts:
        validator.validate(json.loads(text))


def test_json_mode_gives_objects(samples: dict[str, list[str]]) -> None:
    """Without a schema the reply is still one JSON object."""
    texts = [text for text in samples["json"] if text]
    for text in texts:
        assert isinstance(json.loads(text), dict)
