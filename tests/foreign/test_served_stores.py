"""A server on stores of every version of Ollama, and on stores in which single models are broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FIXTURES, Server
from tests.foreign.ollama_stores import STORES, OllamaStore, encoded, make_store, snapshot

StartServer = Callable[..., Server]
FEW = {"prompt": "now A", "stream": False, "options": {"num_predict": 4, "seed": 1}}


@pytest.mark.parametrize("kind", STORES)
def test_a_server_on_a_store_of_another_version(kind: str, start_server: StartServer, tmp_path: Path) -> None:
    """It starts, lists, shows, runs, creates, copies and deletes, and at the end nothing foreign is missing."""
    models = tmp_path / "models"
    made = make_store(kind, models, (FIXTURES / "say.gguf").read_bytes())
    before = snapshot(models)
    server = start_server(OLLAMA_MODELS=str(models))
    listed = {entry["name"]: entry for entry in server.get("/api/tags")["models"]}
    assert set(listed) == made.runnable | made.other
    assert {entry["id"] for entry in server.get("/v1/models")["data"]} == set(listed)
    for name, entry in listed.items():
        shown = server.post("/api/show", {"model": name})
        status, body = server.request("POST", "/api/generate", {"model": name, **FEW})
        if name in made.runnable:
            assert "problem" not in entry
            assert shown["details"]["format"] == "gguf"
            assert json.loads(body)["eval_count"] == 4, name
        else:
            assert "MLX" in entry["problem"]
            assert "MLX" in shown["problem"]
            assert (status, "MLX" in json.loads(body)["error"]) == (400, True)
    (some, *_) = sorted(made.runnable)
    server.post("/api/create", {"model": "mine", "from": some, "system": "Mine.", "stream": False})
    for step, source in (("copy", some), ("copy2", "mine")):
        server.request("POST", "/api/copy", {"source": source, "destination": step})
    for name in ("mine", "copy", "copy2"):
        assert server.request("DELETE", "/api/delete", {"model": name})[0] == 200
    assert snapshot(models) == before if made.is_clear else before.items() <= snapshot(models).items()
    server.process.kill()
    server.process.wait()
    again = start_server(OLLAMA_MODELS=str(models))
    assert {entry["name"] for entry in again.get("/api/tags")["models"]} == set(listed)
    assert before.items() <= snapshot(models).items()


def broken_models(store: OllamaStore) -> dict[str, str]:
    """Models of which something is wrong; the word that the list says of each, empty for one that is usable."""
    weights = store.layer("model", store.weights)

    def add(name: str, config: bytes, *layers: dict[str, Any]) -> None:
        config_layer = store.layer("", config, "application/vnd.docker.container.image.v1+json")
        value = {"schemaVersion": 2, "config": config_layer, "layers": [weights, *layers]}
        store.old(name, value)

    sound = b'{"model_format":"gguf","model_family":"llama"}'
    add("giant-license", sound, store.layer("license", b"L" * (70 << 20)))
    add("many-licenses", sound, *[store.layer("license", b"%d" % i) for i in range(3000)])
    add("many-layers", sound, *[store.layer("odd", b"x")] * 20_000)
    add(
        "odd-layers",
        sound,
        store.layer("", b"x", "text/html"),
        store.layer("embed", b"x"),
        store.layer("", b"", "\ud800"),
    )
    add("lying-sizes", sound, {**store.layer("system", b"short"), "size": (1 << 63) - 1})
    add(
        "odd-config",
        b'{"model_format":7,"model_family":["x"],"model_families":{"a":1},"context_length":true}',
    )
    add("long-config", b'{"model_format":"gguf","model_family":"%s"}' % (b"f" * 100_000))
    add("surrogates", b'{"model_format":"gguf","model_family":"\\ud800","model_families":["\\udfff"]}')
    add(
        "odd-messages",
        sound,
        store.layer("messages", b'[1,{"role":[],"tool_calls":[{"function":[]},7]},{"tool_calls":5}]'),
    )
    add("giant-template", sound, store.layer("template", b"t" * (5 << 20)))
    add("giant-config", b" " * (2 << 20) + sound)
    add("giant-params", sound, store.layer("params", b'{"a":"%s"}' % (b"p" * (2 << 20))))
    add("nan-params", sound, store.layer("params", b'{"temperature":NaN}'))
    add("infinite-params", sound, store.layer("params", b'{"temperature":1e999}'))
    add("deep-params", sound, store.layer("params", b'{"a":' * 50_000))
    add("text-params", sound, store.layer("params", b"no JSON"))
    add("nan-config", b'{"model_format":"gguf","context_length":NaN}')
    add("text-config", b"no JSON")
    add("list-config", b"[]")
    add("no-weights", sound)
    path = store.models / "manifests" / "registry.ollama.ai" / "library" / "no-weights" / "latest"
    path.write_bytes(encoded({**json.loads(path.read_bytes()), "layers": []}))
    add("missing-config", b"gone config")
    add("missing-system", sound, store.layer("system", b"gone system"))
    for data in (b"gone config", b"gone system"):
        (store.models / "blobs" / f"sha256-{store.blob(data)}").unlink()
    add("folder-as-system", sound, store.layer("system", b"folder"))
    blob = store.models / "blobs" / f"sha256-{store.blob(b'folder')}"
    blob.unlink()
    blob.mkdir()
    damaged = (
        "giant-template giant-config giant-params nan-params infinite-params deep-params text-params nan-config "
        "text-config list-config missing-config missing-system folder-as-system"
    )
    usable = (
        "giant-license many-licenses many-layers odd-layers lying-sizes odd-config long-config surrogates "
        "odd-messages"
    )
    return (
        dict.fromkeys(damaged.split(), "damaged")
        | dict.fromkeys(usable.split(), "")
        | {"no-weights": "no weights"}
    )


HIDDEN = {
    "cut": b'{"schemaVersion":2,"config"',
    "empty": b"",
    "text": b"hello",
    "list": b"[]",
    "no-config": b'{"layers":[]}',
    "odd-digest": b'{"config":{"digest":"../../etc/passwd","size":1},"layers":[]}',
    "nan-size": b'{"config":{"digest":"sha256:' + b"1" * 64 + b'","size":NaN},"layers":[]}',
    "huge-size": b'{"config":{"digest":"sha256:' + b"1" * 64 + b'","size":' + b"9" * 400 + b'},"layers":[]}',
    "huge": b" " * (5 << 20),
    "deep": b"[" * 100_000,
}


def test_broken_models_beside_a_sound_one(start_server: StartServer, tmp_path: Path) -> None:
    """Each is marked or left out; the sound model is listed, shown and runs, and what is usable is used."""
    models = tmp_path / "models"
    made = make_store("0.3", models, (FIXTURES / "say.gguf").read_bytes())
    expected = broken_models(made)
    for name, data in HIDDEN.items():
        made.old(name, data)
    made.old("broken.name-", b"{}")
    (models / "manifests" / "registry.ollama.ai" / "library" / "folder" / "latest").mkdir(parents=True)
    server = start_server(OLLAMA_MODELS=str(models))
    listed = {entry["name"].removesuffix(":latest"): entry for entry in server.get("/api/tags")["models"]}
    assert set(listed) == {"alpha", "beta", *expected}
    for name, word in expected.items():
        assert (word in listed[name].get("problem", "-")) if word else "problem" not in listed[name], name
    ids = {model["id"].removesuffix(":latest") for model in server.get("/v1/models")["data"]}
    assert ids == {"alpha", "beta", *(name for name, word in expected.items() if word != "damaged")}
    for name in ("alpha", *(name for name, word in expected.items() if not word)):
        assert len(json.dumps(server.post("/api/show", {"model": name}))) < 6 << 20, name
        answer = server.post("/api/generate", {"model": name, **FEW})
        assert answer["done"], name
    assert {entry["name"] for entry in server.get("/api/ps")["models"]}
    for name in (*expected, *HIDDEN):
        status, body = server.request("POST", "/api/show", {"model": name})
        assert status < 500 or "internal" not in body.decode(), (name, body)
        status, body = server.request("POST", "/api/chat", {"model": name, "messages": []})
        assert status < 500 or "internal" not in body.decode(), (name, body)
    assert server.get("/api/origins")["origins"]


def test_texts_that_are_absurdly_long_are_not_created(server: Server) -> None:
    """Refused by name, before they cost anybody anything."""
    server.create("base", "say")
    long = "x" * (5 << 20)
    for field, value in {"license": long, "template": long, "system": long}.items():
        body = {"model": "long", "from": "base", field: value, "stream": False}
        status, answer = server.request("POST", "/api/create", body)
        assert status in (400, 413, 500), field
        assert field in json.loads(answer)["error"] or status == 413, answer
    status, _ = server.request("POST", "/api/show", {"model": "long"})
    assert status == 404
