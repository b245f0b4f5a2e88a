"""`corral cluster status`, `drain`, `undrain`, `remove` and `key`, as people type them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.conftest import Cluster
from tests.conftest import Server
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def pair(make_cluster: Callable[..., Cluster]) -> Cluster:
    return make_cluster("ab")


def run(server: Server, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "cluster", *words],
        env={**server.env, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_status(pair: Cluster) -> None:
    shown = run(pair["a"], "status")
    assert shown.returncode == 0, shown.stderr
    head, *rows = shown.stdout.splitlines()
    assert head.split()[:3] == ["NODE", "URL", "STATE"]
    assert [row.split()[0] for row in rows] == ["a", "b"] and all("alive" in row for row in rows)
    found = json.loads(run(pair["a"], "status", "--json").stdout)
    assert [node["name"] for node in found["nodes"]] == ["a", "b"]


def test_drain_and_remove(pair: Cluster) -> None:
    assert run(pair["a"], "drain", "b").stdout == "b takes nothing new\n"
    wait_until(lambda: pair.status("a")["b"]["draining"])
    assert "draining" in run(pair["a"], "status").stdout
    assert run(pair["a"], "undrain", "b").returncode == 0
    wait_until(lambda: not pair.status("a")["b"]["draining"])
    assert "take it out of CORRAL_CLUSTER_PEERS" in run(pair["a"], "remove", "b").stdout
    assert list(pair.status("a")) == ["a"]
    assert run(pair["a"], "undrain", "b").returncode == 0
    pair.wait_for("b", at="a")


@pytest.mark.parametrize("what", ["drain", "undrain", "remove"])
def test_a_node_that_nobody_knows(pair: Cluster, what: str) -> None:
    failed = run(pair["a"], what, "nobody")
    assert failed.returncode == 1 and "there is no node 'nobody'" in failed.stderr


def test_without_a_cluster(server: Server) -> None:
    failed = run(server, "status")
    assert failed.returncode == 1 and "does not belong to a cluster" in failed.stderr


def test_key(pair: Cluster, tmp_path: Path) -> None:
    """For its owner alone, never over another one, and not shown."""
    path = tmp_path / "folder" / "key"
    made = run(pair["a"], "key", CORRAL_CLUSTER_KEY_FILE=str(path))
    assert made.returncode == 0 and made.stdout == f"{path}\n"
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600 and text.strip() not in made.stdout + made.stderr
    again = run(pair["a"], "key", CORRAL_CLUSTER_KEY_FILE=str(path))
    assert again.returncode == 1 and "exists already" in again.stderr and path.read_text() == text


@pytest.mark.parametrize(("mode", "word"), [(None, "does not exist"), (0o644, "others may read")])
def test_a_server_without_a_key_does_not_start(
    tmp_path: Path, pair: Cluster, mode: int | None, word: str
) -> None:
    path = tmp_path / "key"
    if mode is not None:
        path.write_text(pair.key_file.read_text())
        path.chmod(mode)
    env = {**pair["a"].env, "OLLAMA_HOST": "127.0.0.1:0", "CORRAL_CLUSTER_KEY_FILE": str(path)}
    ended = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "serve"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 1 and word in ended.stderr
