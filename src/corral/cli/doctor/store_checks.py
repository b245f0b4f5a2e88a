"""One result of `doctor`, and the checks of the model folder and of the key."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from corral.cli.frame.flags import PROGRAM
from corral.cli.terminal.formatting import format_bytes
from corral.digest import Digest
from corral.errors import CorruptManifestError, InvalidDigestError, RegistryAuthError
from corral.names import ModelName
from corral.store.manifests import Layer
from corral.store.models import ModelStore
from corral.store.orphans import Orphans
from corral.store.references import References, survey

_GIB = 1 << 30
_LOW_DISK_BYTES = 5 * _GIB
_NO_DISK_BYTES = _GIB // 2
# Where Ollama's Linux package keeps the models of its service.
_SERVICE_FOLDER = Path("/usr/share/ollama/.ollama/models")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names what was checked, `advice` says what to do (may be empty)."""

    check: str
    level: Literal["ok", "warn", "fail"]
    text: str
    advice: str = ""


def ok(check: str, text: str) -> Finding:
    return Finding(check, "ok", text)


def warn(check: str, text: str, advice: str) -> Finding:
    return Finding(check, "warn", text, advice)


def fail(check: str, text: str, advice: str) -> Finding:
    return Finding(check, "fail", text, advice)


def check_store(folder: Path) -> Iterator[Finding]:
    """The folder itself, then its content. Changes nothing."""
    if not folder.is_dir():
        yield from _check_missing_folder(folder)
        return
    for part in (folder, folder / "blobs", folder / "manifests"):
        if part.exists() and not os.access(part, os.R_OK | os.W_OK | os.X_OK):
            user = part.owner()
            yield fail(
                "store",
                f"{part} belongs to {user}; this user cannot read and write it",
                f"run {PROGRAM} as {user}, or change the owner: sudo chown -R $USER {folder}",
            )
            return
    store = ModelStore(folder)
    try:
        names = list(store.manifests.names())
        used_bytes = sum(_size_on_disk(folder / "blobs" / name) for name in store.blobs.names())
    except OSError as exc:
        yield fail("store", f"{folder} cannot be read: {exc.strerror}", "check its permissions")
        return
    yield ok("store", f"{folder}, models: {len(names)}, {format_bytes(used_bytes)}")
    yield _check_disk(folder)
    yield from _check_models(store, names)


def _check_missing_folder(folder: Path) -> Iterator[Finding]:
    parent = next(parent for parent in folder.parents if parent.exists())
    if folder.exists():
        yield fail("store", f"{folder} is not a folder", "move it away, or set OLLAMA_MODELS to a folder")
    elif not os.access(parent, os.W_OK | os.X_OK):
        yield fail("store", f"{folder} does not exist, and {parent} is not writable", "set OLLAMA_MODELS")
    elif _SERVICE_FOLDER.is_dir():
        yield warn(
            "store",
            f"{folder} does not exist yet; an Ollama service has models in {_SERVICE_FOLDER}",
            f"to use those, set OLLAMA_MODELS={_SERVICE_FOLDER} and run as a user who may write to it",
        )
    else:
        yield ok("store", f"{folder} does not exist yet; it is created with the first model")


def _size_on_disk(path: Path) -> int:
    try:
        info = path.lstat()
    except OSError:
        return 0
    return info.st_size if stat.S_ISREG(info.st_mode) else 0


def _check_disk(folder: Path) -> Finding:
    free_bytes = shutil.disk_usage(folder).free
    text = f"{format_bytes(free_bytes)} free on the disk of the models"
    advice = (
        f"free some space: {PROGRAM} list --sort size shows the largest models, {PROGRAM} rm removes them"
    )
    if free_bytes < _NO_DISK_BYTES:
        return fail("disk", text, advice)
    return warn("disk", text, advice) if free_bytes < _LOW_DISK_BYTES else ok("disk", text)


def _check_models(store: ModelStore, names: list[ModelName]) -> Iterator[Finding]:
    corrupt: list[str] = []
    broken: dict[str, str] = {}
    for name in names:
        try:
            manifest = store.manifests.read(name).manifest
        except (CorruptManifestError, OSError) as exc:
            corrupt.append(f"{name.short()} ({exc})")
            continue
        for layer in (*manifest.layers, manifest.config):
            if problem := _problem(store, layer):
                broken.setdefault(name.short(), problem)
    references = survey(store.manifests)
    if corrupt:
        yield fail(
            "manifests",
            f"cannot be read: {_some(corrupt)}",
            f"download the model again ({PROGRAM} pull) or remove it ({PROGRAM} rm); pruning stays off until then",
        )
    elif references.unclear:
        yield warn(
            "manifests",
            f"{store.folder} holds unknown files that may refer to blobs: {_some(references.unclear)}",
            "pruning stays off until they are moved away, because another program may need the blobs",
        )
    else:
        yield ok("manifests", "all are readable")
    if broken:
        listed = _some([f"{name} ({problem})" for name, problem in broken.items()])
        yield fail(
            "blobs",
            f"models with missing or damaged files: {listed}",
            f"download them again: {PROGRAM} pull NAME",
        )
    else:
        sizes = "every file of every model is present and has the right size"
        yield ok("blobs", f"{sizes} ({PROGRAM} verify checks their content)")
    yield from _check_leftovers(store, references)


def _problem(store: ModelStore, layer: Layer) -> str:
    links = store.blobs.links
    path = store.blobs.path(layer.digest)
    try:
        size_bytes = path.stat().st_size
    except FileNotFoundError:
        return links.problem(path) if path.is_symlink() else f"{path.name[:19]} is missing"
    except OSError as exc:
        return f"{path.name[:19]}: {exc.strerror}"
    if not os.access(path, os.R_OK):
        return f"{path.name[:19]} is not readable by this user"
    if size_bytes != layer.size_bytes:
        return f"{path.name[:19]} has {size_bytes} bytes instead of {layer.size_bytes}"
    if store.blobs.problem(layer.digest, layer.size_bytes):
        return f"{path.name[:19]} does not match its digest"
    return links.problem(path)


def _check_leftovers(store: ModelStore, references: References) -> Iterator[Finding]:
    """Interrupted downloads and unreferenced blobs."""
    partial_bytes = unused_bytes = partial_count = unused_count = 0
    for name in store.blobs.names():
        path = store.blobs.folder / name
        if "-partial" in name:
            partial_count += name.endswith("-partial")
            # A partial file is sparse and has the full length: its blocks are its size.
            partial_bytes += path.lstat().st_blocks * 512
            continue
        try:
            is_used = Digest.parse(name).hex.lower() in references.hexes
        except InvalidDigestError:
            is_used = path.is_dir()
        if not is_used:
            unused_count += 1
            unused_bytes += _size_on_disk(path)
    if partial_count:
        yield warn(
            "downloads",
            f"{partial_count} interrupted downloads, {format_bytes(partial_bytes)} on disk",
            f"{PROGRAM} pull of the same model resumes them; they are deleted after seven days",
        )
    if unused_count:
        yield warn(
            "leftovers",
            f"{unused_count} unreferenced files, {format_bytes(unused_bytes)}",
            _leftovers_advice(store, references),
        )
    if not partial_count and not unused_count:
        yield ok("leftovers", "none")


def _leftovers_advice(store: ModelStore, references: References) -> str:
    if references.unclear or references.absent or not references.manifest_count:
        return "none is deleted, because it is not clear whether they are needed"
    if Orphans(store.blobs).names():
        return (
            "some were here before any manifest and are kept: restore the manifests, or delete "
            f"{Orphans(store.blobs).path} and restart the server"
        )
    return "the next server start deletes those older than an hour, unless OLLAMA_NOPRUNE is set"


def _some(texts: list[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def check_key(path: Path) -> Finding:
    """The key with which this machine authenticates to registries."""
    from corral.registry.key import Identity

    if not path.exists():
        return ok("key", f"{path} does not exist yet; the server creates it on its first start")
    try:
        Identity.load(path)
    except RegistryAuthError as exc:
        return fail("key", str(exc), "move it away; the next server start creates a new one")
    if path.stat().st_mode & 0o077:
        return warn("key", f"{path} is readable by other users", f"chmod 600 {path}")
    return ok("key", str(path))
