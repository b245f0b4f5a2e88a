"""Nothing is deleted while it is not clear which blobs are in use."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from corral.digest import Digest
from corral.names import ModelName
from corral.store.models import ModelStore
from corral.store.prune import delete_unreferenced, prepare_store
from corral.store.references import survey
from tests.store.test_store import add_model

FOREIGN = f"sha256-{'5' * 64}"
MANIFEST = '{"digest":"sha256:' + "5" * 64 + '"}'


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """One model, and an old blob that it does not use."""
    store = ModelStore(tmp_path / "models")
    add_model(store, "m", "text")
    (store.blobs.folder / FOREIGN).write_bytes(b"weights of somebody else")
    make_old(store)
    return store


def make_old(store: ModelStore) -> None:
    for path in store.blobs.folder.iterdir():
        os.utime(path, (0, 0))


def write(path: Path, text: str = MANIFEST) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make_unreadable(path: Path) -> None:
    write(path / "library" / "x" / "latest")
    path.chmod(0)


def link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


STRANGERS: dict[str, Callable[[Path], object]] = {
    "a later tree of manifests": lambda m: write(
        m / "manifests-v3" / "ollama.com" / "library" / "x" / "latest"
    ),
    "a later tree in an unknown form": lambda m: write(m / "manifests-v9" / "x", "model x"),
    "an empty later tree": lambda m: (m / "manifests-v3").mkdir(),
    "a tree under another name": lambda m: write(m / "models.d" / "x.json"),
    "an index": lambda m: write(m / "index.json"),
    "a database": lambda m: (m / "store.db").write_bytes(b"SQLite format 3\0" + bytes(100)),
    "a link to a disk that is not mounted": lambda m: link(m / "more", "/mnt/nothing/here"),
    "a backup of the manifests": lambda m: write(m / "manifests.bak" / "h" / "n" / "m" / "t"),
    "a manifest in a fifth level": lambda m: write(m / "manifests" / "h" / "n" / "m" / "t" / "u"),
    "a manifest in the third level": lambda m: write(m / "manifests" / "h" / "n" / "m"),
    "a manifest whose tag is no tag": lambda m: write(m / "manifests" / "h" / "n" / "m" / "latest~"),
    "a hidden manifest": lambda m: write(m / "manifests" / "h" / "n" / "m" / ".latest"),
    "a dangling manifest": lambda m: link(m / "manifests" / "h" / "n" / "m" / "t", "/mnt/nothing/here"),
    "a dangling folder": lambda m: link(m / "manifests" / "h", "/mnt/nothing/here"),
    "half a manifest": lambda m: write(m / "manifests" / "h" / "n" / "m" / "t", "{"),
    "an empty manifest": lambda m: write(m / "manifests" / "h" / "n" / "m" / "t", ""),
    "a manifest of another form": lambda m: write(m / "manifests" / "h" / "n" / "m" / "t", '{"parts":[]}'),
    "a manifest too large": lambda m: write(m / "manifests" / "h" / "n" / "m" / "t", " " * (5 << 20)),
    "a database of manifests": lambda m: write(m / "manifests" / "index.db", "x"),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_what_is_not_understood_keeps_all_blobs(
    store: ModelStore, stranger: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the sweep at the start nor a deletion removes a blob, and the log says why, once."""
    STRANGERS[stranger](store.folder)
    blobs = set(store.blobs.names())
    with caplog.at_level(logging.WARNING):
        prepare_store(store, may_prune=True)
        prepare_store(store, may_prune=True)
        manifest = store.manifests.read(ModelName.parse("m")).manifest
        store.manifests.delete(ModelName.parse("m"))
        delete_unreferenced(store, manifest.digests() | {Digest.parse(FOREIGN)})
    assert set(store.blobs.names()) == blobs
    assert caplog.text.count("nothing is deleted") <= 1


def test_a_folder_that_cannot_be_read_keeps_all_blobs(store: ModelStore) -> None:
    """What is in it is not known."""
    if os.geteuid() == 0:
        pytest.skip("root reads every folder")
    make_unreadable(store.manifests.folder / "hidden.example")
    try:
        prepare_store(store, may_prune=True)
        assert FOREIGN in store.blobs.names()
    finally:
        (store.manifests.folder / "hidden.example").chmod(0o755)


HARMLESS: dict[str, Callable[[Path], object]] = {
    "what a desktop leaves": lambda m: (m / ".DS_Store").write_bytes(b"\0\0\0\1Bud1"),
    "what a desktop leaves among manifests": lambda m: (m / "manifests" / ".DS_Store").write_bytes(b"\0Bud1"),
    "a new disk": lambda m: (m / "lost+found").mkdir(),
    "notes": lambda m: write(m / "README.txt", "my models"),
    "weights": lambda m: write(m / "gguf" / "my.gguf", "GGUF\0\0\0\3"),
    "an empty folder": lambda m: (m / "later").mkdir(),
    "our own files": lambda m: write(m / "corral" / "links" / ("5" * 64 + ".json")),
    "what a create of Ollama left": lambda m: write(m / "ollama-safetensors123456" / "x.json"),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_cannot_refer_to_blobs_does_not_stop_the_sweep(store: ModelStore, kind: str) -> None:
    """A folder is not full for ever because of a note in it."""
    HARMLESS[kind](store.folder)
    assert survey(store.manifests).unclear == []
    prepare_store(store, may_prune=True)
    assert FOREIGN not in store.blobs.names()
    assert store.find(ModelName.parse("m")).template == "text"


@pytest.mark.parametrize("is_there", [True, False])
def test_no_manifest_at_all(store: ModelStore, is_there: bool) -> None:
    """Manifests that are not mounted: all blobs stay, also after another model has come and the rest is back."""
    aside = store.folder.parent / "aside"
    store.manifests.folder.rename(aside)
    if is_there:
        store.manifests.folder.mkdir()
    blobs = set(store.blobs.names())
    prepare_store(store, may_prune=True)
    assert set(store.blobs.names()) == blobs
    assert store.manifests.folder.exists() is is_there, "it may be where a disk is mounted"
    add_model(store, "new", "other")
    make_old(store)
    prepare_store(store, may_prune=True)
    assert blobs < set(store.blobs.names())
    shutil.rmtree(store.manifests.folder)
    aside.rename(store.manifests.folder)
    assert store.find(ModelName.parse("m")).template == "text"


def test_blobs_that_two_folders_share(store: ModelStore) -> None:
    """A folder whose blobs are a link into another does not know what that one uses, unless both have one tree."""
    other = store.folder.parent / "other"
    other.mkdir()
    (other / "blobs").symlink_to(store.blobs.folder)
    second = ModelStore(other)
    add_model(second, "mine", "other text")
    make_old(store)
    prepare_store(second, may_prune=True)
    assert FOREIGN in store.blobs.names()
    assert store.find(ModelName.parse("m")).template == "text"
    shutil.rmtree(second.manifests.folder)
    second.manifests.folder.symlink_to(store.manifests.folder)
    assert survey(second.manifests).unclear == []


def test_files_of_unknown_names_stay(store: ModelStore) -> None:
    """In the folder of blobs too: only names that we know are tidied up."""
    names = {"README", "blake3-" + "1" * 64, "sha512-" + "1" * 128, "backup.tar", "sha256-" + "1" * 63 + "x"}
    for name in names:
        (store.blobs.folder / name).write_bytes(b"x")
    make_old(store)
    prepare_store(store, may_prune=True)
    assert names <= set(store.blobs.names())
    assert FOREIGN not in store.blobs.names()


def test_the_old_spelling_does_not_replace_a_blob(store: ModelStore) -> None:
    """A blob under both names keeps the content that it has under the present one."""
    (store.blobs.folder / FOREIGN.replace("-", ":")).write_bytes(b"cut")
    write(store.folder / "manifests-v3" / "x")
    prepare_store(store, may_prune=True)
    assert (store.blobs.folder / FOREIGN).read_bytes() == b"weights of somebody else"
