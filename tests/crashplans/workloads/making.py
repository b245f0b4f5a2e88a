"""Uploads, creates, local files that are shared, and pushes to this server."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from corral.digest import Digest
from corral.library.blob_access import BlobAccess
from corral.library.create.jobs import JobResult, Jobs, OnProgress
from corral.library.create.local import LocalFiles
from corral.library.create.request import CreateRequest
from corral.library.create.service import Creator
from corral.library.create.worker import _work
from corral.library.registry_server import Hosting
from corral.store.locks import store_lock
from corral.store.models import ModelStore
from corral.store.prune import keep_for_a_while
from corral.store.uploads import UploadStore
from tests.conftest import FIXTURES
from tests.crashplans.workload import Workload
from tests.crashplans.workloads.models_folder import StoreStep, quiet, store_workload
from tests.doubles.real_registry import digest_of, manifest_of

_GGUF = (FIXTURES / "jinja-tools.gguf").read_bytes()
_FILE = b"GGUF a file of the user's own, shared with the store"
_PUSHED = (
    b"GGUF weights that another machine pushed " * 50,
    b'{"model_format":"gguf","model_family":"llama"}',
)


class JobsHere(Jobs):
    """The work of the worker process in this one, so that its calls are seen."""

    async def run(self, order: dict[str, Any], on_progress: OnProgress) -> JobResult:
        with contextlib.redirect_stdout(io.StringIO()):  # the progress of the worker
            return JobResult(await asyncio.to_thread(_work, order))


def _upload(store: ModelStore, _root: Path) -> None:
    """What POST /api/blobs does."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(_GGUF), 30_000):
            yield _GGUF[start : start + 30_000]

    digest = Digest.of(_GGUF)
    with store_lock(store.blobs.folder):
        if store.blobs.has(digest):
            keep_for_a_while(store, digest)
            return
    keep_for_a_while(store, digest)
    asyncio.run(store.blobs.put(pieces()))


def _create(name: str, system: str, from_: str = "") -> StoreStep:
    def do(store: ModelStore, root: Path) -> None:
        _upload(store, root)  # a client whose request was cut short sends the file again
        files = None if from_ else {"m.gguf": digest_of(_GGUF)}
        request = CreateRequest(model=name, from_=from_, files=files, system=system, license="MIT")
        asyncio.run(Creator(store, may_prune=True, jobs=JobsHere()).create(request, quiet))

    return StoreStep(f"create {name} {system}", do, {f"{name}:latest": system})


def _take_in(store: ModelStore, root: Path) -> str:
    """What POST /api/local-blobs does with a file on the same disk: a hard link where blocks cannot be shared."""
    made: list[str] = []

    async def note(event: dict[str, Any]) -> None:
        made.append(event.get("digest", ""))

    local = LocalFiles(store, JobsHere(), policy="link")
    asyncio.run(local.take_in(local.parse(str(_user_file(root)), "link"), note))
    return made[-1]


def _user_file(root: Path) -> Path:
    return root / "mine.gguf"


def _put_user_file(root: Path) -> None:
    _user_file(root).write_bytes(_FILE)


def _push(store: ModelStore, root: Path) -> None:
    """What /v2/ does with two blobs, one of them in two pieces, and a manifest."""
    uploads = UploadStore(root / "models" / "corral-uploads", store.blobs)
    for data in _PUSHED:
        upload = uploads.start()
        for piece in (data[:1000], data[1000:]):
            with uploads.open(upload) as file:
                file.seek(0, 2)
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) :]
        uploads.finish(upload, Digest.of(data))
    manifest = manifest_of({"model": _PUSHED[0]}, _PUSHED[1])
    Hosting(store, BlobAccess(store)).put_manifest("library/pushed", "latest", manifest)


def _verify_link(store: ModelStore) -> str:
    """A blob that shares the user's file must have a record of it."""
    path = store.blobs.path(Digest.of(_FILE))
    is_shared = path.exists() and path.stat().st_nlink > 1
    return (
        "a shared blob has no record"
        if is_shared and store.blobs.links.read(Digest.of(_FILE)) is None
        else ""
    )


def _check_link(store: ModelStore, root: Path) -> None:
    _take_in(store, root)
    if problem := _verify_link(store):
        raise AssertionError(problem)


WORKLOADS: tuple[Workload, ...] = (
    store_workload("upload", (StoreStep("upload", _upload, {}, (_GGUF,)),)),
    store_workload("create", (_create("m", "One."), _create("m", "Two."))),
    store_workload(
        "create-over", (_create("plain", "Mine.", from_="alpha"), _create("both", "Mine.", from_="both"))
    ),
    store_workload("local-file", (StoreStep("take in", _check_link, {}),), prepare=_put_user_file),
    store_workload("push", (StoreStep("push", _push, {"pushed:latest": ""}, _PUSHED),)),
)
