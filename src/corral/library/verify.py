"""Verifies the blobs of some or all models against their digests, to find damage.

Nothing is repaired. Damage is recorded, so that the model is not run and the next pull downloads the blob again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corral import caller
from corral.digest import Digest
from corral.errors import CorruptManifestError, InvalidModelNameError, ModelNotFoundError
from corral.names import ModelName
from corral.store.models import ModelStore
from corral.store.references import digests_of
from corral.threads import run_in_thread
from corral.types import Report

_CHUNK_BYTES = 1 << 20
_REPORT_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Damage:
    """The fault of a blob of a model, or of its manifest if `digest` is empty."""

    model: str
    digest: str
    problem: str

    def to_json(self) -> dict[str, Any]:
        return {"model": self.model, "digest": self.digest, "problem": self.problem}


@dataclass(slots=True)
class _Blob:
    """A blob and the models that need it; `size_bytes` is from their manifests, None if unknown."""

    digest: Digest
    size_bytes: int | None
    models: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Sizes:
    """Bytes of all blobs, and of those already checked."""

    total: int
    before: int = 0


class Verifier:
    """Verifies one store. Requests take turns, because two at a time would not be faster."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._lock = asyncio.Lock()

    async def verify(self, names: Sequence[str], report: Report) -> None:
        """Verify the named models, or all. The last object lists all damage.

        Raises:
            InvalidModelNameError, ModelNotFoundError
        """
        async with self._lock:
            blobs, damage = await asyncio.to_thread(self._gather, names)
            for found in damage:
                await report({"status": "damaged", **found.to_json()})
            sizes = _Sizes(sum(blob.size_bytes or 0 for blob in blobs))
            for blob in blobs:
                problem = await self._check(blob, sizes, report)
                sizes.before += blob.size_bytes or 0
                if problem:
                    for model in blob.models:
                        damage.append(Damage(model, str(blob.digest), problem))
                        await report({"status": "damaged", **damage[-1].to_json()})
        await report(
            {
                "status": "success",
                "blobs": len(blobs),
                "bytes": sizes.total,
                "damaged": [found.to_json() for found in damage],
            }
        )

    def _gather(self, names: Sequence[str]) -> tuple[list[_Blob], list[Damage]]:
        """The blobs of some models, each once, and faults of their manifests."""
        found: dict[str, _Blob] = {}
        damage = []
        for name in self._names(names):
            short = name.short()
            try:
                manifest = self._store.manifests.read(name).manifest
            except (CorruptManifestError, OSError) as exc:
                damage.append(Damage(short, "", f"its manifest cannot be read: {exc}"))
                continue
            sizes = {layer.digest: layer.size_bytes for layer in (*manifest.layers, manifest.config)}
            others = {
                digest: None
                for digest in sorted(digests_of(self._store.manifests, name) - set(sizes), key=str)
                if self._store.blobs.path(digest).is_file()
            }
            for digest, size_bytes in {**sizes, **others}.items():
                blob = found.setdefault(digest.hex.lower(), _Blob(digest, size_bytes))
                blob.models.append(short)
        return list(found.values()), damage

    def _names(self, names: Sequence[str]) -> Iterator[ModelName]:
        if not names:
            visible = filter(caller.current().may_use, self._store.manifests.names())
            yield from sorted(visible, key=ModelName.full)
        for text in names:
            try:
                parsed = ModelName.parse(text)
            except InvalidModelNameError:
                raise InvalidModelNameError(text, f"invalid model name: {text}") from None
            caller.require_model(parsed)
            name = self._store.manifests.resolve(parsed)
            if not self._store.manifests.entries(name):
                raise ModelNotFoundError(text, f"model '{text}' not found")
            yield name

    async def _check(self, blob: _Blob, sizes: _Sizes, report: Report) -> str:
        """The fault of a blob; empty if it is valid."""
        path = self._store.blobs.path(blob.digest)
        try:
            info = await asyncio.to_thread(path.stat)
            if blob.size_bytes is not None and info.st_size != blob.size_bytes:
                return f"the file has {info.st_size} bytes instead of {blob.size_bytes}"
            is_valid = await self._has_digest(blob, path, sizes, report)
        except OSError as exc:
            return f"the file cannot be read: {(exc.strerror or str(exc)).lower()}"
        await asyncio.to_thread(self._note, blob.digest, (info.st_size, info.st_mtime_ns), is_valid)
        return "" if is_valid else "the content does not match its digest"

    def _note(self, digest: Digest, stamp: tuple[int, int], is_valid: bool) -> None:
        try:
            self._store.blobs.checked.note(digest, stamp, is_sound=is_valid)
        except OSError:
            return  # the store is read-only; the response reports the damage anyway

    async def _has_digest(self, blob: _Blob, path: Path, sizes: _Sizes, report: Report) -> bool:
        hashing = _Hashing(path)
        work = asyncio.ensure_future(run_in_thread(hashing.run, cancel=hashing.stopping.set))
        try:
            while not (await asyncio.wait({work}, timeout=_REPORT_EVERY_S))[0]:
                await report(_progress(blob, hashing.done_bytes, sizes))
        finally:
            work.cancel()
        actual = work.result()
        await report(_progress(blob, hashing.done_bytes, sizes))
        return actual == blob.digest.hex.lower()


def _progress(blob: _Blob, done_bytes: int, sizes: _Sizes) -> dict[str, Any]:
    total = blob.size_bytes or done_bytes
    return {
        "status": f"verifying {blob.digest.hex[:12]}",
        "digest": str(blob.digest),
        "total": total,
        "completed": min(done_bytes, total),
        "all_total": sizes.total,
        "all_completed": min(sizes.before + done_bytes, sizes.total),
    }


class _Hashing:
    """Reads a file once, and does not leave it in the page cache."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.done_bytes = 0
        self.stopping = threading.Event()

    def run(self) -> str:
        hasher = hashlib.sha256()
        with self._path.open("rb", buffering=0) as file:
            while (chunk := file.read(_CHUNK_BYTES)) and not self.stopping.is_set():
                hasher.update(chunk)
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(file.fileno(), self.done_bytes, len(chunk), os.POSIX_FADV_DONTNEED)
                self.done_bytes += len(chunk)
        return hasher.hexdigest()
