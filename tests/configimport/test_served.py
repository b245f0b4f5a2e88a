"""A file of another server, imported as its user would, and served."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.access.conftest import KeyedServer
from tests.conftest import FIXTURES, Server

pytestmark = pytest.mark.process
SOURCE = Path(__file__).parent / "llama-swap.yaml"
MESSAGES = [{"role": "user", "content": "now A"}]


def corral(server: Server | None, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    base = {name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "CORRAL_"))}
    base |= {"OLLAMA_HOST": server.base, "HOME": str(server.folder)} if server else {}
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "config", "import", *words],
        env={**base, "MODELS_DIR": str(FIXTURES), "LLAMA_SWAP_KEY": "sk-secret", **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def swapped(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedServer]:
    """A server that serves the file: the models are created on another one, which has the same folder."""
    file = tmp_path_factory.mktemp("config") / "config.toml"
    first = Server()
    try:
        done = corral(first, str(SOURCE), "--create", "--output", str(file))
        assert done.returncode == 0, done.stderr
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        # The file asks for warnings alone; the tests look at the log.
        env = {"CORRAL_CONFIG": str(file), "OLLAMA_MODELS": str(first.folder), "OLLAMA_DEBUG": "0"}
        server = KeyedServer(**env, CORRAL_OFFLINE="1")
        try:
            yield server
        finally:
            server.close()
    finally:
        first.close()


def chat(server: Server, model: str, **members: Any) -> dict[str, Any]:
    answer: dict[str, Any] = server.post(
        "/v1/chat/completions", {"model": model, "messages": MESSAGES, **members}
    )
    return answer


@pytest.mark.parametrize(
    "name",
    [
        "qwen3-30b-a3b", "gpt-4o", "gpt-4o-mini", "chat", "Qwen Coder (fast)", "coder", "openai/gpt-5-codex",
        "Qwen Coder (fast):low", "Qwen Coder (fast):high",
    ],
)  # fmt: skip
def test_every_name_of_the_file_answers(swapped: KeyedServer, name: str) -> None:
    answer = chat(swapped, name, max_tokens=4)
    assert answer["model"] == name and answer["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("name", ["embeddings", "embeddings-in-docker", "text-embedding-3-small"])
def test_every_name_of_a_model_for_vectors(swapped: KeyedServer, name: str) -> None:
    answer = swapped.post("/v1/embeddings", {"model": name, "input": "x"})
    assert len(answer["data"][0]["embedding"]) > 8


def test_options_and_filters_hold(swapped: KeyedServer) -> None:
    """`:low` has 8 tokens whatever a request says, the model itself 64 unless it says something."""
    assert chat(swapped, "Qwen Coder (fast):low", max_tokens=50)["usage"]["completion_tokens"] <= 8
    texts = {json.dumps(chat(swapped, "Qwen Coder (fast)", seed=n)["choices"]) for n in range(3)}
    assert len(texts) == 1  # the seed is set, and requests cannot change it
    chat(swapped, "gpt-4o", max_tokens=4)
    loads = [line for line in swapped.log if "loading model=qwen3-30b-a3b" in line]
    assert loads and "slots=2" in loads[0]


def test_groups_behave(swapped: KeyedServer) -> None:
    """Of the large ones one is loaded at a time; the small ones, which have the same file, stay."""

    def loaded() -> set[str]:
        return {model["name"].removesuffix(":latest") for model in swapped.get("/api/ps")["models"]}

    swapped.post("/v1/embeddings", {"model": "text-embedding-3-small", "input": "x"})
    for name, model in (("chat", "qwen3-30b-a3b"), ("coder", "Qwen-Coder-fast"), ("gpt-4o", "qwen3-30b-a3b")):
        chat(swapped, name, max_tokens=2)
        large = {"qwen3-30b-a3b", "Qwen-Coder-fast"} & loaded()
        assert large == {model}
        assert {"embeddings", "embeddings-in-docker"} & loaded()


def test_what_the_file_has_and_corral_not_is_not_served(swapped: KeyedServer) -> None:
    for name in ("whisper", "vllm-70b", "z-ai/glm-4.7"):
        body = {"model": name, "messages": MESSAGES}
        assert swapped.request("POST", "/v1/chat/completions", body)[0] == 404
    assert swapped.request("POST", "/v1/chat/completions", {"model": "chat"}, {})[0] == 401  # apiKeys


def test_nothing_is_overwritten(server: Server, tmp_path: Path) -> None:
    """Neither a file, nor a model that has the name of one."""
    file, source = tmp_path / "config.toml", tmp_path / "swap.yaml"
    source.write_text(f"models: {{say: {{cmd: llama-server -m {FIXTURES / 'tiny.gguf'}}}}}")
    file.write_text("mine")
    before = server.post("/api/show", {"model": "say"})["modelfile"]
    refused = corral(server, str(source), "-o", str(file))
    assert refused.returncode == 1 and "--force replaces it" in refused.stderr
    assert file.read_text() == "mine"
    done = corral(server, str(source), "-o", str(file), "--force", "--create")
    assert done.returncode == 0 and "say: exists already" in done.stderr
    assert "[models.say]" not in file.read_text() and "corral create say -f -" in file.read_text()
    assert server.post("/api/show", {"model": "say"})["modelfile"] == before


def test_presets(server: Server, tmp_path: Path) -> None:
    """By the name of the file, or because it is said; a model that cannot be created does not stop the others."""
    (tmp_path / "fixtures").symlink_to(FIXTURES)
    source = tmp_path / "presets.ini"
    source.write_text("[one]\nm = fixtures/none.gguf\n[imported/preset:x]\nm = fixtures/tiny.gguf\n")
    done = corral(server, str(source), "--create")
    assert done.returncode != 0 and "none.gguf" in done.stderr
    assert server.post("/api/show", {"model": "imported/preset:x"})["details"]["format"] == "gguf"
    assert server.request("DELETE", "/api/delete", {"model": "imported/preset:x"})[0] == 200
    same = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "config", "import", "-", "--from", "presets"],
        input=source.read_text(),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert same.stdout.splitlines()[1:] == done.stdout.splitlines()[1:]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "usage"),
        (["a", "b"], "usage"),
        (["/nonexistent.yaml"], "no such file"),
        ([str(FIXTURES / "say.gguf")], "not UTF-8"),
        ([str(FIXTURES)], "is a directory"),
        ([__file__], "line"),
        ([__file__, "--from", "toml"], "cannot import from"),
        ([str(SOURCE), "-o", "/nonexistent/x/config.toml"], "no such file"),
    ],
)
def test_what_cannot_be_imported(words: list[str], reason: str) -> None:
    done = corral(None, *words)
    assert done.returncode == 1 and reason in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_create_needs_a_server(tmp_path: Path) -> None:
    done = corral(None, str(SOURCE), "--create", OLLAMA_HOST="127.0.0.1:9", HOME=str(tmp_path))
    assert done.returncode == 1 and "127.0.0.1:9" in done.stderr
