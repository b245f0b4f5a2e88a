"""The store on a real folder: exact bytes, tolerance, shared blobs, what a crash leaves."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corral.digest import Digest
from corral.errors import CorruptManifestError, InvalidDigestError, ModelNotFoundError
from corral.golang.json import encode, encode_sorted
from corral.names import ModelName
from corral.store.config_blob import ModelConfig
from corral.store.manifests import CONFIG_MEDIA_TYPE, Layer, Manifest
from corral.store.models import ModelStore
from corral.store.prune import delete_unreferenced, keep_for_a_while, prepare_store


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def add_model(store: ModelStore, name: str, *texts: str) -> list[Layer]:
    """A model whose layers are templates with these texts."""
    config = store.blobs.put_bytes(ModelConfig(model_format="gguf", family="test").encode())
    layers = []
    for text in texts:
        result = store.blobs.put_bytes(text.encode())
        layers.append(Layer("application/vnd.ollama.image.template", result.digest, result.size_bytes))
    manifest = Manifest(Layer(CONFIG_MEDIA_TYPE, config.digest, config.size_bytes), tuple(layers))
    store.manifests.write(ModelName.parse(name), manifest.encode())
    return layers


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (
            ModelConfig("gguf", "test", ("test",), "0", "unknown").encode(),
            "99759ad5b91e723db0393d698ffbb448b1b7df5ff6377a108c49254583b1bc8c",
        ),
        (ModelConfig().encode(), "6118c38e56910d6af964f842c21300229a4186f0c177f122fd4997be6286446d"),
        (
            encode_sorted({"stop": ["<|im_start|>", "<|im_end|>"]}) + b"\n",
            "f02dd72bb2423204352eabc5637b44d79d17f109fdb510a7c51455892aa2d216",
        ),
        (
            encode_sorted({"temperature": 0.7}) + b"\n",
            "1362c6e1ec849a1a150e37d284262adca1fd9570c7b9fb70ed996d4d17c7f8a4",
        ),
        (
            encode_sorted({"top_k": 10, "temperature": 1, "stop": ["USER:", "ASSISTANT:"]}) + b"\n",
            "1d0ad71299d48c2fb7ae2b98e683643e771f8a5b72be34942af90d97a91c1e37",
        ),
        (
            encode([{"role": "user", "content": "<b> & 'é\u2028"}]) + b"\n",
            "1fccd956ea65c849a92a632aac2d8a8d349dc801e45e580e6d12f48a74770c93",
        ),
    ],
)
def test_blob_bytes_are_those_of_ollama(data: bytes, digest: str) -> None:
    """Digests recorded from the real program: any other byte would make another blob."""
    assert hashlib.sha256(data).hexdigest() == digest


def test_digest_forms() -> None:
    """Both separators name a blob; anything else is no digest and no path."""
    digest = Digest.parse("sha256-" + "a" * 64)
    assert (str(digest), digest.file_name()) == ("sha256:" + "a" * 64, "sha256-" + "a" * 64)
    for text in ("sha256:" + "a" * 63, "SHA256:" + "a" * 64, "../" + "a" * 64, "sha256:" + "g" * 64, ""):
        with pytest.raises(InvalidDigestError):
            Digest.parse(text)


def test_manifest_round_trip() -> None:
    """Members in the recorded order, one newline at the end, `from` only where there is one."""
    config = Layer(CONFIG_MEDIA_TYPE, Digest("b" * 64), 2)
    layer = Layer("application/vnd.ollama.image.model", Digest("c" * 64), 3, "base:latest")
    data = Manifest(config, (layer,)).encode()
    assert data.startswith(
        b'{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json"'
    )
    assert data.endswith(b'"size":3,"from":"base:latest"}]}\n')
    assert Manifest.parse(data) == Manifest(config, (layer,))


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"{}", b'{"config":{"digest":"../x"}}', b'{"config":5}', b'{"layers":5}']
)
def test_corrupt_manifests(data: bytes) -> None:
    """What is no manifest is an error of its own kind."""
    with pytest.raises(CorruptManifestError):
        Manifest.parse(data)


def test_lookup_in_any_case(store: ModelStore) -> None:
    """Each part is found in the case that is on disk; `load` is exact."""
    add_model(store, "Llama3", "x")
    assert store.find(ModelName.parse("LLAMA3:Latest")).name.short() == "Llama3:latest"
    with pytest.raises(ModelNotFoundError):
        store.load(ModelName.parse("llama3"))


def test_delete_keeps_shared_blobs(store: ModelStore) -> None:
    """A blob goes with the last model that uses it, and empty folders with it."""
    (layer,) = add_model(store, "a", "shared")
    add_model(store, "team/b", "shared")
    for name, is_left in (("a", True), ("team/b", False)):
        manifest = store.manifests.read(ModelName.parse(name)).manifest
        store.manifests.delete(ModelName.parse(name))
        delete_unreferenced(store, manifest.digests())
        assert store.blobs.has(layer.digest) is is_left
    assert not store.manifests.folder.exists()


def test_list_marks_what_is_broken(store: ModelStore) -> None:
    """A corrupt manifest hides that model alone, and a missing text blob marks it."""
    add_model(store, "good", "x")
    (layer,) = add_model(store, "bad", "gone")
    store.blobs.delete(layer.digest)
    path = store.manifests.path(ModelName.parse("corrupt"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{")
    found = {model.name.short(): (model.is_damaged, model.problem) for model in store.list()}
    assert set(found) == {"good:latest", "bad:latest"}
    assert found["good:latest"] == (False, "this model has no weights")
    assert found["bad:latest"][0]
    assert layer.digest.hex in found["bad:latest"][1]


def test_a_changed_manifest_is_read_again(store: ModelStore) -> None:
    """The cache follows the file."""
    add_model(store, "m", "one")
    assert store.find(ModelName.parse("m")).template == "one"
    add_model(store, "m", "two")
    assert store.find(ModelName.parse("m")).template == "two"


def test_start_removes_old_garbage_only(store: ModelStore) -> None:
    """Used, young and partial files stay; what nothing refers to for an hour goes."""
    (layer,) = add_model(store, "m", "used")
    blobs = store.blobs.folder
    names = {
        "old": f"sha256-{'1' * 64}",
        "temporary": "sha256-123456",
        "partial": f"sha256-{'2' * 64}-partial",
        "young": f"sha256-{'3' * 64}",
    }
    for name in names.values():
        (blobs / name).write_bytes(b"x")
    (blobs / f"sha256:{'4' * 64}").write_bytes(b"x")
    hour_ago_s = time.time() - 3700
    for path in blobs.iterdir():
        if path.name != names["young"]:
            os.utime(path, (hour_ago_s, hour_ago_s))
    prepare_store(store, may_prune=True)
    left = set(store.blobs.names())
    assert names["old"] not in left
    assert names["temporary"] not in left
    assert {names["partial"], names["young"], layer.digest.file_name()} <= left


def test_a_corrupt_manifest_stops_pruning(store: ModelStore) -> None:
    """What a broken manifest refers to is not known, so nothing goes."""
    path = store.manifests.path(ModelName.parse("x"))
    path.parent.mkdir(parents=True)
    path.write_text("{")
    old = store.blobs.folder / f"sha256-{'1' * 64}"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"x")
    os.utime(old, (0, 0))
    prepare_store(store, may_prune=True)
    assert old.exists()


async def _chunks(data: bytes, *, fails: bool = False) -> AsyncIterator[bytes]:
    for i in range(0, len(data), 1000):
        yield data[i : i + 1000]
    if fails:
        raise ConnectionResetError


def test_a_stream_is_stored_under_its_own_digest(store: ModelStore) -> None:
    """Whatever name it came with."""
    data = os.urandom(3_000_000)
    result = asyncio.run(store.blobs.put(_chunks(data)))
    assert result.digest == Digest.of(data)
    assert store.blobs.path(result.digest).read_bytes() == data
    assert store.blobs.path(result.digest).stat().st_mode & 0o777 == 0o644


def test_a_stream_that_breaks_leaves_nothing(store: ModelStore) -> None:
    """No temporary file stays behind."""
    with pytest.raises(ConnectionResetError):
        asyncio.run(store.blobs.put(_chunks(b"x" * 10_000, fails=True)))
    assert store.blobs.names() == []


def _put_many(folder: str, seed: int) -> None:
    store = ModelStore(Path(folder))
    for i in range(30):
        store.blobs.put_bytes(f"blob {i}".encode())
        add_model(store, f"m{i}", f"text {i}")
    assert seed >= 0


@pytest.mark.slow
def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    """Both write the same models at once; every one is whole afterwards."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_put_many, args=(str(tmp_path), i)) for i in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    store = ModelStore(tmp_path)
    models = store.list()
    assert {model.template for model in models} == {f"text {i}" for i in range(30)}


@pytest.mark.process
def test_kill_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """SIGKILL while a blob is written leaves a store that works, and a temporary file that the next start removes."""
    program = f"""
import time
from pathlib import Path
from corral.store.models import ModelStore
writer = ModelStore(Path({str(tmp_path)!r})).blobs.writer()
print("ready", flush=True)
while True:
    writer.write(b"x" * 1000)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    store = ModelStore(tmp_path)
    (left,) = store.blobs.names()
    add_model(store, "m", "x")
    prepare_store(store, may_prune=True, now_s=time.time() + 4000)
    assert left in store.blobs.names(), "the file of a living writer"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    prepare_store(store, may_prune=True)
    assert left not in store.blobs.names()
    assert store.find(ModelName.parse("m")).template == "x"


def test_what_was_uploaded_stays_for_a_while(store: ModelStore) -> None:
    """It outlives the model made of it until the next start, and for an hour at least."""
    add_model(store, "other", "y")
    (layer,) = add_model(store, "m", "uploaded")
    keep_for_a_while(store, layer.digest)
    store.manifests.delete(ModelName.parse("m"))
    delete_unreferenced(store, [layer.digest])
    now_s = time.time()
    for age_s, is_there in ((1800, True), (4000, False)):
        prepare_store(store, may_prune=True, now_s=now_s + age_s)
        assert store.blobs.has(layer.digest) is is_there
