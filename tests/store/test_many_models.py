"""A folder with thousands of models: what a request for one costs does not grow with them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.bounded import BoundedCache
from corral.config import Settings
from corral.errors import ModelNotFoundError
from corral.inference.profile import Profiles
from corral.names import ModelName
from corral.store.models import ModelStore
from tests.conftest import FIXTURES
from tests.foreign.ollama_stores import OllamaStore

COUNT = 300


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    models = tmp_path_factory.mktemp("models")
    made = OllamaStore(models, (FIXTURES / "say.gguf").read_bytes())
    data = made.gguf("same")
    for i in range(COUNT):
        made.old(f"Model{i}", data)
    return ModelStore(models)


class Looks:
    """Counts what is asked of the file system, and on which thread."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.on_loop: list[str] = []

    def watch(self, monkeypatch: pytest.MonkeyPatch, names: Iterator[str]) -> None:
        for name in names:
            original = getattr(os, name)

            def counted(*args: Any, original: Any = original, name: str = name, **more: Any) -> Any:
                self.counts[name] = self.counts.get(name, 0) + 1
                try:
                    asyncio.get_running_loop()
                    self.on_loop.append(name)
                except RuntimeError:
                    pass
                return original(*args, **more)

            monkeypatch.setattr(os, name, counted)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    found = Looks()
    found.watch(monkeypatch, iter(("scandir", "listdir", "stat")))
    return found


def test_an_unknown_name(store: ModelStore, looks: Looks) -> None:
    """A few listings, none of them on the event loop."""
    profiles = Profiles(Settings(models_dir=store.folder), store)
    with pytest.raises(ModelNotFoundError):
        asyncio.run(profiles.get("nobody"))
    assert "scandir" not in looks.on_loop
    assert "listdir" not in looks.on_loop
    assert looks.counts["listdir"] < 20
    assert looks.counts.get("scandir", 0) == 0


def test_a_name_in_another_case(store: ModelStore, looks: Looks) -> None:
    """As cheap, and found."""
    profiles = Profiles(Settings(models_dir=store.folder), store)
    assert asyncio.run(profiles.get("mODEL7")).model.name.short() == "Model7:latest"
    assert "listdir" not in looks.on_loop
    assert looks.counts.get("scandir", 0) == 0
    assert looks.counts["stat"] < 100


def test_a_known_name(store: ModelStore, looks: Looks) -> None:
    """Some `stat`s, and nothing else."""
    profiles = Profiles(Settings(models_dir=store.folder), store)
    asyncio.run(profiles.get("Model3"))
    looks.counts.clear()
    looks.on_loop.clear()
    asyncio.run(profiles.get("Model3"))
    assert looks.counts.keys() == {"stat"}
    assert len(looks.on_loop) < 12


def test_caches_are_bounded() -> None:
    """By entries and by bytes; what was used last stays, and what is too large is not kept."""
    cache: BoundedCache[int, str] = BoundedCache(max_entries=3, max_bytes=100)
    for i in range(5):
        cache.put(i, str(i), 10)
    assert [cache.get(i) for i in range(5)] == [None, None, "2", "3", "4"]
    cache.get(2)
    cache.put(5, "5", 80)
    assert [cache.get(i) for i in (2, 3, 4, 5)] == ["2", None, "4", "5"]
    cache.put(6, "6", 101)
    assert (cache.get(6), len(cache), cache.size_bytes) == (None, 3, 100)
    cache.put(5, "5", 1)
    cache.pop(2)
    assert (len(cache), cache.size_bytes) == (2, 11)


def test_models_do_not_fill_the_memory(tmp_path: Path) -> None:
    """Models with long texts push each other out of the cache."""
    made = OllamaStore(tmp_path, b"")
    for i in range(40):
        data = made.gguf(f"m{i}")
        data["layers"].append(made.layer("template", b"%d" % i + b"t" * (3 << 20)))
        made.old(f"m{i}", data)
    store = ModelStore(tmp_path)
    assert len(store.list()) == 40
    assert store._models.size_bytes <= 64 << 20
    assert store.load(ModelName.parse("m0")).template is not None


@pytest.mark.slow
def test_a_list_of_variants_with_thousands_of_layers(tmp_path: Path, looks: Looks) -> None:
    """A request looks at some of the layers, not at all of them."""
    made = OllamaStore(tmp_path, (FIXTURES / "say.gguf").read_bytes())
    variants = []
    for runner in ("ggml", "llamacpp"):
        data = made.gguf(runner, runner=runner, format="gguf")
        data["layers"] += [made.layer("odd", b"%d" % i) for i in range(2000)]
        variants.append((data, runner, "gguf"))
    made.new("long", made.list_of(*variants))
    profiles = Profiles(Settings(models_dir=tmp_path), ModelStore(tmp_path))
    asyncio.run(profiles.get("long"))
    looks.counts.clear()
    assert asyncio.run(profiles.get("long")).model.system == "You are ggml."
    assert looks.counts["stat"] < 200
