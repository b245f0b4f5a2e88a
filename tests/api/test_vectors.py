"""Vectors in numbers: batches of a RAG import, clients that leave, models that give no numbers."""

from __future__ import annotations

import base64
import json
import struct
import threading
from pathlib import Path

import numpy
import pytest

from corral.weights.gguf import GGUFFile
from tests.conftest import FIXTURES, Server

# Longer in bytes than the context of the model, so that each has to be counted.
_LONG = "the sky is blue and the sun is warm " * 20


def test_many_long_texts_are_embedded_in_order_by_one_engine(server: Server) -> None:
    """Two thousand texts beyond the context's length in bytes; every vector is that of its text alone."""
    server.post("/api/embed", {"model": "embed", "input": "hello"})
    children = server.children()
    texts = [f"{word} {_LONG}" for word in ("hello", "sun", "cat", "sea")] * 500
    answer = server.post("/api/embed", {"model": "embed", "input": texts})
    assert len(answer["embeddings"]) == 2000
    assert answer["embeddings"] == answer["embeddings"][:4] * 500
    assert len({json.dumps(row) for row in answer["embeddings"]}) == 4
    for text, row in zip(texts[:4], answer["embeddings"], strict=False):
        alone = server.post("/api/embed", {"model": "embed", "input": text})["embeddings"][0]
        assert row == pytest.approx(alone, abs=1e-5)
    assert server.children() == children


def test_the_compatible_route_keeps_order_too(server: Server) -> None:
    """`/v1/embeddings` in both forms gives the numbers of the native route."""
    texts = [f"{i} {_LONG}" for i in range(300)]
    native = server.post("/api/embed", {"model": "embed", "input": texts})["embeddings"]
    plain = server.post("/v1/embeddings", {"model": "embed", "input": texts})["data"]
    packed = server.post("/v1/embeddings", {"model": "embed", "input": texts, "encoding_format": "base64"})[
        "data"
    ]
    assert [row["index"] for row in plain] == list(range(300))
    assert [row["embedding"] for row in plain] == native
    unpacked = [struct.unpack("<64f", base64.b64decode(row["embedding"])) for row in packed]
    assert numpy.array_equal(numpy.asarray(unpacked), numpy.asarray(native, numpy.float32))


def test_thousands_of_empty_texts_get_a_vector_each(server: Server) -> None:
    answer = server.post("/api/embed", {"model": "embed", "input": [""] * 4_000})
    assert len(answer["embeddings"]) == 4_000
    assert answer["embeddings"][0] == answer["embeddings"][-1]


def test_numbers_are_as_short_as_32_bits_allow(server: Server) -> None:
    """The native route prints each number with the digits that a 32-bit one needs."""
    _, data = server.request("POST", "/api/embed", {"model": "embed", "input": _LONG})
    numbers = data.partition(b"[[")[2].partition(b"]]")[0].decode().split(",")
    assert [str(numpy.float32(number)) for number in numbers if "e" not in number] == [
        number for number in numbers if "e" not in number
    ]


def test_others_are_served_while_a_crowd_counts_tokens(server: Server) -> None:
    """Eight hundred calls at once for tokens, and a stream on the same model that goes on to its end."""
    ended: list[bytes] = []
    body = {"model": "tiny", "prompt": "x", "raw": True, "options": {"num_predict": 400, "num_ctx": 512}}

    def stream() -> None:
        status, data = server.request("POST", "/api/generate", body)
        assert status == 200
        ended.append(data.splitlines()[-1])

    statuses: list[int] = []

    def count() -> None:
        statuses.append(
            server.request("POST", "/api/tokenize", {"model": "tiny", "content": "hello world " * 500})[0]
        )

    server.post("/api/generate", {"model": "tiny", "options": {"num_ctx": 512}})
    children = server.children()
    threads = [threading.Thread(target=stream), *(threading.Thread(target=count) for _ in range(800))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(ended[0])["done"] is True
    assert statuses == [200] * 800
    assert server.children() == children


@pytest.fixture
def nan_model(server: Server, tmp_path: Path) -> str:
    """An embedding model with a weight that is not a number."""
    source = FIXTURES / "embed.gguf"
    data = bytearray(source.read_bytes())
    file = GGUFFile.open(source)
    tensor = next(tensor for tensor in file.tensors if tensor.name == "token_embd_norm.bias")
    struct.pack_into("<f", data, file.data_offset + tensor.offset, float("nan"))
    path = tmp_path / "nan.gguf"
    path.write_bytes(data)
    digest = server.upload(path)
    server.post("/api/create", {"model": "nan", "files": {"nan.gguf": digest}, "stream": False})
    return "nan"


def test_vectors_that_are_not_numbers_are_an_error_that_says_so(server: Server, nan_model: str) -> None:
    for path, body in (
        ("/api/embed", {"input": "dog"}),
        ("/api/embed", {"input": ["dog " * 500, ""]}),
        ("/api/embeddings", {"prompt": "dog"}),
        ("/v1/embeddings", {"input": "dog"}),
        ("/v1/embeddings", {"input": "dog", "encoding_format": "base64"}),
    ):
        status, data = server.request("POST", path, {"model": nan_model, **body})
        assert (status, b"NaN or Inf" in data) == (400, True), (path, data)
