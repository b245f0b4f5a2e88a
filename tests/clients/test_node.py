"""Packages from npm: `ollama`, `openai`, and the `ai` SDK with its OpenAI provider on both of OpenAI's APIs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import MODEL
from tests.conftest import Server

OURS = Path(__file__).parent / "node"
# `./dev clients --newest` has a copy with the newest packages.
FOLDER = Path(os.environ.get("CORRAL_TEST_NODE", OURS))
_NODE_TIMEOUT_S = 150
_NPM_TIMEOUT_S = 150


@pytest.fixture(scope="module")
def node() -> str:
    """The program, with the packages of the lock file installed."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        pytest.skip("Node and npm are not installed")
    installed = FOLDER / "node_modules" / ".package-lock.json"
    lock = FOLDER / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        done = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund"],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=_NPM_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"npm ci failed: {done.stderr[-300:]}")
    return program


def converse(node: str, name: str, server: Server) -> dict[str, Any]:
    done = subprocess.run(
        [node, "conversation.mjs", name, server.base],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=_NODE_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


CALLS = [{"name": "get_weather", "arguments": {"city": "Paris"}}]


def check_basics(result: dict[str, Any]) -> None:
    assert "Paris" in result["whole"]
    assert len(result["pieces"]) > 2
    assert "".join(result["pieces"]) == result["whole"]
    assert result["calls"] == CALLS
    assert "sunny" in result["final"].lower()


def test_the_lock_names_no_registry() -> None:
    """Whoever installs uses the registry of their own configuration."""
    text = (OURS / "package-lock.json").read_text()
    assert '"resolved"' not in text
    assert json.loads(text)["packages"]["node_modules/ollama"]["integrity"].startswith("sha512-")


def test_ollama(node: str, tiny: Server) -> None:
    """Chat whole and streamed, a tool round trip, embeddings, the list."""
    result = converse(node, "ollama", tiny)
    check_basics(result)
    assert result["vectors"] == 2
    assert result["isListed"], MODEL


def test_openai(node: str, tiny: Server) -> None:
    """Chat, a tool that the package runs, and streamed responses of a model that thinks, calls, and is cut."""
    result = converse(node, "openai", tiny)
    check_basics(result)
    assert "response.reasoning_summary_part.added" in result["kinds"]
    assert result["response"]["text"]
    assert result["response"]["reasoning"][0]
    assert result["called"] == CALLS
    assert result["last"] == "response.incomplete"


@pytest.mark.parametrize("kind", ["chat", "responses"])
def test_ai_sdk(node: str, tiny: Server, kind: str) -> None:
    """Texts, an agent that runs its tool (whole and streamed), an object of a schema."""
    result = converse(node, kind, tiny)
    check_basics(result)
    assert result["streamedCalls"] == CALLS
    assert "sunny" in result["streamedFinal"].lower()
    assert isinstance(result["object"]["capital"], str)
    assert result["usage"] > 0
