"""Stores of every version of Ollama under every operation: what belongs to somebody else stays, to the byte."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from corral.config import Settings
from corral.errors import CapabilityError, CorralError
from corral.inference.profile import Profiles
from corral.library.create.request import CreateRequest
from corral.library.create.service import Creator
from corral.library.models import Library, ShowRequest
from corral.names import ModelName
from corral.store.models import ModelStore
from corral.store.prune import prepare_store
from corral.store.references import survey
from tests.conftest import FIXTURES
from tests.foreign.ollama_stores import STORES, OllamaStore, make_store, snapshot

pytestmark = pytest.mark.slow

GARBAGE = f"blobs/sha256-{'7' * 64}"


@dataclass
class Opened:
    """A store of Ollama's, opened by us."""

    made: OllamaStore
    store: ModelStore
    library: Library

    def names(self) -> set[str]:
        return {model.name.short() for model in self.store.list()}

    def snapshot(self) -> dict[str, str]:
        return snapshot(self.made.models)

    def create(self, model: str, base: str) -> None:
        async def quiet(_event: Any) -> None:
            """Nobody watches."""

        request = CreateRequest(model=model, from_=base, system="Another.")
        asyncio.run(Creator(self.store, may_prune=True).create(request, quiet))


def open_store(models: Path, made: OllamaStore) -> Opened:
    store = ModelStore(models)
    settings = Settings(models_dir=models)
    return Opened(made, store, Library(settings, store, Profiles(settings, store)))


@pytest.fixture(params=STORES)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    models = tmp_path / "models"
    return open_store(models, make_store(request.param, models, (FIXTURES / "say.gguf").read_bytes()))


def test_start(opened: Opened) -> None:
    """Nothing changes; what an interrupted program left goes only if all else is understood."""
    before = opened.snapshot()
    prepare_store(opened.store, may_prune=True)
    assert opened.snapshot() == before
    garbage = opened.made.models / GARBAGE
    garbage.write_bytes(b"x")
    os.utime(garbage, (0, 0))
    prepare_store(opened.store, may_prune=True)
    assert garbage.exists() is not opened.made.sweeps
    garbage.unlink(missing_ok=True)
    assert opened.snapshot() == before


def test_list_and_show(opened: Opened) -> None:
    """All models are there once, those that cannot run here are marked, and looking changes nothing."""
    before = opened.snapshot()
    found = {model.name.short(): model for model in opened.store.list()}
    assert set(found) == opened.made.runnable | opened.made.other
    for name, model in found.items():
        assert bool(model.problem) == (name in opened.made.other), name
        shown = opened.library.show(ShowRequest(name))
        if name in opened.made.runnable:
            assert shown["system"].startswith("You are "), name
            assert model.weights_path is not None, name
            assert model.weights_path.read_bytes() == opened.made.weights
            assert model.size_bytes == sum(layer.size_bytes for layer in model.layers) + _config_bytes(
                opened, model
            )
        else:
            assert "MLX" in shown["problem"], name
    assert opened.snapshot() == before


def _config_bytes(opened: Opened, model: Any) -> int:
    return opened.store.blobs.size_bytes(opened.store.manifests.read(model.name).manifest.config.digest)


def test_requests_find_what_can_run(opened: Opened) -> None:
    """In any letter case; a model that cannot run says so."""
    profiles = Profiles(Settings(models_dir=opened.made.models), opened.store)
    for name in opened.made.runnable:
        profile = asyncio.run(profiles.get(name.upper().replace("OLLAMA.COM/LIBRARY", "ollama.com/library")))
        assert profile.model.name.short() == name
    for name in opened.made.other:
        with pytest.raises(CapabilityError, match="MLX"):
            asyncio.run(profiles.get(name))


def test_copy(opened: Opened) -> None:
    """The copy is the same model, also when the original is deleted, and leaves no trace when it goes."""
    for name in sorted(opened.names()):
        before = opened.snapshot()
        opened.library.copy(name, "copy")
        copied, original = (
            opened.store.find(ModelName.parse("copy")),
            opened.store.find(ModelName.parse(name)),
        )
        assert (copied.digest_hex, copied.layers) == (original.digest_hex, original.layers), name
        assert before.items() <= opened.snapshot().items(), name
        assert not opened.made.is_clear or survey(opened.store.manifests).unclear == [], name
        opened.library.delete("copy")
        assert opened.snapshot() == before, name


def test_delete_after_copy(opened: Opened) -> None:
    """What the copy needs stays, in the eyes of old versions too, which read the old tree alone."""
    for name in sorted(opened.names()):
        opened.library.copy(name, f"copy-{name.rpartition('/')[2].partition(':')[0]}")
    blobs = {path for path in opened.snapshot() if path.startswith("blobs/")}
    for name in sorted(opened.made.runnable | opened.made.other):
        opened.library.delete(name)
    assert {path for path in opened.snapshot() if path.startswith("blobs/")} == blobs
    old_tree = "".join(
        path.read_text() for path in (opened.made.models / "manifests").rglob("*") if path.is_file()
    )
    if not opened.made.is_clear:
        return  # a list that is gone cannot be copied
    folder = opened.made.models / "blobs"
    needed = set().union(*opened.made.blobs_of.values())
    pruned = {text for text in needed if text not in old_tree and (folder / f"sha256-{text}").exists()}
    assert all(b'"layers"' in (folder / f"sha256-{text}").read_bytes() for text in pruned), (
        "entries themselves at most"
    )


def test_delete(opened: Opened) -> None:
    """Each model goes with its own blobs, as far as it is certain that they are its own, and nothing else goes."""
    for name in sorted(opened.made.runnable | opened.made.other):
        before = opened.snapshot()
        opened.library.delete(name)
        gone = set(before) - set(opened.snapshot())
        assert opened.snapshot().items() <= before.items(), name
        others = set().union(
            *(blobs for other, blobs in opened.made.blobs_of.items() if other != name), set()
        )
        mine = {f"blobs/sha256-{text}" for text in opened.made.blobs_of.pop(name) - others}
        assert {path for path in gone if path.startswith("blobs/")} <= mine, name
        assert {path.split("/")[-2] for path in gone if path.startswith("manifests")} == {
            name.rpartition("/")[2].partition(":")[0]
        }
        assert name not in opened.names()
    assert not opened.names() & (opened.made.runnable | opened.made.other)


def test_create_from(opened: Opened) -> None:
    """A model made from another has the layers of the variant that runs here, and goes without a trace."""
    for name in sorted(opened.made.runnable):
        before = opened.snapshot()
        opened.create("mine", name)
        model = opened.store.find(ModelName.parse("mine"))
        assert (model.system, model.problem) == ("Another.", "")
        assert {layer.kind for layer in model.layers} == {"model", "system", "params", "license"}
        assert before.items() <= opened.snapshot().items(), name
        opened.library.delete("mine")
        after = opened.snapshot()
        assert after == before if opened.made.is_clear else before.items() <= after.items(), name


def test_the_newest_write_counts(opened: Opened) -> None:
    """A name that is written here is what was written, for us and for a version that reads the new tree first."""
    for name in sorted(opened.made.runnable):
        if name.startswith("ollama.com"):
            continue
        opened.create(name, name)
        assert opened.store.find(ModelName.parse(name)).system == "Another."
        entry = opened.made.models / "manifests-v2/ollama.com/library" / name.partition(":")[0] / "latest"
        assert not os.path.lexists(entry), name


def test_a_name_may_be_a_digest(opened: Opened) -> None:
    """`sha256-` and 12 to 64 digits of a manifest among the blobs."""
    for blob in sorted((opened.made.models / "blobs").iterdir()):
        data = blob.read_bytes()
        is_manifest = data.startswith(b"{") and (b'"layers"' in data or b'"manifests"' in data)
        for length in (12, 64):
            name = ModelName.parse(blob.name[: len("sha256-") + length])
            try:
                found = opened.store.find(name).digest_hex
            except CorralError:
                found = ""
            assert found in ("", blob.name.removeprefix("sha256-")), blob.name
            assert is_manifest or not found
    before = opened.snapshot()
    with pytest.raises(CorralError):
        opened.library.delete(next((opened.made.models / "blobs").iterdir()).name)
    assert opened.snapshot() == before


STEPS: dict[str, Callable[[Opened, str], None]] = {
    "copy": lambda opened, name: opened.library.copy(name, "copy"),
    "copy over": lambda opened, name: opened.library.copy("alpha", name),
    "create": lambda opened, name: opened.create("mine", name),
    "create over": lambda opened, name: opened.create(name, name),
    "delete": lambda opened, name: opened.library.delete(name),
    "start": lambda opened, name: prepare_store(opened.store, may_prune=True),
}
CALLS = ("replace", "rename", "unlink", "rmdir", "utime", "mkdir")


def killed_at(step: Callable[[], None], kill_at: int) -> bool:
    """Run a step in a child that dies by SIGKILL before its nth change of the disk; whether it came to that."""
    child = os.fork()
    if child == 0:
        count = 0
        for call in CALLS:
            original = getattr(os, call)

            def counted(*args: Any, original: Any = original, **more: Any) -> Any:
                nonlocal count
                count += 1
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*args, **more)

            setattr(os, call, counted)
        try:
            step()
        finally:
            os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


@pytest.mark.process
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ["0.34", "0.40.0", "0.40.0 with copies", "0.40.2", "one variant missing"])
def test_kill_at_every_change(kind: str, step: str, tmp_path: Path) -> None:
    """Every other model is whole at every moment, the one in question is old or new, and the step can be repeated."""
    weights = (FIXTURES / "say.gguf").read_bytes()
    names = sorted(make_store(kind, tmp_path / "names", weights).runnable - {"alpha:latest"})
    name = "both:latest" if "both:latest" in names else names[0]
    for kill_at in range(1, 200):
        models = tmp_path / str(kill_at)
        opened = open_store(models, make_store(kind, models, weights))
        others = {path: text for path, text in opened.snapshot().items() if _is_of_others(opened, name, path)}
        was_killed = killed_at(lambda opened=opened: STEPS[step](opened, name), kill_at)  # type: ignore[misc]
        again = open_store(models, opened.made)
        for other in opened.made.runnable - {name}:
            assert again.store.find(ModelName.parse(other)).system.startswith("You are "), (kill_at, other)
        if name in again.names():
            model = again.store.find(ModelName.parse(name))
            assert (model.problem, model.is_damaged) == ("", False), kill_at
        prepare_store(again.store, may_prune=True)
        assert others.items() <= again.snapshot().items(), kill_at
        if step != "delete" or name in again.names():
            STEPS[step](again, name)
        assert not [path for path in again.snapshot() if "/corral-" in path or "/." in path], kill_at
        if not was_killed:
            return
    raise AssertionError("the step never ends")


def _is_of_others(opened: Opened, name: str, path: str) -> bool:
    """Whether a file belongs to models other than the one that is changed."""
    others = set().union(*(blobs for other, blobs in opened.made.blobs_of.items() if other != name))
    if path.startswith("blobs/"):
        return path.removeprefix("blobs/sha256-") in others
    return path.split("/")[-2] != name.rpartition("/")[2].partition(":")[0]
