"""Rerank, tokenize and detokenize on real models: scores against an independent computation, and what is refused."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.doubles.reranker import reference_score, write_gguf

QUERY = "the blue sky"
DOCUMENTS = ["the sky is blue", "a dog in the house", "money in the bank", "rain on the river", "the tree"]


@pytest.fixture(scope="module")
def ranker(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    for name, says_pooling in (("ranker", True), ("old-ranker", False)):
        path: Path = tmp_path_factory.mktemp("model") / "ranker.gguf"
        write_gguf(path, says_pooling=says_pooling)
        data = path.read_bytes()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        server.request("POST", f"/api/blobs/{digest}", data)
        server.post("/api/create", {"model": name, "files": {"ranker.gguf": digest}, "stream": False})
    return server


def rerank(server: Server, path: str = "/v1/rerank", **fields: Any) -> Any:
    body = {"model": "ranker", "query": QUERY, "documents": DOCUMENTS, **fields}
    return server.post(path, body)


@pytest.mark.parametrize("model", ["ranker", "old-ranker"])
@pytest.mark.parametrize("path", ["/v1/rerank", "/api/rerank"])
def test_scores_agree_with_numpy(ranker: Server, path: str, model: str) -> None:
    """Raw scores are numpy's (the engine has half-precision steps); the others are those through the logistic."""
    expected = [reference_score(QUERY, document) for document in DOCUMENTS]
    assert max(expected) - min(expected) > 0.1
    raw = rerank(ranker, path, model=model, raw_scores=True)
    assert {row["index"]: row["relevance_score"] for row in raw["results"]} == pytest.approx(
        dict(enumerate(expected)), abs=5e-3
    )
    answer = rerank(ranker, path, model=model)
    scores = [row["relevance_score"] for row in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert scores == pytest.approx(sorted((1 / (1 + math.exp(-x)) for x in expected), reverse=True), abs=2e-3)
    words = sum(len(f"{QUERY} {document}".split()) + 3 for document in DOCUMENTS)
    assert answer["usage"]["total_tokens"] == words


def test_top_n_and_documents(ranker: Server) -> None:
    """Only the best, with what was sent: texts as `{"text": …}`, objects as they came."""
    documents: list[Any] = [*DOCUMENTS[:4], {"text": DOCUMENTS[4], "id": 7}]
    everything = rerank(ranker, documents=documents)["results"]
    assert all("document" not in row for row in everything)
    best = rerank(ranker, documents=documents, top_n=2, return_documents=True)["results"]
    assert [row["index"] for row in best] == [row["index"] for row in everything[:2]]
    for row in rerank(ranker, documents=documents, return_documents=True, top_n=99)["results"]:
        sent = documents[row["index"]]
        assert row["document"] == (sent if isinstance(sent, dict) else {"text": sent})


def test_many_documents_and_long_ones(ranker: Server) -> None:
    """More than one engine call, and texts beyond the context, cut at the end or refused as asked."""
    many = rerank(ranker, documents=DOCUMENTS * 60)["results"]
    assert sorted(row["index"] for row in many) == list(range(300))
    by_index = {row["index"]: row["relevance_score"] for row in many}
    assert by_index[0] == pytest.approx(by_index[5], abs=1e-5)
    long = "rain " * 500
    assert len(rerank(ranker, documents=[long, "sun"])["results"]) == 2
    status, data = ranker.request(
        "POST",
        "/v1/rerank",
        {"model": "ranker", "query": "sun", "documents": [long], "truncate": False},
    )
    assert status == 400
    assert "longer than the context" in json.loads(data)["error"]["message"]
    status, data = ranker.request(
        "POST", "/api/rerank", {"model": "ranker", "query": long, "documents": ["a"]}
    )
    assert (status, "query is longer" in json.loads(data)["error"]) == (400, True)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"query": ""}, "query is required"),
        ({"documents": []}, "documents is required"),
        ({"documents": None}, "documents is required"),
        ({"documents": ["a", 5]}, 'documents[1] must be a text, or an object with a "text"'),
        ({"documents": [{"body": "a"}]}, "documents[0] must be"),
        ({"documents": ["a"] * 2049}, "2048 documents at most"),
        ({"top_n": 0}, "top_n must be at least 1"),
        ({"top_n": "2"}, "top_n"),
        ({"model": "tiny"}, '"tiny" does not support rerank'),
        ({"model": "embed"}, '"embed" does not support rerank'),
        ({"model": ""}, "model is required"),
    ],
)
def test_refused(ranker: Server, fields: dict[str, Any], text: str) -> None:
    """Each surface in its own form, with the same words."""
    body = {"model": "ranker", "query": QUERY, "documents": DOCUMENTS, **fields}
    status, data = ranker.request("POST", "/v1/rerank", body)
    error = json.loads(data)["error"]
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert text in error["message"]
    status, data = ranker.request("POST", "/api/rerank", body)
    assert status == 400
    assert text in json.loads(data)["error"]


def test_an_option_of_the_wrong_type(ranker: Server) -> None:
    """The native API has 500 for it; clients of the other would try again."""
    body = {"model": "ranker", "query": QUERY, "documents": DOCUMENTS, "options": {"num_ctx": "many"}}
    status, data = ranker.request("POST", "/v1/rerank", body)
    text = 'option "num_ctx" must be of type integer'
    assert (status, json.loads(data)["error"]["message"]) == (400, text)
    status, data = ranker.request("POST", "/api/rerank", body)
    assert (status, json.loads(data)["error"]) == (500, text)


def test_a_reranker_says_so(ranker: Server) -> None:
    """Show and tags list the capability; vectors are refused, because there are none."""
    assert ranker.post("/api/show", {"model": "ranker"})["capabilities"] == ["embedding", "rerank"]
    status, data = ranker.request("POST", "/api/embed", {"model": "ranker", "input": "a"})
    assert (status, "is a reranker" in json.loads(data)["error"]) == (400, True)
    status, data = ranker.request("POST", "/v1/rerank", {"model": "nope", "query": "a", "documents": ["b"]})
    assert (status, json.loads(data)["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize("text", ["", "hello world", "  two  spaces\n", "Grüße 世界 😀", "<|im_end|> x"])
@pytest.mark.parametrize("model", ["tiny", "say"])
def test_tokens_there_and_back(server: Server, model: str, text: str) -> None:
    answer = server.post("/api/tokenize", {"model": model, "content": text, "with_pieces": True})
    assert len(answer["pieces"]) == len(answer["tokens"])
    back = server.post("/api/detokenize", {"model": model, "tokens": answer["tokens"]})
    assert back["content"] == text
    raw = b"".join(piece.encode() if isinstance(piece, str) else bytes(piece) for piece in answer["pieces"])
    assert raw.decode() == text


def test_tokens_of_an_embedding_model(server: Server) -> None:
    plain = server.post("/api/tokenize", {"model": "embed", "content": "hello world"})["tokens"]
    framed = server.post("/api/tokenize", {"model": "embed", "content": "hello world", "add_special": True})
    assert framed["tokens"][1:-1] == plain


def test_counting_tokens_keeps_the_loaded_model_as_it_is(server: Server) -> None:
    """A model that was loaded with a context of its own is not loaded again for its vocabulary."""
    server.post("/api/generate", {"model": "tiny", "options": {"num_ctx": 384}, "keep_alive": "5m"})
    children = server.children()
    server.post("/api/tokenize", {"model": "tiny", "content": "a"})
    assert server.children() == children
    entry = next(entry for entry in server.get("/api/ps")["models"] if entry["name"] == "tiny:latest")
    assert entry["context_length"] == 384


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/api/tokenize", {"model": "tiny"}, "content is required"),
        ("/api/tokenize", {"model": "tiny", "content": 5}, "content"),
        ("/api/tokenize", {"content": "a"}, "model is required"),
        ("/api/tokenize", {"model": "nope", "content": "a"}, "model 'nope' not found"),
        ("/api/detokenize", {"model": "tiny"}, "tokens is required"),
        ("/api/detokenize", {"model": "tiny", "tokens": [-1]}, "has no token -1"),
        ("/api/detokenize", {"model": "tiny", "tokens": [10**9]}, "has no token 1000000000"),
        ("/api/detokenize", {"model": "tiny", "tokens": ["a"]}, "tokens"),
    ],
)
def test_tokens_refused(server: Server, path: str, body: dict[str, Any], text: str) -> None:
    status, data = server.request("POST", path, body)
    assert status in (400, 404)
    assert text in json.loads(data)["error"]


def test_the_documented_pair_belongs_together(server: Server) -> None:
    """What the page tokenizes is what it turns back."""
    server.post("/api/pull", {"model": "corral-tiny", "stream": False})
    page = (Path(__file__).parents[2] / "docs" / "openai.md").read_text()
    calls = re.findall(r"curl \S+(/api/(?:de)?tokenize) -d '(.*)'", page)
    assert [path for path, _ in calls] == ["/api/tokenize", "/api/detokenize"]
    asked, tokens = (json.loads(body) for _, body in calls)
    assert server.post("/api/tokenize", asked)["tokens"] == tokens["tokens"]
    assert server.post("/api/detokenize", tokens)["content"] == asked["content"]
