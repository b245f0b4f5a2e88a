"""tokenize, embed and rerank as they are typed, on real models."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.replay import Replay
from tests.cli.screen import Screen
from tests.conftest import Server
from tests.doubles.reranker import reference_score, write_gguf

QUERY = "the blue sky"
DOCUMENTS = ["a dog in the house", "the sky is blue", "money in the bank"]


def run(env: dict[str, str], *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", *words],
        input=stdin,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def env(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The shared server with a reranker beside its models."""
    path: Path = tmp_path_factory.mktemp("model") / "ranker.gguf"
    write_gguf(path)
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    server.request("POST", f"/api/blobs/{digest}", path.read_bytes())
    server.post("/api/create", {"model": "cli-ranker", "files": {"ranker.gguf": digest}, "stream": False})
    return server.env


def test_tokens(env: dict[str, str], server: Server) -> None:
    """The forms agree with the API; the pieces put together are the text; standard input counts as it is."""
    text = "the blue  sky — né\n"
    api: dict[str, Any] = server.post("/api/tokenize", {"model": "say", "content": text})
    assert run(env, "tokenize", "say", "--ids", stdin=text).stdout.split() == [*map(str, api["tokens"])]
    assert run(env, "tokenize", "say", text, "--count").stdout == f"{len(api['tokens'])}\n"
    whole = json.loads(run(env, "tokenize", "say", text, "--json").stdout)
    assert whole["tokens"] == api["tokens"]
    table = run(env, "tokenize", "say", "the", "sky").stdout.splitlines()
    assert table[0].split() == ["ID", "PIECE"]
    pieces = [json.loads(line.split(maxsplit=1)[1]) for line in table[1:] if '"' in line]
    assert "".join(pieces).replace("\xa0", " ").strip() == "the sky"


def test_forms_exclude_each_other(env: dict[str, str]) -> None:
    """And an unknown model is the server's error."""
    assert "only one of" in run(env, "tokenize", "say", "x", "--ids", "--count").stderr
    assert "not found" in run(env, "tokenize", "nope", "x").stderr


def test_vectors(env: dict[str, str], server: Server) -> None:
    """One line a text, as the API has it; lines of standard input without the empty ones, in more than one batch."""
    lines = [f"text {number}" for number in range(70)]
    printed = run(env, "embed", "embed", stdin="\n\n".join(lines) + "\n").stdout.splitlines()
    assert len(printed) == 70
    wanted = server.post("/api/embed", {"model": "embed", "input": [lines[0], lines[69]]})["embeddings"]
    assert json.loads(printed[0]) == pytest.approx(wanted[0], abs=1e-5)
    assert json.loads(printed[69]) == pytest.approx(wanted[1], abs=1e-5)
    cut = run(env, "embed", "embed", "a b", "c", "--dimensions", "4").stdout.splitlines()
    assert [len(json.loads(line)) for line in cut] == [4, 4]
    assert math.hypot(*json.loads(cut[0])) == pytest.approx(1, abs=1e-4)
    answer = json.loads(run(env, "embed", "embed", "a", "--json").stdout)
    assert answer["model"] == "embed"
    assert len(answer["embeddings"]) == 1
    assert run(env, "embed", "embed", stdin=" \n").stderr == "Error: no text given: standard input is empty\n"


def test_ranking(env: dict[str, str]) -> None:
    """Best first with the numbers of the input's lines; scores are those of an independent computation."""
    result = run(env, "rerank", "cli-ranker", QUERY, "--raw", stdin="\n".join(DOCUMENTS))
    assert result.returncode == 0, result.stderr
    rows = [line.split(maxsplit=2) for line in result.stdout.splitlines()[1:]]
    expected = sorted(
        ((reference_score(QUERY, text), number, text) for number, text in enumerate(DOCUMENTS, 1)),
        reverse=True,
    )
    assert [(int(number), text.strip()) for _, number, text in rows] == [(n, text) for _, n, text in expected]
    assert [float(score) for score, _, _ in rows] == pytest.approx(
        [score for score, _, _ in expected], abs=5e-3
    )
    best = run(env, "rerank", "cli-ranker", QUERY, *DOCUMENTS, "-n", "1").stdout.splitlines()
    assert len(best) == 2
    whole = json.loads(run(env, "rerank", "cli-ranker", QUERY, *DOCUMENTS, "--json").stdout)
    assert whole["results"][0]["document"] == {"text": expected[0][2]}
    assert "top_n must be at least 1" in run(env, "rerank", "cli-ranker", QUERY, "x", "-n", "0").stderr


def test_long_documents_fit_the_terminal(env: dict[str, str], terminal: Callable[..., Screen]) -> None:
    """Cut with an ellipsis, control characters as pictures."""
    screen = terminal(env, "rerank", "cli-ranker", QUERY, "the 日本 \x1b[31m " * 9, columns=70)
    assert screen.wait_for_end() == 0
    assert "…" in screen.text
    assert "␛[31m" in screen.text
    assert len(screen.text.splitlines()) == 2


def test_a_terminal_is_no_text(env: dict[str, str], terminal: Callable[..., Screen]) -> None:
    """Nothing waits for a person who does not know that it waits."""
    screen = terminal(env, "tokenize", "say")
    assert screen.wait_for_end() == 1
    assert "no text given" in screen.text


def test_a_server_without_the_route(replay: Callable[..., Replay]) -> None:
    """Ollama tokenizes for nobody."""
    result = run(replay().env, "tokenize", "one", "x")
    assert result.returncode == 1
    assert result.stderr == "Error: this server has no /api/tokenize; a Corral server is required\n"
