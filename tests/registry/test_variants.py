"""Pulling and pushing models that a registry has as a list of manifests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import FIXTURES, Server
from tests.doubles.odd_registry import Asked, OddRegistry
from tests.doubles.real_registry import RealRegistry, digest_of
from tests.foreign.ollama_stores import LIST_TYPE, MANIFEST_TYPE, OllamaStore, encoded, manifest
from tests.registry.conftest import CONFIG, say_layers

StartServer = Callable[..., Server]
NAME = "lib/say"


@pytest.fixture
def odd() -> Iterator[OddRegistry]:
    registry = OddRegistry()
    yield registry
    registry.close()


def layers_of(registry: OddRegistry, blobs: dict[str, bytes]) -> list[dict[str, Any]]:
    prefix = "application/vnd.ollama.image."
    return [
        {"mediaType": prefix + kind, "digest": registry.put(data), "size": len(data)}
        for kind, data in blobs.items()
    ]


def gguf(registry: OddRegistry, system: str) -> bytes:
    """A manifest that can run; its system text tells variants apart."""
    config = {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "digest": registry.put(CONFIG),
        "size": len(CONFIG),
    }
    return encoded(manifest(config, layers_of(registry, {**say_layers(), "system": system.encode()})))


def mlx(registry: OddRegistry) -> bytes:
    config = json.loads(gguf(registry, ""))["config"]
    return encoded(
        manifest(config, layers_of(registry, {"tensor": b"tensor"}), runner="mlx", format="safetensors")
    )


def offer(registry: OddRegistry, *variants: tuple[bytes, str, str], as_blobs: bool = False) -> bytes:
    """Put a list under the name; its manifests are found by digest, as manifests or as blobs."""
    entries = []
    for data, runner, form in variants:
        digest = digest_of(data)
        if as_blobs:
            registry.put(data)
        else:
            registry.manifests[f"/v2/{NAME}/manifests/{digest}"] = data
        entries.append({"mediaType": MANIFEST_TYPE, "digest": digest, "runner": runner, "format": form})
    listed = json.dumps({"schemaVersion": 2, "mediaType": LIST_TYPE, "manifests": entries}, indent=1).encode()
    registry.manifests[f"/v2/{NAME}/manifests/latest"] = listed
    return listed


def pull(server: Server, registry: OddRegistry) -> list[dict[str, Any]]:
    return server.stream("/api/pull", {"model": f"{registry.host}/{NAME}", "insecure": True})


@pytest.mark.parametrize("as_blobs", [False, True])
def test_the_variant_for_this_machine_is_pulled(
    odd: OddRegistry, start_server: StartServer, as_blobs: bool
) -> None:
    """And the list is kept: the model has its digest, and old versions find all blobs in the tree that they read."""
    listed = offer(
        odd,
        (mlx(odd), "mlx", "safetensors"),
        (gguf(odd, "second"), "llamacpp", "gguf"),
        (gguf(odd, "first"), "ggml", "gguf"),
        as_blobs=as_blobs,
    )
    server = start_server()
    assert pull(server, odd)[-1] == {"status": "success"}
    assert LIST_TYPE in odd.asked[0].headers["accept"]
    name = f"{odd.host}/{NAME}"
    (model,) = server.get("/api/tags")["models"]
    assert (model["name"], model["digest"]) == (f"{name}:latest", hashlib.sha256(listed).hexdigest())
    assert server.post("/api/show", {"model": name})["system"] == "first"
    assert server.get("/api/origins")["origins"] == {f"{name}:latest": "registry"}
    answer = server.post("/api/generate", {"model": name, "prompt": "now A", "stream": False})
    assert answer["response"].startswith("Alpha")
    entry = server.folder / "manifests" / odd.host / "lib" / "say" / "latest"
    blobs = {path.name.removeprefix("sha256-") for path in (server.folder / "blobs").glob("sha256-*")}
    assert {text for text in blobs if text not in entry.read_text()} == set()
    assert (server.folder / "blobs" / f"sha256-{model['digest']}").read_bytes() == listed
    status, _ = server.request("DELETE", "/api/delete", {"model": name})
    assert status == 200
    assert not list((server.folder / "blobs").glob("sha256-*"))


def test_a_variant_that_the_registry_lacks(odd: OddRegistry, start_server: StartServer) -> None:
    """The next best is taken."""
    offer(odd, (gguf(odd, "first"), "ggml", "gguf"), (gguf(odd, "second"), "llamacpp", "gguf"))
    first = next(path for path, data in odd.manifests.items() if b'"layers"' in data)
    del odd.manifests[first]
    server = start_server()
    assert pull(server, odd)[-1] == {"status": "success"}
    assert server.post("/api/show", {"model": f"{odd.host}/{NAME}"})["system"] == "second"


BAD: dict[str, tuple[Callable[[OddRegistry], object], str]] = {
    "MLX alone": (lambda odd: offer(odd, (mlx(odd), "mlx", "safetensors")), "requires MLX"),
    "unknown format": (
        lambda odd: offer(odd, (gguf(odd, ""), "x", "y")),
        "no variant of lib/say can run here",
    ),
    "empty": (lambda odd: offer(odd), "no valid list"),
    "a list in it": (
        lambda odd: offer(odd, (offer(odd, (gguf(odd, ""), "", "")), "ggml", "gguf")),
        "not a model",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_lists_of_which_nothing_can_run(odd: OddRegistry, start_server: StartServer, case: str) -> None:
    """The error says why, and nothing is stored."""
    prepare, text = BAD[case]
    prepare(odd)
    server = start_server()
    events = pull(server, odd)
    assert events[-1]["error"].startswith("pull model manifest: ")
    assert text in events[-1]["error"]
    assert server.get("/api/tags") == {"models": []}


def test_a_manifest_of_another_digest(odd: OddRegistry, start_server: StartServer) -> None:
    """What is sent for a digest must have it."""
    offer(odd, (gguf(odd, "first"), "ggml", "gguf"))
    odd.before = lambda asked: _other_manifest(odd, asked)
    assert "something other" in pull(start_server(), odd)[-1]["error"]


def _other_manifest(odd: OddRegistry, asked: Asked) -> bool:
    if "/manifests/sha256:" not in asked.path:
        return False
    asked.answer(200, gguf(odd, "evil"))
    return True


def test_a_pull_over_a_name_of_the_newer_tree(
    odd: OddRegistry, start_server: StartServer, tmp_path: Path
) -> None:
    """The entry there goes, or it would hide what was pulled; its blobs go with it."""
    made = OllamaStore(tmp_path / "models", (FIXTURES / "say.gguf").read_bytes())
    old = made.gguf("old")
    text = made.blob(encoded(old))
    entry = made.models / "manifests-v2" / odd.host / NAME / "latest"
    entry.parent.mkdir(parents=True)
    entry.symlink_to(made.models / "blobs" / f"sha256-{text}")
    server = start_server(OLLAMA_MODELS=str(made.models))
    name = f"{odd.host}/{NAME}"
    assert server.post("/api/show", {"model": name})["system"] == "You are old."
    odd.manifests[f"/v2/{NAME}/manifests/latest"] = gguf(odd, "new")
    assert pull(server, odd)[-1] == {"status": "success"}
    assert server.post("/api/show", {"model": name})["system"] == "new"
    assert not entry.is_symlink()
    assert not (made.models / "blobs" / f"sha256-{text}").exists()


def test_a_manifest_that_lies_about_a_size(odd: OddRegistry, start_server: StartServer) -> None:
    """It costs another model nothing."""
    server = start_server()
    server.create("mine", "say")
    value = json.loads(gguf(odd, "x"))
    value["layers"][0]["size"] += 1
    odd.manifests[f"/v2/{NAME}/manifests/latest"] = encoded(value)
    assert "but it has" in pull(server, odd)[-1]["error"]
    assert server.post("/api/generate", {"model": "mine", "prompt": "now A", "stream": False})["done"]


def test_texts_that_are_absurdly_long(odd: OddRegistry, start_server: StartServer) -> None:
    """Refused before anything is fetched."""
    value = json.loads(gguf(odd, "x"))
    license_ = {
        "mediaType": "application/vnd.ollama.image.license",
        "digest": f"sha256:{'1' * 64}",
        "size": 1 << 30,
    }
    value["layers"].append(license_)
    odd.manifests[f"/v2/{NAME}/manifests/latest"] = encoded(value)
    assert "the license of the model has 1073741824 bytes" in pull(start_server(), odd)[-1]["error"]
    assert not odd.blob_requests()


def test_push_sends_the_variant_that_runs_here(
    registry: RealRegistry, start_server: StartServer, tmp_path: Path
) -> None:
    """As a manifest that every version can pull."""
    made = OllamaStore(tmp_path / "models", (FIXTURES / "say.gguf").read_bytes())
    variant, other = made.gguf("both", runner="ggml", format="gguf"), made.mlx("both", runner="mlx")
    made.new("both", made.list_of((other, "mlx", "safetensors"), (variant, "ggml", "gguf")))
    server = start_server(OLLAMA_MODELS=str(made.models))
    name = f"{registry.host}/me/both"
    server.post("/api/copy", {"source": "both", "destination": name})
    assert server.stream("/api/push", {"model": name, "insecure": True})[-1] == {"status": "success"}
    url = f"{registry.base}/v2/me/both/manifests/latest"
    sent = requests.get(url, headers={"Accept": MANIFEST_TYPE}, timeout=60).json()
    assert sent["layers"] == variant["layers"]
    elsewhere = start_server()
    assert elsewhere.stream("/api/pull", {"model": name, "insecure": True})[-1] == {"status": "success"}
