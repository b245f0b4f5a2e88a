"""Groups of models on a server with real engines."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PLAIN_TEMPLATE, Server
from tests.operations.test_events import listed
from tests.operations.test_reload import read_again

GROUPS = """\
[scheduler]
max_loaded_models = 1
keep_alive = "10m"

[groups.pair]
members = ["say", "tiny"]
mode = "one-at-a-time"

[groups.always]
members = ["embed"]
mode = "pinned"
"""


def ask(server: Server, model: str) -> None:
    server.post(
        "/api/generate", {"model": model, "prompt": "x", "stream": False, "options": {"num_predict": 1}}
    )


def loaded(server: Server) -> dict[str, Any]:
    return {model["name"]: model for model in server.get("/api/ps")["models"]}


@pytest.mark.process
def test_groups_of_a_configuration_file(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """A pinned model stays although one is the limit; two take turns; events name the group; all of it can change."""
    file = tmp_path / "c.toml"
    file.write_text(GROUPS)
    server = start_server(CORRAL_CONFIG=str(file))
    server.create("say", "say", template=PLAIN_TEMPLATE)
    server.create("tiny", "tiny")
    server.create("embed", "embed")
    server.post("/api/embed", {"model": "embed", "input": "x"})
    ask(server, "say")
    assert loaded(server).keys() == {"embed:latest", "say:latest"}
    pinned, other = loaded(server)["embed:latest"], loaded(server)["say:latest"]
    assert (pinned["pinned"], pinned["groups"]) == (True, ["always"])
    assert "pinned" not in other and other["groups"] == ["pair"]
    ask(server, "tiny")
    assert loaded(server).keys() == {"embed:latest", "tiny:latest"}
    [unloaded] = [event for event in listed(server) if event["event"] == "unloaded"]
    assert unloaded["model"] == "say:latest" and unloaded["cause"] == "group"
    assert unloaded["reason"] == "group pair: one at a time, and tiny:latest is next"
    assert any("unloaded model=say:latest" in line and "group pair" in line for line in server.log)
    shown = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "ps"],
        env={**os.environ, "OLLAMA_HOST": f"127.0.0.1:{server.port}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    [line] = [line for line in shown.splitlines() if line.startswith("embed")]
    assert line.rstrip().endswith("(pinned)")
    read_again(server, file, GROUPS.replace("pinned", "together"))
    assert "pinned" not in loaded(server)["embed:latest"]
    ask(server, "say")
    assert loaded(server).keys() == {"say:latest"}, "embed counts again, and makes room"
