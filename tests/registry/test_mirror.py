"""Corral pulling from Corral, and from one that has to fetch the model first."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable

import pytest

from tests.api.test_registry_routes import ask, digest_of, manifest_of
from tests.conftest import Server
from tests.waiting import PATIENCE_S, wait_until

StartServer = Callable[..., Server]
CONFIG = b'{"model_format":"gguf","model_family":"llama"}'


def publish(hub: Server, repository: str, layer: bytes) -> bytes:
    """Push a model with one layer; returns its manifest."""
    for data in (CONFIG, layer):
        path = f"/v2/{repository}/blobs/uploads/?digest={digest_of(data)}"
        assert ask(hub, "POST", path, data).status == 201
    manifest = manifest_of(CONFIG, layer)
    assert ask(hub, "PUT", f"/v2/{repository}/manifests/latest", manifest).status == 201
    return manifest


def stored_manifest(server: Server, model: str) -> bytes:
    return (server.folder / "manifests/registry.ollama.ai/library" / model / "latest").read_bytes()


def test_one_server_pulls_from_another(start_server: StartServer) -> None:
    """A model made here runs there, with the same manifest."""
    hub = start_server(CORRAL_REGISTRY="pull")
    hub.create("m", "say", template="{{ .Prompt }}")
    client = start_server(CORRAL_DEFAULT_REGISTRY=hub.base)
    lines = client.stream("/api/pull", {"model": "m"})
    assert lines[-1] == {"status": "success"}
    assert stored_manifest(client, "m") == stored_manifest(hub, "m")
    answer = client.post("/api/generate", {"model": "m", "prompt": "now A", "stream": False})
    assert answer["response"] == "Alpha beta gamma delta epsilon."


def test_what_is_missing_is_fetched_once_and_kept(start_server: StartServer) -> None:
    """The mirror asks its upstream, passes the bytes on while they come, and has the model from then on."""
    hub = start_server(CORRAL_REGISTRY="push")
    layer = random.Random(7).randbytes(6 << 20)
    manifest = publish(hub, "library/big", layer)
    mirror = start_server(
        CORRAL_REGISTRY="pull",
        CORRAL_REGISTRY_PULL_THROUGH="1",
        CORRAL_DEFAULT_REGISTRY=hub.base,
        CORRAL_PULL_RATE="2MB",
    )
    client = start_server(CORRAL_REGISTRY_MIRRORS=mirror.base, CORRAL_DEFAULT_REGISTRY="http://127.0.0.1:9")
    lines: list[dict[str, object]] = []
    pull = threading.Thread(target=lambda: lines.extend(client.stream("/api/pull", {"model": "big"})))
    pull.start()
    blob = mirror.folder / "blobs" / digest_of(layer).replace(":", "-")
    part = client.folder / "blobs" / (blob.name + "-partial")
    wait_until(lambda: part.exists() and part.stat().st_blocks > 0)
    assert not blob.exists(), "the client had to wait for all of the mirror's own download"
    pull.join(PATIENCE_S)
    assert lines[-1] == {"status": "success"}
    assert (client.folder / "blobs" / blob.name).read_bytes() == layer
    assert stored_manifest(client, "big") == manifest
    wait_until((mirror.folder / "manifests/registry.ollama.ai/library/big/latest").exists)
    hub.close()
    again = start_server(CORRAL_REGISTRY_MIRRORS=mirror.base, CORRAL_DEFAULT_REGISTRY="http://127.0.0.1:9")
    assert again.stream("/api/pull", {"model": "big"})[-1] == {"status": "success"}


def test_a_mirror_has_its_limits(start_server: StartServer) -> None:
    """What nobody has is not found; what lies on another host is not asked for on behalf of strangers."""
    hub = start_server(CORRAL_REGISTRY="pull")
    mirror = start_server(
        CORRAL_REGISTRY="pull", CORRAL_REGISTRY_PULL_THROUGH="1", CORRAL_DEFAULT_REGISTRY=hub.base
    )
    answer = ask(mirror, "GET", "/v2/library/nope/manifests/latest")
    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")
    inside = hub.base.removeprefix("http://")
    for path in (f"/v2/library/m/manifests/latest?ns={inside}", f"/v2/{inside}/library/m/manifests/latest"):
        answer = ask(mirror, "GET", path)
        assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN"), path
    assert ask(mirror, "GET", f"/v2/library/m/blobs/sha256:{'0' * 64}").code == "BLOB_UNKNOWN"
    assert not any("mirror" in line for line in hub.log)
    client = start_server(CORRAL_REGISTRY_MIRRORS=mirror.base, CORRAL_DEFAULT_REGISTRY="http://127.0.0.1:9")
    error = client.stream("/api/pull", {"model": "nope"})[-1]["error"]
    assert "127.0.0.1:9: connect: connection refused" in error
    assert error.endswith(f"; mirror {mirror.base}: file does not exist")


@pytest.mark.process
@pytest.mark.parametrize("seed", [1, 9])
def test_faults_and_kills(seed: int) -> None:
    """Two of the plans that scripts/play_fault_plans.py plays by the hundred; 9 is one that can never succeed."""
    from tests.registry.fault_plans import play

    outcome = play(seed)
    assert outcome.problems == []
    assert outcome.is_complete is (seed != 9)


def test_manifests_of_other_things_are_refused(start_server: StartServer) -> None:
    """A container image is no model."""
    hub = start_server(CORRAL_REGISTRY="push")
    publish(hub, "library/m", b"licence")
    manifest = json.loads(manifest_of(CONFIG, b"licence"))
    manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    answer = ask(hub, "PUT", "/v2/library/x/manifests/latest", json.dumps(manifest).encode())
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
