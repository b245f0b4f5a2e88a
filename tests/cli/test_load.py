"""`load` and CORRAL_PRELOAD: models that are loaded before anybody asks them something."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.replay import Replay
from tests.conftest import Server
from tests.doubles.reranker import write_gguf
from tests.waiting import wait_until


def run(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _loaded(server: Server) -> list[str]:
    return [model["name"] for model in server.get("/api/ps")["models"]]


def test_models_of_every_kind(server: Server, tmp_path: Path) -> None:
    """Chat models, models of embeddings and rerankers, each by the request that it answers."""
    ranker = tmp_path / "ranker.gguf"
    write_gguf(ranker)
    digest = server.upload(ranker)
    server.post("/api/create", {"model": "load-ranker", "files": {"r.gguf": digest}, "stream": False})
    names = ["say", "embed", "load-ranker"]
    for name in _loaded(server):  # three may be loaded at a time, whoever left theirs
        run(server.env, "stop", name)
    wait_until(lambda: not _loaded(server))
    result = run(server.env, "load", *names)
    assert result.returncode == 0, result.stderr
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == [f"loaded '{n}'" for n in names]
    assert ", 100% CPU, context " in result.stdout.splitlines()[0]
    assert {f"{name}:latest" for name in names} <= set(_loaded(server))


def test_one_that_fails_does_not_keep_the_others(server: Server) -> None:
    result = run(server.env, "load", "no-such-model", "say")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: no-such-model: model 'no-such-model:latest' not found")
    assert result.stdout.startswith("loaded 'say': ")
    alone = run(server.env, "load", "no-such-model")
    assert alone.returncode == 1
    assert alone.stderr.startswith("Error: model 'no-such-model:latest' not found")


def test_how_long_it_stays(server: Server) -> None:
    assert run(server.env, "load", "say", "--keepalive", "10").returncode == 1
    before = server.post("/api/generate", {"model": "say", "keep_alive": "1m", "stream": False})
    assert before["done_reason"] == "load"
    assert run(server.env, "load", "say", "--keepalive", "-1s").returncode == 0
    (entry,) = [model for model in server.get("/api/ps")["models"] if model["name"] == "say:latest"]
    assert entry["expires_at"] > "2100"
    server.post("/api/generate", {"model": "say", "keep_alive": "5m", "stream": False})


def test_other_servers_load_models_too(
    replay: Callable[..., Replay], script: Callable[..., list[dict[str, Any]]]
) -> None:
    """The requests are Ollama's; a model that is gone by then is no reason to fail."""
    listed = {"method": "GET", "path": "/api/ps", "json": None, "status": 200, "ctype": "application/json"}
    double = replay([*script("x"), {**listed, "kind": "json", "body": {"models": []}}])
    result = run(double.env, "load", "m")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("loaded 'm'; ")


@pytest.mark.slow
def test_models_are_loaded_at_the_start(start_server: Callable[..., Server], server: Server) -> None:
    """In their order, and one that is not there is an error that says what to do; the server runs all the same."""
    started = start_server(OLLAMA_MODELS=str(server.folder), CORRAL_PRELOAD="no-such-model, say,embed")
    wait_until(lambda: {"say:latest", "embed:latest"} <= set(_loaded(started)))
    text = "".join(started.log)
    assert "CORRAL_PRELOAD: no-such-model cannot be loaded: model 'no-such-model' not found" in text
    assert text.index("loading model=say") < text.index("loading model=embed")
