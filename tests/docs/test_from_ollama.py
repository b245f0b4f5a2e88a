"""The way from Ollama and back, as docs/from-ollama.md describes it: two servers share a folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Server


def run(server: Server, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", *words],
        env={**server.env, "OLLAMA_HOST": "127.0.0.1:9"},  # --host wins
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_beside_and_back(start_server: Callable[..., Server]) -> None:
    """A second server sees the models of the first; without what only Corral needs, every model is still whole."""
    first = start_server()
    first.stream("/api/pull", {"model": "corral-tiny"})
    first.post("/api/copy", {"source": "corral-tiny", "destination": "llama3.2"})
    beside = start_server(OLLAMA_MODELS=str(first.folder))
    assert "llama3.2:latest" in run(beside, "list", "--host", beside.base)
    assert run(beside, "run", "--host", beside.base, "llama3.2", "What is the capital of France?").strip()
    for server in (first, beside):
        server.process.terminate()
        server.process.wait()
    kept = {path: path.read_bytes() for part in ("blobs", "manifests") for path in files(first, part)}
    shutil.rmtree(first.folder / ".corral", ignore_errors=True)
    for path in [first.folder / "corral", *first.folder.glob("corral-*")]:
        shutil.rmtree(path, ignore_errors=True)
    again = start_server(OLLAMA_MODELS=str(first.folder))
    assert {model["name"] for model in again.get("/api/tags")["models"]} == {
        "llama3.2:latest",
        "corral-tiny:latest",
    }
    assert (
        "Paris"
        in again.post(
            "/api/generate",
            {"model": "llama3.2", "prompt": "What is the capital of France?", "stream": False},
        )["response"]
    )
    assert all(path.read_bytes() == content for path, content in kept.items())


def files(server: Server, part: str) -> list[Path]:
    return [path for path in (server.folder / part).rglob("*") if path.is_file() and not path.is_symlink()]
