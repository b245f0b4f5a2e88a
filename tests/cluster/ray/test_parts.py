"""Small parts: waits between starts, log files, locks, the environment, Ray's words and its command."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.ray import library
from corral.cluster.ray.backoff import Backoff
from corral.cluster.ray.command import clean_ray_folder, ray_command, ray_folder
from corral.cluster.ray.environment import ray_environment, server_environment
from corral.cluster.ray.failures import (
    SlowStartError,
    UnreachableError,
    VersionError,
    WrongTokenError,
    explain,
    explain_early,
)
from corral.cluster.ray.library import RayError, need_ray
from corral.cluster.ray.logfile import bound_log, open_log, tail
from corral.cluster.ray.record import NodeRecord, RecordError
from corral.cluster.ray.single import holder, take, wait_until_free
from corral.errors import CorralError

HEAD = "10.0.0.1:6379"
# What Ray 2.60 prints.
WRONG_TOKEN = (
    "ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken: Authentication token is missing or incorrect."
    " Ensure that the token for the cluster is available in a local file (e.g., ~/.ray/auth_token or via"
)
MISMATCH = (
    "RuntimeError: Version mismatch: The cluster was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    "This process on node 10.0.0.2 was started with:\n    Ray: 2.60.1\n    Python: 3.12.1\n"
)
AWAY = (
    "[W 30487 30487] rpc_client.h:153: Failed to connect to GCS at address 10.0.0.1:6379 within 5 seconds.\n"
    "[W 30487 30487] gcs_client.cc:210: Failed to get cluster ID from GCS server: TimedOut: Timed out while waiting"
    " for GCS to become available.\n"
)
SLOW = "Exception: The current node timed out during startup. This could happen because some of the raylet failed"
RUNNING = "ConnectionError: Ray is trying to start at 10.0.0.1:6379, but is already running at 10.0.0.1:6379."


def record(folder: Path, **changes: object) -> NodeRecord:
    values: dict[str, object] = {
        "folder": folder,
        "name": "box",
        "address": "10.0.0.2",
        "server_port": 11434,
        "head": HEAD,
        "ports": "20300-20399",
        "head_port": 6379,
        "resources": {"corral_node:box": 1.0, "corral_ram_gb": 62.7},
        "token_file": "/nowhere/ray.token",
        "variables": {"OLLAMA_MODELS": "/models"},
        **changes,
    }
    return NodeRecord(**values)  # type: ignore[arg-type]


def test_waits_double_until_something_has_run_well() -> None:
    backoff = Backoff(0.5, 3.0, 60.0)
    assert [backoff.after(1.0) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert [backoff.after(61.0), backoff.after(1.0)] == [0.5, 1.0]


@given(st.lists(st.floats(0, 1000), max_size=30))
def test_waits_have_bounds(lives: list[float]) -> None:
    backoff = Backoff()
    assert all(0.5 <= backoff.after(lived_s) <= 30.0 for lived_s in lives)


def test_a_log_does_not_grow_forever(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "server.log"
    descriptor = open_log(path)
    os.write(descriptor, b"first line\n" * 20)
    bound_log(path, max_bytes=1000)
    assert path.stat().st_size == 220
    bound_log(path, max_bytes=100)
    assert path.stat().st_size == 0 and path.with_name("server.log.1").stat().st_size == 220
    os.write(descriptor, b"second\nlast\n")
    os.close(descriptor)
    assert tail(path) == "second\nlast" and tail(path, 1) == "last"
    assert tail(path, since=7) == "last" and tail(path, since=9999) == "second\nlast"
    assert tail(tmp_path / "none") == "" and path.stat().st_mode & 0o777 == 0o600


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    assert holder(path) == 0
    descriptor = take(path)
    assert descriptor >= 0 and take(path) == -1
    assert holder(path) == os.getpid() and not wait_until_free(path, 0.0)
    os.close(descriptor)
    assert holder(path) == 0 and wait_until_free(path, 0.0)


def test_ray_gets_the_token_and_sends_nothing_home(tmp_path: Path) -> None:
    mine = {
        "PATH": "/bin",
        "RAY_ADDRESS": "elsewhere",
        "RAY_AUTH_TOKEN": "old",
        "RAY_USE_TLS": "1",
        "OLLAMA_MODELS": "/m",
    }
    found = ray_environment(tmp_path / "ray.token", tmp_path / "gcs", mine)
    assert found["RAY_AUTH_MODE"] == "token" and found["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "ray.token")
    assert found["RAY_USAGE_STATS_ENABLED"] == "0" and found["RAY_gcs_storage_path"] == str(tmp_path / "gcs")
    assert "RAY_ADDRESS" not in found and "RAY_AUTH_TOKEN" not in found
    assert found["RAY_USE_TLS"] == "1" and found["OLLAMA_MODELS"] == "/m"
    assert "RAY_gcs_storage" not in ray_environment(tmp_path / "ray.token", env=mine)


def test_a_guest_finds_its_token_by_itself() -> None:
    found = ray_environment(None, env={"RAY_AUTH_TOKEN": "theirs"})
    assert found == {"RAY_AUTH_TOKEN": "theirs", "RAY_USAGE_STATS_ENABLED": "0"}


def test_a_server_does_not_get_what_ray_sets_for_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OMP_NUM_THREADS=1` would make engines slow, an empty `CUDA_VISIBLE_DEVICES` takes the cards away."""
    monkeypatch.setattr("corral.cluster.ray.environment._environment_of", lambda _pid: None)
    worker = {
        "PATH": "/bin",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "RAY_AUTH_TOKEN_PATH": "/t",
        "HOME": "/h",
    }
    assert server_environment(worker) == {"PATH": "/bin", "HOME": "/h"}


def test_a_server_gets_what_ray_itself_was_started_with() -> None:
    assert server_environment({}).get("PATH")  # of the parent of this process
    assert not any(name.startswith("RAY_") for name in server_environment({}))


@pytest.mark.parametrize(
    ("output", "kind", "words"),
    [
        (WRONG_TOKEN, WrongTokenError, "does not take the token"),
        (MISMATCH, VersionError, "Ray 2.60.0 with Python 3.11.7, this machine Ray 2.60.1 with Python 3.12.1"),
        (AWAY, UnreachableError, "no Ray cluster answers at 10.0.0.1:6379"),
        (SLOW, SlowStartError, "within its 30 s"),
        ("ray.exceptions.GetTimeoutError: Get timed out", RayError, "has not done what was asked in time"),
        (RUNNING, RayError, "a port that Ray needs is taken"),
    ],
)
def test_what_ray_says_is_explained(output: str, kind: type[RayError], words: str) -> None:
    error = explain(f"2026 INFO scripts.py -- Local node IP\n{output}\n", HEAD)
    assert isinstance(error, kind) and words in str(error) and error.hint


def test_only_what_does_not_get_better_ends_a_start() -> None:
    assert explain_early(AWAY, HEAD) is None and explain_early(RUNNING, HEAD) is None
    assert isinstance(explain_early(WRONG_TOKEN, HEAD), WrongTokenError)
    assert explain("anything else", HEAD) is None


@pytest.mark.parametrize(
    ("found", "words"), [("", "not installed"), ("2.9.0", "2.9.0"), ("3.0.0", "3.0.0"), ("2.61.0", "2.61.0")]
)
def test_another_ray_is_refused(monkeypatch: pytest.MonkeyPatch, found: str, words: str) -> None:
    monkeypatch.setattr(library, "find_spec", lambda _name: found or None)
    monkeypatch.setattr(library, "version", lambda _name: found)
    with pytest.raises(RayError, match=words) as caught:
        need_ray()
    assert caught.value.hint == "pip install 'corral[cluster]'"


def test_the_tried_ray_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "find_spec", lambda _name: True)
    monkeypatch.setattr(library, "version", lambda _name: "2.60.3")
    assert need_ray() == "2.60.3"


def test_the_command_of_a_head(tmp_path: Path) -> None:
    command = ray_command(record(tmp_path, is_head=True, head_port=7000))
    assert {"--head", "--port=7000", "--include-dashboard=false", "--block", "--disable-usage-stats"} <= set(
        command
    )
    assert "--node-ip-address=10.0.0.2" in command and not any("--address" in word for word in command)
    offered = next(word for word in command if word.startswith("--resources="))
    assert json.loads(offered.partition("=")[2]) == {"corral_node:box": 1.0, "corral_ram_gb": 62.7}
    assert not any("11434" in word for word in command)


def test_the_command_of_another_node(tmp_path: Path) -> None:
    command = ray_command(record(tmp_path))
    assert f"--address={HEAD}" in command and "--head" not in command


def test_rays_folder_is_short_enough_for_sockets(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 20)
    assert ray_folder(tmp_path / "a") != ray_folder(tmp_path / "b")
    found = ray_folder(deep)
    session = "session_2026-11-30_18-26-03_015543_3257000/sockets/plasma_store"
    assert len(str(found / session)) <= 103
    assert found.parent.stat().st_mode & 0o777 == 0o700, "Ray opens its own folder to everybody"
    found.parent.chmod(0o755)
    with pytest.raises(CorralError, match="belongs to somebody else"):
        ray_folder(deep)
    found.rmdir()
    found.parent.rmdir()


def test_old_sessions_are_cleaned_away(tmp_path: Path) -> None:
    root = ray_folder(tmp_path)
    for day in range(1, 7):
        (root / f"session_2026-11-0{day}_x").mkdir(parents=True)
    (root / "ray_current_cluster").write_text(HEAD)
    (root / "session_latest").symlink_to(root / "session_2026-11-06_x")
    clean_ray_folder(tmp_path)
    left = sorted(path.name for path in root.iterdir())
    assert left == ["session_2026-11-04_x", "session_2026-11-05_x", "session_2026-11-06_x", "session_latest"]


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    written = record(tmp_path / "cluster", is_head=True)
    written.write()
    assert NodeRecord.read(tmp_path / "cluster") == written
    assert (tmp_path / "cluster" / "node.json").stat().st_mode & 0o777 == 0o600
    written.remove()
    with pytest.raises(RecordError, match="does not belong"):
        NodeRecord.read(tmp_path / "cluster")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "unknown": 2}'])
def test_a_damaged_record_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "node.json").write_text(text)
    with pytest.raises(RecordError, match=r"node\.json"):
        NodeRecord.read(tmp_path)


def test_a_server_listens_where_the_others_look(tmp_path: Path) -> None:
    order = record(tmp_path, scheme="https").order({"PATH": "/bin"})
    assert order.url == "https://10.0.0.2:11434"
    assert order.environment == {
        "PATH": "/bin",
        "OLLAMA_HOST": "10.0.0.2:11434",
        "OLLAMA_MODELS": "/models",
        "CORRAL_CLUSTER_MODE": "ray",
        "CORRAL_CLUSTER_NAME": "box",
    }
    assert record(tmp_path, address="fd00::2").url == "http://[fd00::2]:11434"
