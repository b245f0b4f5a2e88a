"""A real sentence model through the server: its vectors against an independent computation, and their sense."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corral.weights.convert import convert_model
from tests.conftest import Server
from tests.doubles.sentence_model import model_files, reference_embedding


@pytest.fixture(scope="module")
def minilm(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    path: Path = tmp_path_factory.mktemp("model") / "minilm.gguf"
    convert_model(model_files(), path)
    data = path.read_bytes()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    status, _ = server.request("POST", f"/api/blobs/{digest}", data)
    assert status == 201
    server.post("/api/create", {"model": "minilm", "files": {"minilm.gguf": digest}, "stream": False})
    return server


def embed(server: Server, *texts: str) -> Any:
    return np.array(server.post("/api/embed", {"model": "minilm", "input": list(texts)})["embeddings"])


@pytest.mark.parametrize("text", ["the cat sat on the mat", "a stock market report", "rain", "hello world"])
def test_vectors_agree_with_the_reference(minilm: Server, text: str) -> None:
    """Cosine of at least 0.9999 to numpy's own forward pass."""
    assert float(embed(minilm, text)[0] @ reference_embedding(text.split())) >= 0.9999


def test_what_is_alike_is_near(minilm: Server) -> None:
    """Sentences of one sense are nearer to each other than to one of another."""
    cat, kitten, money = embed(
        minilm, "A cat is sleeping.", "A small kitten takes a nap.", "The central bank raised interest rates."
    )
    assert cat @ kitten > 0.5
    assert cat @ money < 0.2


def test_it_is_an_embedding_model(minilm: Server) -> None:
    """Show says so, chat is refused, long texts are cut or refused as asked."""
    assert minilm.post("/api/show", {"model": "minilm"})["capabilities"] == ["embedding"]
    status, data = minilm.request(
        "POST", "/api/chat", {"model": "minilm", "messages": [{"role": "user", "content": "x"}]}
    )
    assert (status, data) == (400, b'{"error":"\\"minilm\\" does not support chat"}')
    long = "word " * 2000
    assert minilm.post("/api/embed", {"model": "minilm", "input": long})["prompt_eval_count"] == 512
    status, data = minilm.request("POST", "/api/embed", {"model": "minilm", "input": long, "truncate": False})
    assert (status, data) == (400, b'{"error":"the input length exceeds the context length"}')
