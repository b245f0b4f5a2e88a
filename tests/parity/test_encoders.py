"""Sentence models and rerankers: vectors and scores of the engine are those of transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from corral.weights.convert import convert_model
from tests.doubles.sentence_model import model_files, model_folder
from tests.parity.families import ENCODERS, RERANKERS, Case
from tests.parity.texts import texts
from tests.plain_engine import Engine

SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "def f(x): return x + 1",
    "Grüße, 世界! 123 😀 it's",
    "a",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen",
)
# When accents are stripped, the engine takes no Hangul apart, and strips vowel signs that transformers keeps.
NOT_THE_ENGINE_S = {"नमस्ते दुनिया", "안녕하세요 세계", "대한민국", "한"}
FLAGS = {"mean": "mean_tokens", "cls": "cls_token", "lasttoken": "lasttoken"}


@dataclass(frozen=True)
class Converted:
    model: Any
    tokenizer: Any
    engine: Engine
    pooling: str


def write_pooling(folder: Path, pooling: str) -> None:
    """The files that sentence-transformers writes."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    settings = {f"pooling_mode_{flag}": flag == FLAGS[pooling] for flag in FLAGS.values()}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))


def convert(case: Case, folder: Path) -> Path:
    path = folder / "model.gguf"
    convert_model(case.files(folder), path, keep_float32=True)
    return path


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Converted]:
    folder = tmp_path_factory.mktemp(request.param)
    case, pooling = ENCODERS[request.param]
    model = case.save(folder)
    if pooling:
        write_pooling(folder, pooling)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    with Engine(convert(case, folder), is_embedding=True) as engine:
        yield Converted(model, tokenizer, engine, pooling or "mean")


def hidden(model: Any, tokens: list[int]) -> torch.Tensor:
    inner = getattr(model, model.base_model_prefix, model)
    with torch.no_grad():
        found: torch.Tensor = inner(torch.tensor([tokens])).last_hidden_state[0].double()
    return found


def test_vectors(encoder: Converted) -> None:
    """Pooled vectors, each component within 0.01, and as good as the same direction."""
    for text in SENTENCES:
        tokens = encoder.tokenizer.encode(text)
        states = hidden(encoder.model, tokens)
        pooled = {"mean": states.mean(0), "cls": states[0], "lasttoken": states[-1]}[encoder.pooling].numpy()
        found = encoder.engine.embedding(tokens)
        assert np.abs(found - pooled).max() < 0.01, text
        assert found @ pooled / np.linalg.norm(found) / np.linalg.norm(pooled) > 0.99999


def test_tokens(encoder: Converted) -> None:
    """Every text becomes the same tokens."""
    wrong = {
        text: (found, expected)
        for text in texts()
        if (found := encoder.engine.tokenize(text)) != (expected := encoder.tokenizer.encode(text))
    }
    normalizer = encoder.tokenizer.backend_tokenizer.normalizer
    assert set(wrong) == (NOT_THE_ENGINE_S if getattr(normalizer, "lowercase", False) else set())


def test_real_sentence_model(tmp_path: Path) -> None:
    """all-MiniLM-L6-v2 as `create` converts it: the same tokens, and vectors of the same direction."""
    path = tmp_path / "minilm.gguf"
    convert_model(model_files(), path)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(model_folder())
    model = transformers.AutoModel.from_pretrained(model_folder()).eval()
    with Engine(path, is_embedding=True, num_ctx=512) as engine:
        for text in texts():
            if text not in NOT_THE_ENGINE_S:
                assert engine.tokenize(text) == tokenizer.encode(text)
        for text in [*texts()[::6], *SENTENCES]:
            tokens = tokenizer.encode(text)
            found = engine.embedding(tokens)
            expected = hidden(model, tokens).mean(0).numpy()
            assert found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) >= 0.9999, text


@pytest.fixture(scope="module", params=RERANKERS)
def reranker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Converted]:
    folder = tmp_path_factory.mktemp(request.param)
    case = RERANKERS[request.param]
    model = case.save(folder)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    with Engine(convert(case, folder), is_embedding=True, pooling="rank") as engine:
        yield Converted(model, tokenizer, engine, "rank")


def test_scores(reranker: Converted) -> None:
    """The score of a text, and through the server's own route that of a query and a document."""
    for query, document in pairwise(SENTENCES):
        tokens = reranker.tokenizer.encode(query, document)
        with torch.no_grad():
            # The engine has one kind of segment.
            kinds = torch.zeros(1, len(tokens), dtype=torch.long)
            extra = {"token_type_ids": kinds} if hasattr(reranker.model.config, "type_vocab_size") else {}
            expected = reranker.model(torch.tensor([tokens]), **extra).logits[0].double().numpy()
        assert np.abs(reranker.engine.embedding(tokens)[: len(expected)] - expected).max() < 0.01
        if len(expected) == 1:
            answer = reranker.engine.request("/rerank", {"query": query, "documents": [document]})
            assert abs(answer["results"][0]["relevance_score"] - expected[0]) < 0.01
