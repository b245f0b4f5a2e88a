"""Damaged blobs: found by `verify`, not served, told by doctor, mended by a pull."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.library.verify import Verifier
from corral.names import ModelName
from corral.store.manifests import Layer, Manifest
from corral.store.models import ModelStore
from tests.conftest import FIXTURES, Server
from tests.doubles.odd_registry import OddRegistry
from tests.foreign.test_served_stores import FEW
from tests.registry.conftest import say_layers
from tests.registry.test_variants import NAME, gguf

StartServer = Callable[..., Server]


@pytest.fixture
def odd() -> Iterator[OddRegistry]:
    registry = OddRegistry()
    yield registry
    registry.close()


def weights_of(server: Server) -> Path:
    return max((server.folder / "blobs").glob("sha256-*"), key=lambda path: path.stat().st_size)


def flip(path: Path, *, keeps_time: bool) -> None:
    """Change one byte in the middle, as a disk does, or as a person does."""
    info = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    times = (info.st_atime_ns, info.st_mtime_ns) if keeps_time else (0, info.st_mtime_ns + 5_000_000_000)
    os.utime(path, ns=times)


def corral(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", *words],
        env=server.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_all_is_well(start_server: StartServer) -> None:
    """Every blob is read once, and the progress ends where it should."""
    server = start_server()
    server.create("a", "say")
    server.create("b", "say", system="Other.")
    events = server.stream("/api/verify", {})
    assert events[-1]["status"] == "success"
    assert events[-1]["damaged"] == []
    digests = [event["digest"] for event in events if event.get("completed") == event.get("total", -1)]
    assert len(set(digests)) == events[-1]["blobs"]
    assert events[-2]["all_completed"] == events[-2]["all_total"] == events[-1]["bytes"]
    done = corral(server, "verify")
    assert (done.returncode, done.stdout.startswith("no damage found: ")) == (0, True), done
    status, body = server.request("POST", "/api/verify", {"models": ["nope"], "stream": False})
    assert (status, json.loads(body)) == (404, {"error": "model 'nope' not found"})
    status, _ = server.request("POST", "/api/verify", {"model": "no//name", "stream": False})
    assert status == 400


def test_one_flipped_byte(odd: OddRegistry, start_server: StartServer) -> None:
    """It is found, not served any more, and a plain pull mends it."""
    odd.manifests[f"/v2/{NAME}/manifests/latest"] = gguf(odd, "x")
    server = start_server()
    name = f"{odd.host}/{NAME}"
    server.stream("/api/pull", {"model": name, "insecure": True})
    server.create("other", "tiny")
    assert server.post("/api/generate", {"model": name, **FEW})["done"]
    blob = weights_of(server)
    flip(blob, keeps_time=True)
    server.post("/api/generate", {"model": name, "keep_alive": 0})
    done = corral(server, "verify", name)
    assert done.returncode == 1
    assert f"{name}:latest  {blob.name[:19]}  the content does not match its digest" in done.stdout
    assert "pull" in done.stderr
    found = json.loads(corral(server, "verify", "--json").stdout)
    assert [one["model"] for one in found["damaged"]] == [f"{name}:latest"]
    status, body = server.request("POST", "/api/generate", {"model": name, **FEW})
    assert (status, "does not match its digest" in json.loads(body)["error"]) == (500, True), body
    assert "does not match its digest" in corral(server, "doctor").stdout
    assert server.post("/api/generate", {"model": "other", **FEW})["done"]
    assert server.stream("/api/pull", {"model": name, "insecure": True})[-1] == {"status": "success"}
    assert blob.read_bytes() == say_layers()["model"]
    assert server.post("/api/generate", {"model": name, **FEW})["done"]
    assert corral(server, "verify").returncode == 0


def test_a_damaged_blob_is_mended_by_a_create(start_server: StartServer) -> None:
    """It counts as missing, so that the client sends it and the server takes it."""
    server = start_server()
    server.create("m", "say")
    blob = weights_of(server)
    flip(blob, keeps_time=True)
    assert len(server.stream("/api/verify", {})[-1]["damaged"]) == 1
    server.create("m", "say")
    assert blob.read_bytes() == (FIXTURES / "say.gguf").read_bytes()
    assert server.post("/api/generate", {"model": "m", **FEW})["done"]
    assert server.stream("/api/verify", {})[-1]["damaged"] == []


def test_a_damaged_blob_that_is_right_again(odd: OddRegistry, start_server: StartServer) -> None:
    """Restored with its time, as backups do: a pull looks at it, and it is run."""
    odd.manifests[f"/v2/{NAME}/manifests/latest"] = gguf(odd, "x")
    server = start_server()
    name = f"{odd.host}/{NAME}"
    server.stream("/api/pull", {"model": name, "insecure": True})
    blob = weights_of(server)
    flip(blob, keeps_time=True)
    assert len(server.stream("/api/verify", {})[-1]["damaged"]) == 1
    flip(blob, keeps_time=True)
    assert server.stream("/api/pull", {"model": name, "insecure": True})[-1] == {"status": "success"}
    assert server.post("/api/generate", {"model": name, **FEW})["done"]


def test_what_cannot_be_read_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer says nothing about the content: nothing is noted."""
    store = ModelStore(tmp_path)
    digest = store.blobs.put_bytes(b"weights").digest
    config = Layer("application/vnd.docker.container.image.v1+json", digest, 7)
    store.manifests.write(ModelName.parse("m"), Manifest(config, ()).encode())

    def fail(_hashing: object) -> str:
        raise OSError(errno.EIO, "Input/output error")

    reports: list[dict[str, Any]] = []

    async def report(event: dict[str, Any]) -> None:
        reports.append(event)

    with monkeypatch.context() as patched:
        patched.setattr("corral.library.verify._Hashing.run", fail)
        asyncio.run(Verifier(store).verify([], report))
    (damage,) = reports[-1]["damaged"]
    assert damage["problem"] == "the file cannot be read: input/output error"
    assert store.blobs.has(digest)


def test_weights_that_were_written_to(start_server: StartServer) -> None:
    """The time of the file tells, before it is loaded; one that was merely touched is loaded."""
    server = start_server()
    server.create("m", "say")
    blob = weights_of(server)
    os.utime(blob, (0, 0))
    assert server.post("/api/generate", {"model": "m", **FEW, "keep_alive": 0})["done"]
    flip(blob, keeps_time=False)
    status, body = server.request("POST", "/api/generate", {"model": "m", **FEW})
    assert (status, "does not match its digest" in json.loads(body)["error"]) == (500, True), body
    blob.write_bytes((FIXTURES / "say.gguf").read_bytes())
    assert server.post("/api/generate", {"model": "m", **FEW})["done"]


@pytest.mark.parametrize("change", ["cut", "longer", "gone"])
def test_weights_of_another_size(start_server: StartServer, change: str) -> None:
    """Told with both sizes, by the request, by verify and by doctor."""
    server = start_server()
    server.create("m", "say")
    blob = weights_of(server)
    data = blob.read_bytes()
    if change == "gone":
        blob.unlink()
    else:
        blob.write_bytes(data[:-100] if change == "cut" else data + bytes(100))
    status, body = server.request("POST", "/api/generate", {"model": "m", **FEW})
    assert status in (404, 500), body
    assert "internal" not in body.decode()
    events = server.stream("/api/verify", {"model": "m"})
    (damage,) = [event for event in events if event["status"] == "damaged"]
    assert damage["model"] == "m:latest"
    if change != "gone":
        assert f"instead of {len(data)}" in json.loads(body)["error"]
        assert f"instead of {len(data)}" in damage["problem"]
    assert events[-1]["damaged"] == [{name: damage[name] for name in ("model", "digest", "problem")}]
    assert corral(server, "doctor").returncode == 1


def test_a_manifest_that_cannot_be_read(start_server: StartServer) -> None:
    """It is named, and the rest is verified."""
    server = start_server()
    server.create("m", "say")
    path = server.folder / "manifests" / "registry.ollama.ai" / "library" / "cut" / "latest"
    path.parent.mkdir()
    path.write_text('{"config":')
    events = server.stream("/api/verify", {"stream": True})
    assert [one["model"] for one in events[-1]["damaged"]] == ["cut:latest"]
    assert events[-1]["blobs"] > 1
