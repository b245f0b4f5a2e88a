"""Models folders as versions of Ollama leave them, written byte by byte without our own code.

The old tree is `manifests/registry.ollama.ai/...`. From 0.40 on there is `manifests-v2/ollama.com/...` too, whose
entries are symbolic links to blobs, hard links, or copies (Windows), and which may hold lists of manifests.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["STORES", "OllamaStore", "make_store", "snapshot"]

CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
LIST_TYPE = "application/vnd.ollama.manifest.list.v2+json"
LAYER_TYPE = "application/vnd.ollama.image."
OLD_HOST, NEW_HOST = "registry.ollama.ai", "ollama.com"
Entry = Literal["symlink", "hard link", "copy"]
_DAY_S = 86400
_WEEK_S = 7 * _DAY_S


@dataclass
class OllamaStore:
    """A folder, and what the models in it are made of.

    `runnable` and `other` are the short names that a list should show, `remote` those of `other` that are in a cloud.
    `blobs_of` tells which blobs a model needs, so that a test knows what a deletion may take.
    `sweeps`: the start of a server may remove old garbage;
    `is_clear`: it is certain which blobs are in use.
    """

    models: Path
    weights: bytes
    runnable: set[str] = field(default_factory=set)
    other: set[str] = field(default_factory=set)
    remote: set[str] = field(default_factory=set)
    blobs_of: dict[str, set[str]] = field(default_factory=dict)
    sweeps: bool = True
    is_clear: bool = True

    def blob(self, data: bytes) -> str:
        """Write a blob; its hexadecimal digest."""
        text = hashlib.sha256(data).hexdigest()
        path = self.models / "blobs" / f"sha256-{text}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return text

    def layer(self, kind: str, data: bytes, media_type: str = "", **more: str) -> dict[str, Any]:
        digest = f"sha256:{self.blob(data)}"
        return {"mediaType": media_type or LAYER_TYPE + kind, "digest": digest, "size": len(data), **more}

    def gguf(self, mark: str, *, rootfs: bool = False, **more: str) -> dict[str, Any]:
        """The manifest of a GGUF model; `mark` makes its small layers its own, `more` are members of the manifest."""
        config: dict[str, Any] = {
            "model_format": "gguf",
            "model_family": "llama",
            "model_families": ["llama"],
        }
        config |= {"model_type": "1.0M", "file_type": "F16", "mark": mark}
        if rootfs:
            config["rootfs"] = {"type": "layers", "diff_ids": ["sha256:" + "e" * 64]}
        layers = [
            self.layer("model", self.weights),
            self.layer("system", f"You are {mark}.".encode()),
            self.layer("params", b'{"num_ctx":256}'),
            self.layer("license", f"License of {mark}".encode()),
        ]
        return manifest(self.layer("", json.dumps(config).encode(), CONFIG_TYPE), layers, **more)

    def mlx(self, mark: str, **more: str) -> dict[str, Any]:
        """The manifest of a model in safetensors form."""
        config = {"model_format": "safetensors", "model_family": "llama", "mark": mark}
        layers = [
            self.layer("tensor", f"tensor {mark} {i}".encode(), name=f"model.layers.{i}.weight")
            for i in range(3)
        ]
        layers.append(self.layer("json", f'{{"mark":"{mark}"}}'.encode(), name="config.json"))
        return manifest(self.layer("", json.dumps(config).encode(), CONFIG_TYPE), layers, **more)

    def list_of(self, *variants: tuple[dict[str, Any], str, str], without: Iterable[int] = ()) -> bytes:
        """A list of manifests with their runners and formats, each a blob but those whose index is in `without`."""
        entries = []
        for i, (inner, runner, form) in enumerate(variants):
            data = encoded(inner)
            text = hashlib.sha256(data).hexdigest()
            if i not in without:
                self.blob(data)
            entries.append(
                {"mediaType": MANIFEST_TYPE, "digest": f"sha256:{text}", "runner": runner, "format": form}
            )
        return json.dumps({"schemaVersion": 2, "mediaType": LIST_TYPE, "manifests": entries}).encode()

    def old(self, model: str, data: bytes | dict[str, Any], host: str = OLD_HOST) -> None:
        """An entry of the old tree."""
        path = self.models / "manifests" / host / "library" / model / "latest"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else encoded(data))

    def new(self, model: str, data: bytes | dict[str, Any], how: Entry = "symlink") -> None:
        """An entry of the new tree; what it holds is a blob."""
        text = self.blob(data if isinstance(data, bytes) else encoded(data))
        blob = self.models / "blobs" / f"sha256-{text}"
        path = self.models / "manifests-v2" / NEW_HOST / "library" / model / "latest"
        path.parent.mkdir(parents=True, exist_ok=True)
        if how == "symlink":
            path.symlink_to(os.path.relpath(blob, path.parent))
        elif how == "hard link":
            path.hardlink_to(blob)
        else:
            shutil.copyfile(blob, path)

    def anchor(
        self, model: str, chosen: dict[str, Any], data: bytes, inner: Iterable[dict[str, Any]]
    ) -> None:
        """The old tree's stand-in for a list: the chosen manifest, with layers for the list and its manifests."""
        extra = [self.layer("", data, LIST_TYPE)]
        extra += [self.layer("", encoded(one), MANIFEST_TYPE) for one in inner]
        self.old(model, {**chosen, "layers": [*chosen["layers"], *extra]})

    def note(self, name: str, *manifests: dict[str, Any] | bytes, runnable: bool = True) -> None:
        """Remember a model, and the blobs that the given manifests name or are."""
        (self.runnable if runnable else self.other).add(f"{name}:latest")
        found = self.blobs_of.setdefault(f"{name}:latest", set())
        for one in manifests:
            data = one if isinstance(one, bytes) else encoded(one)
            found.add(hashlib.sha256(data).hexdigest())
            value = json.loads(data)
            parts = [value["config"], *value["layers"]] if "layers" in value else value["manifests"]
            found.update(part["digest"].removeprefix("sha256:") for part in parts)

    def respell(self) -> None:
        """Name the blobs as versions before 0.1.30 did."""
        for path in (self.models / "blobs").iterdir():
            path.rename(path.with_name(path.name.replace("-", ":", 1)))

    def surroundings(self) -> None:
        """What Ollama keeps beside the models folder: keys, history, settings, logs."""
        home = self.models.parent
        for name, mode, text in (
            ("id_ed25519", 0o600, "-----BEGIN OPENSSH PRIVATE KEY-----\n"),
            ("id_ed25519.pub", 0o644, "ssh-ed25519 AAAA\n"),
            ("history", 0o600, "typed in ollama\n"),
            ("server.json", 0o644, '{"disable_ollama_cloud":true}'),
            ("logs/server.log", 0o644, "time=... msg=x\n"),
        ):
            path = home / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(mode)

    def age(self) -> None:
        """Make everything a week old, but for downloads: those were interrupted yesterday."""
        for path in self.models.rglob("*"):
            age_s = _DAY_S if "partial" in path.name else _WEEK_S
            os.utime(path, (time.time() - age_s,) * 2, follow_symlinks=False)


def manifest(config: dict[str, Any], layers: list[dict[str, Any]], **more: str) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": layers, **more}


def encoded(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def snapshot(models: Path) -> dict[str, str]:
    """What each file and link of a folder holds, Corral's own files left out."""
    found = {}
    for path in sorted(models.rglob("*")):
        name = str(path.relative_to(models)).replace("sha256:", "sha256-")  # two names of one file
        if name.startswith(("corral/", "corral-views", ".corral-lock")) or path.is_dir():
            continue
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _old_model(store: OllamaStore, name: str, **more: Any) -> None:
    data = store.gguf(name, **more)
    store.old(name, data)
    store.note(name, data)


def _ollama_0_1(store: OllamaStore) -> None:
    """Templates are of the kind `prompt`, vectors of sample texts a layer of their own; blobs are `sha256:...`."""
    for name in ("alpha", "beta"):
        data = store.gguf(name, rootfs=True)
        data["layers"] += [
            store.layer("prompt", b"{{ .System }} {{ .Prompt }}"),
            store.layer("embed", f"vectors of {name}".encode()),
        ]
        store.old(name, data)
        store.note(name, data)
    store.respell()
    for name in ("partial", "partial-0", "partial-1"):
        (store.models / "blobs" / f"sha256:{'8' * 64}-{name}").write_bytes(b'{"N":0}')


def _ollama_0_3(store: OllamaStore) -> None:
    for name in ("alpha", "beta"):
        _old_model(store, name, rootfs=True)


def _ollama_0_12(store: OllamaStore) -> None:
    _ollama_0_3(store)
    data = store.gguf("gamma")
    store.old("gamma", data, host=NEW_HOST)  # pulled as ollama.com/library/gamma
    store.note("ollama.com/library/gamma", data)


def _ollama_0_32(store: OllamaStore) -> None:
    _ollama_0_12(store)
    data = store.mlx("tensors")
    store.old("tensors", data)
    store.note("tensors", data, runnable=False)


def _ollama_0_34(store: OllamaStore) -> None:
    _ollama_0_32(store)
    _old_model(store, "delta", runner="llamacpp", format="gguf")


def _two_variants(store: OllamaStore, mark: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    gguf = store.gguf(mark, runner="llamacpp", format="gguf")
    mlx = store.mlx(mark, runner="mlx", format="safetensors")
    return gguf, mlx, store.list_of((mlx, "mlx", "safetensors"), (gguf, "llamacpp", "gguf"))


def _ollama_0_40_0(store: OllamaStore, how: Entry = "symlink") -> None:
    """Upgraded from 0.34: what was there stays in the old tree alone, new models are in the new one alone."""
    _ollama_0_34(store)
    plain = store.gguf("plain", runner="ggml", format="gguf")
    store.new("plain", plain, how)
    store.note("plain", plain)
    gguf, mlx, data = _two_variants(store, "both")
    store.new("both", data, how)
    store.note("both", data, gguf, mlx)


def _ollama_0_40_2(store: OllamaStore, how: Entry = "symlink") -> None:
    """Anchors in the old tree, and an older manifest kept among the blobs."""
    _ollama_0_34(store)
    gguf, mlx, data = _two_variants(store, "both")
    store.new("both", data, how)
    store.anchor("both", gguf, data, [gguf, mlx])
    store.note("both", data, gguf, mlx)
    store.blob(encoded(store.gguf("upgraded from")))


def _anchors_alone(store: OllamaStore) -> None:
    """Downgraded: an older version has removed nothing, and the new tree is gone."""
    _ollama_0_40_2(store)
    shutil.rmtree(store.models / "manifests-v2")


def _mlx_alone(store: OllamaStore) -> None:
    _old_model(store, "alpha")
    mlx = store.mlx("apple", runner="mlx", format="safetensors")
    data = store.list_of((mlx, "mlx", "safetensors"))
    store.new("apple", data)
    store.note("apple", data, mlx, runnable=False)
    single = store.mlx("pear", runner="mlx", format="safetensors")
    store.new("pear", single)
    store.note("pear", single, runnable=False)


def _one_variant_missing(store: OllamaStore) -> None:
    """The list names a manifest that is not here; its layers are."""
    _old_model(store, "alpha")
    gguf = store.gguf("both", runner="ggml", format="gguf")
    mlx = store.mlx("both", runner="mlx", format="safetensors")
    data = store.list_of((mlx, "mlx", "safetensors"), (gguf, "ggml", "gguf"), without=[0])
    store.new("both", data)
    store.note("both", data, gguf)
    store.sweeps = False


def _no_variant_here(store: OllamaStore) -> None:
    _old_model(store, "alpha")
    gguf = store.gguf("both", runner="ggml", format="gguf")
    store.new("both", store.list_of((gguf, "ggml", "gguf"), without=[0]))
    store.sweeps = False


def _dangling(store: OllamaStore) -> None:
    """An entry whose blob is gone, and an anchor that still stands for it."""
    _old_model(store, "alpha")
    gguf, mlx, data = _two_variants(store, "both")
    store.new("both", data)
    store.anchor("both", gguf, data, [gguf, mlx])
    store.note("both", gguf, mlx)
    (store.models / "blobs" / f"sha256-{hashlib.sha256(data).hexdigest()}").unlink()
    store.sweeps = store.is_clear = False


def _list_in_a_list(store: OllamaStore) -> None:
    _old_model(store, "alpha")
    gguf, _, data = _two_variants(store, "both")
    outer = store.list_of((json.loads(data), "", ""), (gguf, "ggml", "gguf"))
    store.new("outer", outer)


def _later_tree(store: OllamaStore) -> None:
    """A tree of the next version, with blobs that only it knows."""
    _ollama_0_40_2(store)
    text = store.blob(b"weights of a later version")
    path = store.models / "manifests-v3" / "index.cbor"
    path.parent.mkdir()
    path.write_bytes(b"\xa1\x00" + bytes.fromhex(text))
    store.sweeps = store.is_clear = False


def _later_manifest(store: OllamaStore) -> None:
    """A manifest of a kind that is not known, in a tree that is."""
    _ollama_0_40_0(store)
    store.new("later", {"schemaVersion": 3, "mediaType": "application/vnd.ollama.manifest.v3", "parts": []})
    store.blob(b"a part of the later model")
    store.sweeps = store.is_clear = False


def add_rare_things(store: OllamaStore) -> None:
    """All kinds of layers, a model of another host, one of the cloud, a download that is not finished."""
    data = store.gguf("rich")
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    data["layers"] += [
        store.layer("template", b"{{ .System }}{{ .Prompt }}"),
        store.layer("license", b"Another license"),
        store.layer("messages", json.dumps(messages).encode()),
        store.layer("odd", b"a layer of a kind that nobody knows"),
    ]
    store.old("rich", data)
    store.note("rich", data)
    for suffix, content in (("", b"half"), ("-0", b'{"N":0,"Offset":0,"Size":9,"Completed":4}')):
        (store.models / "blobs" / f"sha256-{'9' * 64}-partial{suffix}").write_bytes(content)
    (store.models / "blobs" / "README").write_bytes(b"somebody's own")
    hub = store.gguf("hub")
    store.old("hub", hub, host="hf.co")
    store.note("hf.co/library/hub", hub)
    # A model of the cloud: a configuration, and nothing to run here.
    config = {"model_format": "", "remote_host": "https://ollama.com:443", "remote_model": "big:120b"}
    cloud = manifest(store.layer("", json.dumps(config).encode(), CONFIG_TYPE), [])
    store.old("cloud", cloud)
    store.note("cloud", cloud, runnable=False)
    store.remote.add("cloud:latest")
    store.age()


STORES: dict[str, Callable[[OllamaStore], None]] = {
    "0.3": _ollama_0_3,
    "0.12": _ollama_0_12,
    "0.32": _ollama_0_32,
    "0.34": _ollama_0_34,
    "0.40.0": _ollama_0_40_0,
    "0.40.0 with hard links": lambda store: _ollama_0_40_0(store, "hard link"),
    "0.40.0 with copies": lambda store: _ollama_0_40_0(store, "copy"),
    "0.40.2": _ollama_0_40_2,
    "0.40.2 with copies": lambda store: _ollama_0_40_2(store, "copy"),
    "0.40.2 and back": _anchors_alone,
    "mlx alone": _mlx_alone,
    "one variant missing": _one_variant_missing,
    "no variant here": _no_variant_here,
    "dangling": _dangling,
    "list in a list": _list_in_a_list,
    "later tree": _later_tree,
    "later manifest": _later_manifest,
}


# Its models have kinds of layers that later versions do not write.
OLDEST: dict[str, Callable[[OllamaStore], None]] = {"0.1": _ollama_0_1}


def make_store(kind: str, models: Path, weights: bytes) -> OllamaStore:
    """A store of a kind, a week old."""
    store = OllamaStore(models, weights)
    (STORES | OLDEST)[kind](store)
    store.age()
    return store
