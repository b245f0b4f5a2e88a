"""Models of every family: converted and run by the engine, they are the models that transformers runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from corral.weights.convert import convert_model
from tests.parity.families import DECODERS
from tests.parity.texts import texts
from tests.plain_engine import Engine

PROMPTS = ("The quick brown fox", "def f(x):\n    return x + 1\n", "Grüße, 世界! 123 😀 it's")


@dataclass(frozen=True)
class Converted:
    model: Any
    tokenizer: Any
    engine: Engine


@pytest.fixture(scope="module", params=DECODERS)
def converted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Converted]:
    folder = tmp_path_factory.mktemp(request.param)
    case = DECODERS[request.param]
    model = case.save(folder)
    path = folder / "model.gguf"
    convert_model(case.files(folder), path, keep_float32=True)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    with Engine(path) as engine:
        yield Converted(model, tokenizer, engine)


def reference_logprobs(model: Any, tokens: list[int]) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0, -1].double()
    found: np.ndarray[Any, Any] = torch.log_softmax(logits, -1).numpy()
    return found


def test_logits(converted: Converted) -> None:
    """After prompts of several lengths, every token's log-probability within 0.01 of transformers'."""
    for text in PROMPTS:
        tokens = converted.tokenizer.encode(text)
        for length in {1, 2, len(tokens) // 2, len(tokens)}:
            expected = reference_logprobs(converted.model, tokens[:length])
            assert np.ptp(expected) > 1, "a reference that says nothing"
            found = converted.engine.logprobs(tokens[:length], len(expected))
            assert np.abs(found - expected).max() < 0.01, (text, length)


def test_tokens(converted: Converted) -> None:
    """Every text becomes the same tokens."""
    wrong = {
        text: (converted.engine.tokenize(text), converted.tokenizer.encode(text))
        for text in texts()
        if converted.engine.tokenize(text) != converted.tokenizer.encode(text)
    }
    assert not wrong
