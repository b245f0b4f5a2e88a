"""Copies, deletions, and what a start removes."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from corral.names import ModelName
from corral.store.changes import copy_model, delete_model
from corral.store.models import ModelStore
from corral.store.prune import prepare_store
from corral.store.workspace import Workspace
from tests.crashplans.workload import Workload
from tests.crashplans.workloads.models_folder import StoreStep, models, open_store, store_workload

_LONG_AGO = (1_000_000_000, 1_000_000_000)


def _copy(source: str, destination: str, system: str) -> StoreStep:
    def do(store: ModelStore, _root: Path) -> None:
        copy_model(store, ModelName.parse(source), ModelName.parse(destination))

    return StoreStep(f"copy {source} to {destination}", do, {f"{destination}:latest": system})


def _delete(name: str) -> StoreStep:
    def do(store: ModelStore, _root: Path) -> None:
        with contextlib.suppress(FileNotFoundError):  # it was deleted before it could be said
            delete_model(store, ModelName.parse(name))

    return StoreStep(f"delete {name}", do, {f"{name}:latest": None})


def _start(store: ModelStore, _root: Path) -> None:
    prepare_store(store, may_prune=True)


def _garbage(root: Path) -> None:
    """What other programs and killed processes have left: all of it may go, and everything else may not."""
    blobs = models(root) / "blobs"
    digest = hashlib.sha256(b"garbage").hexdigest()
    (blobs / f"sha256-{digest}").write_bytes(b"garbage")
    (blobs / "sha256-123456789012345678").write_bytes(b"unfinished")
    (blobs / f"sha256-{'5' * 64}-partial").write_bytes(b"partial")
    (blobs / f"sha256-{'5' * 64}-partial-0").write_bytes(b"{}")
    (blobs / "COPY-1234567").write_bytes(b"a step of a create")
    workspace = Workspace(open_store(root).blobs)
    workspace.put_bytes(b"added by a change that was cut short")
    # As if the process had been killed: the folder stays, nobody holds its lock.
    workspace._held.close()
    (models(root) / "manifests" / "registry.ollama.ai" / "library" / "empty").mkdir()
    for path in blobs.iterdir():
        os.utime(path, _LONG_AGO, follow_symlinks=False)


def _old_spelling(root: Path) -> None:
    """Blobs as Ollama 0.1 names them."""
    blobs = models(root) / "blobs"
    for path in sorted(blobs.iterdir())[:3]:
        path.rename(path.with_name(path.name.replace("-", ":", 1)))


WORKLOADS: tuple[Workload, ...] = (
    store_workload(
        "copy",
        (
            _copy("alpha", "a", "You are alpha."),
            _copy("both", "b", "You are both."),
            _copy("alpha", "plain", "You are alpha."),
        ),
    ),
    store_workload(
        "delete",
        (
            _delete("alpha"),
            _delete("both"),
            _copy("beta", "c", "You are beta."),
            _delete("beta"),
            _delete("c"),
        ),
    ),
    store_workload("prune", (StoreStep("start", _start, {}),), prepare=_garbage),
)
