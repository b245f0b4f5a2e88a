"""A RAG import, scaled down: texts through the packages that people use, in the batches that they send."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.clients.conftest import LEFT_SOCKETS
from tests.conftest import Server
from tests.extras import lazily

if TYPE_CHECKING:
    import langchain_ollama
    import ollama
else:
    langchain_ollama = lazily("langchain_ollama")
    ollama = lazily("ollama")

# The whole import has 10,000 texts; a test run of every day has some hundred.
COUNT = int(os.environ.get("CORRAL_TEST_RAG_TEXTS", "300"))
_WORDS = "cat sea sun sky blue warm hello house tree river stone cloud".split()


def texts_of(count: int) -> list[str]:
    """Texts of 500 to 3,000 characters, each one of its own."""
    chosen = random.Random(7)
    texts = []
    for number in range(count):
        length = chosen.randrange(500, 3000)
        words: list[str] = [f"{number}"]
        while sum(map(len, words)) + len(words) < length:
            words.append(chosen.choice(_WORDS))
        texts.append(" ".join(words)[:length])
    return texts


@contextmanager
def closing_client(server: Server) -> Iterator[ollama.Client]:
    client = ollama.Client(host=server.base)
    try:
        yield client
    finally:
        client._client.close()  # the package has no public way


def with_langchain(server: Server, texts: Sequence[str]) -> list[list[float]]:
    return langchain_ollama.OllamaEmbeddings(model="embed", base_url=server.base).embed_documents(list(texts))


def with_ollama(server: Server, texts: Sequence[str]) -> list[list[float]]:
    rows: list[list[float]] = []
    with closing_client(server) as client:
        for start in range(0, len(texts), 1000):
            answer = client.embed(model="embed", input=texts[start : start + 1000])
            rows += [list(row) for row in answer.embeddings]
    return rows


def with_llama_index(server: Server, texts: Sequence[str]) -> list[list[float]]:
    package = pytest.importorskip(
        "llama_index.embeddings.ollama", reason="llama-index-embeddings-ollama is not installed"
    )
    model = package.OllamaEmbedding(model_name="embed", base_url=server.base, embed_batch_size=1000)
    rows: list[list[float]] = model.get_text_embedding_batch(list(texts))
    return rows


@LEFT_SOCKETS
@pytest.mark.usefixtures("leaves_sockets")
@pytest.mark.parametrize("embed", [with_langchain, with_ollama, with_llama_index])
def test_every_text_gets_its_vector(
    embed: Callable[[Server, Sequence[str]], list[list[float]]], server: Server
) -> None:
    """All vectors, in order, by one and the same engine process."""
    texts = texts_of(COUNT)
    with closing_client(server) as client:
        client.embed(model="embed", input="warm", keep_alive=-1)
        children = server.children()
        rows = embed(server, texts)
        assert len(rows) == len(texts)
        assert server.children() == children
        for number in sorted(random.Random(3).sample(range(len(texts)), 20)):
            alone = client.embed(model="embed", input=texts[number]).embeddings[0]
            assert list(rows[number]) == pytest.approx(list(alone), abs=1e-5)
