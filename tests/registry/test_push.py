"""Pushing to a real registry through a real server."""

from __future__ import annotations

import json
from collections.abc import Callable

import requests

from tests.conftest import Server
from tests.doubles.real_registry import RealRegistry, digest_of
from tests.registry.conftest import CONFIG, noise, say_layers

StartServer = Callable[..., Server]


def test_push_and_pull_elsewhere(registry: RealRegistry, start_server: StartServer) -> None:
    """A created model goes up, and comes down again on another machine with the same content."""
    server = start_server()
    name = f"{registry.host}/me/say:v1"
    server.create(name, "say", template="{{ .Prompt }}", system="Be brief.")
    events = server.stream("/api/push", {"model": name, "insecure": True})
    manifest = json.loads((server.folder / "manifests" / registry.host / "me" / "say" / "v1").read_bytes())
    layers = [*manifest["layers"], manifest["config"]]
    assert events[0] == {"status": "retrieving manifest"}
    assert events[-2:] == [{"status": "pushing manifest"}, {"status": "success"}]
    for layer in layers:
        lines = [event for event in events if event.get("digest") == layer["digest"]]
        assert lines[-1] == {
            "status": f"pushing {layer['digest'][7:19]}",
            "digest": layer["digest"],
            "total": layer["size"],
            "completed": layer["size"],
        }
        assert registry.get(f"me/say/blobs/{layer['digest']}").status_code == 200
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    stored = requests.get(f"{registry.base}/v2/me/say/manifests/v1", headers=accept, timeout=60)
    assert stored.content == json.dumps(manifest, separators=(",", ":")).encode()
    other = start_server()
    assert other.stream("/api/pull", {"model": name, "insecure": True})[-1] == {"status": "success"}
    assert other.post("/api/show", {"model": name})["system"] == "Be brief."
    again = server.stream("/api/push", {"model": name, "insecure": True})
    assert len(again) == len(layers) + 3  # one line for each blob that is there already
    status, body = server.request("POST", "/api/push", {"model": name, "insecure": True, "stream": False})
    assert (status, json.loads(body)) == (200, {"status": "success"})


def test_layers_of_another_repository_are_mounted(registry: RealRegistry, start_server: StartServer) -> None:
    """What the registry has under another name is not sent again."""
    server = start_server()
    base = f"{registry.host}/lib/base"
    registry.put_model("lib/base", say_layers(), CONFIG)
    server.stream("/api/pull", {"model": base, "insecure": True})
    child = f"{registry.host}/me/child"
    server.post("/api/create", {"model": child, "from": base, "system": "New.", "stream": False})
    assert server.stream("/api/push", {"model": child, "insecure": True})[-1] == {"status": "success"}
    weights = digest_of(say_layers()["model"])
    assert registry.get(f"me/child/blobs/{weights}").status_code == 200
    uploads = registry.folder / "data/docker/registry/v2/repositories/me/child/_uploads"
    assert not list(uploads.glob("*"))  # nothing was left behind


def test_push_of_several_chunks(registry: RealRegistry, start_server: StartServer) -> None:
    """A blob that takes more than one chunk arrives whole."""
    data = noise(100_000_123)
    registry.put_model("lib/big", {"model": data}, CONFIG)
    server = start_server()
    source, target = f"{registry.host}/lib/big", f"{registry.host}/me/big"
    server.stream("/api/pull", {"model": source, "insecure": True})
    server.post("/api/copy", {"source": source, "destination": target})
    assert server.stream("/api/push", {"model": target, "insecure": True})[-1] == {"status": "success"}
    assert digest_of(registry.get(f"me/big/blobs/{digest_of(data)}").content) == digest_of(data)


def test_refused(registry: RealRegistry, start_server: StartServer) -> None:
    """A registry that is gone."""
    server = start_server()
    name = f"{registry.host}/me/say"
    server.create(name, "say")
    registry.stop()
    events = server.stream("/api/push", {"model": name, "insecure": True})
    assert events[-1]["error"].startswith(f'Head "http://{registry.host}/v2/me/say/blobs/sha256:')
    assert events[-1]["error"].endswith(f"dial tcp {registry.host}: connect: connection refused")
