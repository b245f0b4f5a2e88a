"""What the workloads of the models folder share: a folder of Ollama 0.40 that is there before, and what must hold."""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from corral.errors import CorralError, CorruptManifestError
from corral.names import ModelName
from corral.store.models import ModelStore
from corral.store.prune import prepare_store
from tests.crashplans.workload import Step, Workload
from tests.foreign.ollama_stores import OllamaStore, snapshot

WEIGHTS = b"GGUF weights of the models that were there before"
# What no start may leave: files under construction, folders of changes.
_BLOB = re.compile(r"blobs/sha256-([0-9a-f]{64})")
_UNFINISHED = re.compile(r"sha256-\d{18}|corral-[0-9a-f]{16}|\..*\.\d+\.\d+|.*\.tmp")


def models(root: Path) -> Path:
    return root / "models"


def open_store(root: Path) -> ModelStore:
    return ModelStore(models(root))


def put_foreign(root: Path) -> OllamaStore:
    """Models of another program: `alpha` and `beta` in the old tree, `plain` and the list `both` in the new one."""
    made = OllamaStore(models(root), WEIGHTS)
    for name in ("alpha", "beta"):
        data = made.gguf(name)
        made.old(name, data)
        made.note(name, data)
    plain = made.gguf("plain", runner="ggml", format="gguf")
    made.new("plain", plain)
    made.note("plain", plain)
    gguf, mlx = made.gguf("both", runner="llamacpp", format="gguf"), made.mlx("both", runner="mlx")
    listed = made.list_of((mlx, "mlx", "safetensors"), (gguf, "llamacpp", "gguf"))
    made.new("both", listed)
    made.note("both", listed, gguf, mlx)
    made.age()
    return made


@dataclass(frozen=True, slots=True)
class Foreign:
    """`files`: content by path; `files_of`: those that belong to a model alone; `systems`: its system texts."""

    files: Mapping[str, str]
    files_of: Mapping[str, frozenset[str]]
    systems: Mapping[str, str]


@cache
def foreign() -> Foreign:
    """What is there before, found out once."""
    with tempfile.TemporaryDirectory() as name:
        made = put_foreign(Path(name))
        files = snapshot(made.models)
        own = {}
        for model, blobs in made.blobs_of.items():
            others = set().union(*(found for other, found in made.blobs_of.items() if other != model))
            entry = f"/{model.rpartition('/')[2].partition(':')[0]}/latest"
            own[model] = frozenset(f"blobs/sha256-{text}" for text in blobs - others) | frozenset(
                path for path in files if path.startswith("manifests") and path.endswith(entry)
            )
        systems = {model.name.short(): model.system for model in ModelStore(made.models).list()}
    return Foreign(files, own, systems)


@dataclass(frozen=True, slots=True)
class StoreStep:
    """`sets`: the system text of each model that it changes, None if it is gone then.

    `blobs`: content that is in the store once the step was acknowledged, whether a model has it or not.
    """

    name: str
    do: Callable[[ModelStore, Path], Any]
    sets: Mapping[str, str | None]
    blobs: tuple[bytes, ...] = ()


def store_workload(
    name: str, steps: tuple[StoreStep, ...], *, prepare: Callable[[Path], None] | None = None
) -> Workload:
    """A workload that starts from the foreign folder."""

    def make_ready(root: Path) -> None:
        put_foreign(root)
        if prepare is not None:
            prepare(root)

    def start(root: Path) -> None:
        prepare_store(open_store(root), may_prune=True)

    def verify(root: Path, answers: Mapping[str, Any], doubtful: str) -> Iterator[str]:
        yield from _verify(root, steps, answers, doubtful)

    def step(found: StoreStep) -> Step:
        return Step(found.name, lambda root: found.do(open_store(root), root))

    return Workload(name, make_ready, tuple(map(step, steps)), start, verify)


def _verify(
    root: Path, steps: tuple[StoreStep, ...], answers: Mapping[str, Any], doubtful: str
) -> Iterator[str]:
    known: dict[str, set[str | None]] = {name: {text} for name, text in foreign().systems.items()}
    changed: set[str] = set()
    present = snapshot(models(root))
    for step in steps:
        is_done, is_doubtful = step.name in answers, step.name == doubtful
        for name, text in step.sets.items() if is_done or is_doubtful else ():
            changed.add(name)
            known[name] = {text} if is_done else known.get(name, {None}) | {text}
        for data in step.blobs if is_done else ():
            path = f"blobs/sha256-{hashlib.sha256(data).hexdigest()}"
            if path not in present:
                yield f"{path}, which {step.name} acknowledged, is gone"
    store = open_store(root)
    found = {model.name.short(): model for model in store.list()}
    for name, texts in known.items():
        model = found.get(name)
        if (model.system if model else None) not in texts:
            yield f"{name} is {model.system if model else None!r} instead of one of {texts}"
    yield from (f"{name} appeared" for name in found if name not in known)
    for name, model in found.items():
        if model.is_damaged:
            yield f"{name}: {model.problem}"
        for path in missing_files(store, model.name):
            yield f"{name} has lost {path}"
    may_go = frozenset().union(*(foreign().files_of.get(name, frozenset()) for name in changed))
    for path, content in foreign().files.items():
        if path not in may_go and present.get(path) != content:
            yield f"{path}, which is somebody else's, is {'changed' if path in present else 'gone'}"
    for path, content in present.items():
        if (match := _BLOB.fullmatch(path)) and content != match[1] and not content.startswith("->"):
            yield f"{path} has another content"
    yield from unfinished(root)


def missing_files(store: ModelStore, name: ModelName) -> Iterator[str]:
    """Blobs of a model that are not there, or do not have the content of their digest."""
    try:
        manifest = store.manifests.read(name).manifest
    except (OSError, CorruptManifestError) as exc:
        yield str(exc)
        return
    for layer in (manifest.config, *manifest.layers):
        path = store.blobs.path(layer.digest)
        try:
            if hashlib.sha256(path.read_bytes()).hexdigest() != layer.digest.hex:
                yield f"{path.name} (it has another content)"
        except OSError:
            yield path.name


def unfinished(root: Path) -> Iterator[str]:
    """Files that a run has left and a start should have removed."""
    for folder in ("blobs", "manifests", "manifests-v2"):
        for path in (models(root) / folder).rglob("*"):
            if _UNFINISHED.fullmatch(path.name):
                yield f"{path.relative_to(models(root))} is left"


async def quiet(_event: Any) -> None:
    """Nobody watches."""


def run(work: Any) -> Any:
    return asyncio.run(work)


def find(store: ModelStore, name: str) -> bool:
    """Whether a model is there."""
    try:
        store.find(ModelName.parse(name))
    except CorralError:
        return False
    return True
