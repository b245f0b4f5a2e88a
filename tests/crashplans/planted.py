"""Faults that are put into the code on purpose: the plans must find each of them.

Each is what somebody could write: a sync left out, a rename before the content, a removal in the wrong order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from corral.access.database import KEYS
from corral.database import Schema
from corral.digest import Digest
from corral.names import ModelName
from corral.store.blobs import BlobWriter, PutResult
from corral.store.models import ModelStore


@dataclass(frozen=True, slots=True)
class Planted:
    """`plant` changes the code of this process; plans of these kinds of a workload must notice."""

    workload: str
    kinds: tuple[str, ...]
    plant: Callable[[], None]


def _put(module: str, name: str, value: Any) -> None:
    _replace(import_module(module), name, value)


def _replace(owner: Any, name: str, value: Any) -> None:
    setattr(owner, name, value)


def _nothing(*_arguments: Any, **_more: Any) -> None:
    """Left out."""


def _no_sync_of_removals() -> None:
    _put("corral.store.catalog", "sync_folder", _nothing)


def _no_sync_of_folders() -> None:
    _put("corral.disk", "sync_folder", _nothing)


def _no_sync_of_files() -> None:
    """Renamed before its content is on the disk."""
    os.fsync = _nothing


def _written_in_place() -> None:
    def write(path: Path, data: bytes, *, mode: int | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    _put("corral.store.catalog", "write_atomically", write)


def _blobs_before_the_manifest() -> None:
    def delete(store: ModelStore, name: ModelName) -> None:
        for digest in store.manifests.read(name).manifest.digests():
            if not any(digest in s.manifest.digests() for s in store.manifests.stored() if s.name != name):
                store.blobs.delete(digest)
        store.manifests.delete(name)

    _put("tests.crashplans.workloads.store", "delete_model", delete)


def _no_look_at_references() -> None:
    def delete(blobs: Any, _manifests: Any, candidates: Iterable[Digest], **_more: Any) -> None:
        for digest in candidates:
            blobs.delete(digest)

    _put("corral.store.workspace", "_delete_unused", delete)


def _blob_named_early() -> None:
    """A blob gets its name first, and its content then."""

    def commit(self: Any) -> Any:
        digest = Digest(self._hasher.hexdigest())
        self.path.replace(self._folder / digest.file_name())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return PutResult(digest, self.size_bytes)

    _replace(BlobWriter, "commit", commit)


def _short_writes() -> None:
    _put("corral.access.audit", "write_fully", lambda file, data: file.write(data))


def _keys_without_sync() -> None:
    never: Any = "OFF"
    schema = Schema(KEYS.what, KEYS.setting, KEYS.advice, KEYS.migrations, never)
    _put("corral.access.keystore", "KEYS", schema)


def _key_made_in_place() -> None:
    def write(path: Path, data: bytes, *, mode: int) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            os.fsync(file.fileno())

    _put("corral.access.clusterkey", "write_new", write)


def _state_not_synced() -> None:
    _put("corral.runner.prompt_states", "sync_file", _nothing)


def _engine_not_synced() -> None:
    _put("corral.runner.engines.folders", "_sync_files", _nothing)


PLANTED: dict[str, Planted] = {
    "removed entries are not synced": Planted("delete", ("last",), _no_sync_of_removals),
    "folders are not synced": Planted("copy", ("lost",), _no_sync_of_folders),
    "files are not synced": Planted("copy", ("names",), _no_sync_of_files),
    "manifests are written in place": Planted("copy", ("torn", "names"), _written_in_place),
    "blobs go before their manifest": Planted("delete", ("kill",), _blobs_before_the_manifest),
    "nobody looks who else needs a blob": Planted("delete", ("kill",), _no_look_at_references),
    "a blob is named before it is written": Planted("upload", ("kill", "names"), _blob_named_early),
    "a short write counts as done": Planted("audit", ("short",), _short_writes),
    "commits of keys are not synced": Planted("keys", ("lost",), _keys_without_sync),
    "a key is made in place": Planted("cluster-key", ("kill",), _key_made_in_place),
    "a saved prompt is noted before it is on the disk": Planted("prompts", ("names",), _state_not_synced),
    "an engine takes its place before it is on the disk": Planted("engines", ("names",), _engine_not_synced),
}
