"""Pulling from a real registry through a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

from tests.conftest import Server
from tests.doubles.real_registry import RealRegistry, digest_of
from tests.registry.conftest import CONFIG, noise, say_layers

StartServer = Callable[..., Server]


def test_pull_and_run(registry: RealRegistry, start_server: StartServer) -> None:
    """A model from a registry of plain HTTP arrives whole and answers; the manifest is kept byte for byte."""
    manifest = registry.put_model("lib/say", say_layers(), CONFIG)
    server = start_server()
    name = f"{registry.host}/lib/say"
    events = server.stream("/api/pull", {"model": name, "insecure": True})
    statuses = [event["status"] for event in events]
    assert statuses[0] == "pulling manifest"
    assert statuses[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
    for kind, data in {**say_layers(), "config": CONFIG}.items():
        digest = digest_of(data)
        lines = [event for event in events if event.get("digest") == digest]
        assert lines[-1] == {
            "status": f"pulling {digest[7:19]}",
            "digest": digest,
            "total": len(data),
            "completed": len(data),
        }, kind
        assert (server.folder / "blobs" / f"sha256-{digest[7:]}").read_bytes() == data
    path = server.folder / "manifests" / registry.host / "lib" / "say" / "latest"
    assert path.read_bytes() == manifest
    assert not list((server.folder / "blobs").glob("*partial*"))
    answer = server.post("/api/generate", {"model": name, "prompt": "now A", "stream": False})
    assert answer["response"].startswith("Alpha")


def test_pull_twice(registry: RealRegistry, start_server: StartServer) -> None:
    """What is there already is told once with all its bytes."""
    registry.put_model("lib/say", say_layers(), CONFIG)
    server = start_server()
    request = {"model": f"{registry.host}/lib/say", "insecure": True}
    server.stream("/api/pull", request)
    events = server.stream("/api/pull", request)
    blobs = [*say_layers().values(), CONFIG]
    assert events == [
        {"status": "pulling manifest"},
        *(
            {
                "status": f"pulling {digest_of(data)[7:19]}",
                "digest": digest_of(data),
                "total": len(data),
                "completed": len(data),
            }
            for data in blobs
        ),
        {"status": "verifying sha256 digest"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]
    status, body = server.request("POST", "/api/pull", {**request, "stream": False})
    assert (status, json.loads(body)) == (200, {"status": "success"})


def test_many_parts(registry: RealRegistry, start_server: StartServer) -> None:
    """A blob of several parts comes together in the right order, and progress never goes back."""
    data = noise(90_000_001)
    registry.put_model("lib/big", {"model": data}, CONFIG)
    server = start_server()
    events = server.stream("/api/pull", {"model": f"{registry.host}/lib/big", "insecure": True})
    assert events[-1] == {"status": "success"}
    assert (server.folder / "blobs" / f"sha256-{digest_of(data)[7:]}").read_bytes() == data
    told = [event.get("completed", 0) for event in events if event.get("digest") == digest_of(data)]
    assert told[-1] == len(data)
    assert all(before <= after for before, after in pairwise(told))


def test_update_replaces_and_prunes(registry: RealRegistry, start_server: StartServer) -> None:
    """A newer version takes the place of the old one, whose own layers go."""
    registry.put_model("lib/m", {"model": noise(1000, 1), "license": b"MIT"}, CONFIG)
    server = start_server()
    request = {"model": f"{registry.host}/lib/m", "insecure": True}
    server.stream("/api/pull", request)
    registry.put_model("lib/m", {"model": noise(1000, 2), "license": b"MIT"}, CONFIG)
    events = server.stream("/api/pull", request)
    assert {"status": "removing unused layers"} in events
    blobs = {path.name for path in (server.folder / "blobs").iterdir()}
    assert blobs == {f"sha256-{digest_of(data)[7:]}" for data in (noise(1000, 2), b"MIT", CONFIG)}


def test_absent(registry: RealRegistry, start_server: StartServer) -> None:
    """What the registry does not have."""
    server = start_server()
    request = {"model": f"{registry.host}/lib/none", "insecure": True}
    assert server.stream("/api/pull", request) == [
        {"status": "pulling manifest"},
        {"error": "pull model manifest: file does not exist"},
    ]
    status, body = server.request("POST", "/api/pull", {**request, "stream": False})
    assert (status, json.loads(body)) == (500, {"error": "pull model manifest: file does not exist"})
