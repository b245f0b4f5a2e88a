"""A person tries Corral on the folder of another program, and goes back: everything is as it was."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from corral.config import Settings
from corral.inference.profile import Profiles
from corral.library.create.request import CreateRequest
from corral.library.create.service import Creator
from corral.library.models import Library, ShowRequest
from corral.names import ModelName
from corral.store.changes import copy_model, delete_model
from corral.store.models import ModelStore
from corral.store.prune import prepare_store
from corral.store.references import survey_for_deletion, survey_for_sweep
from tests.conftest import FIXTURES
from tests.foreign.old_programs import OldProgram
from tests.foreign.ollama_stores import OLDEST, STORES, OllamaStore, add_rare_things, encoded, make_store

# Stores as a released version writes them, and that version.
VERSIONS = {
    name: name.split(" ")[0]
    for name in OLDEST | STORES
    if name[0].isdigit() and not name.endswith("and back")
}
_OURS = ("corral", "corral-views", "corral-uploads", ".corral-lock")
Facts = tuple[str, int, int]


def tree(folder: Path, *, with_times: bool = True) -> dict[str, Facts]:
    """Content, mode and time of every file, folder and link, but for Corral's own."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if any(part in _OURS for part in Path(name).parts):
            continue
        info = path.lstat()
        if path.is_symlink():
            content = f"-> {path.readlink()}"
        else:
            content = "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        has_time = with_times and not stat.S_ISDIR(info.st_mode)
        found[name] = (content, stat.S_IMODE(info.st_mode), info.st_mtime_ns if has_time else 0)
    return found


def without_new_names(found: dict[str, Facts], before: dict[str, Facts]) -> dict[str, Facts]:
    """Without the second names of blobs that an old version calls `sha256:...`."""
    second = {name.replace("sha256:", "sha256-") for name in before if "sha256:" in name}
    return {name: facts for name, facts in found.items() if name not in second}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / ".ollama"


def make(home: Path, kind: str) -> OllamaStore:
    made = make_store(kind, home / "models", (FIXTURES / "say.gguf").read_bytes())
    made.surroundings()
    if kind != "0.1":
        add_rare_things(made)
    return made


def create(store: ModelStore, model: str, base: str = "", system: str = "Mine.") -> None:
    async def quiet(_event: Any) -> None:
        """Nobody watches."""

    files = None
    if not base:
        data = (FIXTURES / "tiny.gguf").read_bytes()
        files = {"tiny.gguf": str(store.blobs.put_bytes(data).digest)}
    request = CreateRequest(model=model, from_=base, files=files, system=system)
    asyncio.run(Creator(store, may_prune=True).create(request, quiet))


@pytest.mark.parametrize("kind", VERSIONS)
def test_looking_changes_nothing(home: Path, kind: str) -> None:
    """Start, list, show, prepare to run, start again: not a byte, a mode or a time is another."""
    made = make(home, kind)
    before = tree(home)
    for _ in range(2):
        store = ModelStore(made.models)
        settings = Settings(models_dir=made.models)
        profiles = Profiles(settings, store)
        library = Library(settings, store, profiles)
        prepare_store(store, may_prune=True)
        assert {model.name.short() for model in store.list()} == made.runnable | made.other
        for name in made.runnable | made.other:
            library.show(ShowRequest(name))
        for name in made.runnable:
            model = asyncio.run(profiles.get(name)).model
            assert model.weights_path is not None
            assert model.weights_path.read_bytes() == made.weights
    assert without_new_names(tree(home), before) == before


@pytest.mark.parametrize("kind", VERSIONS)
def test_there_and_back(home: Path, kind: str) -> None:
    """What was made here goes again, and the folder is the old program's as before."""
    made = make(home, kind)
    program = OldProgram(made.models, VERSIONS[kind])
    before, whole = tree(home, with_times=False), program.whole()
    assert whole == made.runnable | made.other
    store = ModelStore(made.models)
    prepare_store(store, may_prune=True)
    create(store, "beside")
    for number, name in enumerate(sorted(made.runnable)):
        copy_model(store, ModelName.parse(name), ModelName.parse(f"copy-{number}"))
        create(store, f"child-{number}", base=name)
    assert whole <= program.whole()
    prepare_store(store, may_prune=True)
    for model in list(store.list()):
        if model.name.short().split(":")[0].split("-")[0] in ("copy", "child", "beside"):
            delete_model(store, model.name)
    # The file that was uploaded is kept for an hour.
    prepare_store(ModelStore(made.models), may_prune=True, now_s=time.time() + 2 * 3600)
    assert without_new_names(tree(home, with_times=False), before) == before
    assert program.whole() == whole


@pytest.mark.parametrize("kind", VERSIONS)
def test_delete_takes_what_was_asked_for(home: Path, kind: str) -> None:
    """Every other model stays whole for the old program, and so does every file that belongs to no model."""
    made = make(home, kind)
    program = OldProgram(made.models, VERSIONS[kind])
    store = ModelStore(made.models)
    prepare_store(store, may_prune=True)
    left = set(program.whole())
    loose = {name for name in tree(home) if "partial" in name or "README" in name or "models/" not in name}
    for name in sorted(left):
        delete_model(store, ModelName.parse(name))
        left.discard(name)
        assert program.whole() == left, name
    assert loose <= set(tree(home))
    hexes = set().union(*made.blobs_of.values())
    if made.is_clear:
        assert [n for n in tree(home) if any(text in n for text in hexes)] == [], (
            "deleted, but still on the disk"
        )


@pytest.mark.parametrize("kind", VERSIONS)
def test_the_old_program_starts_again(home: Path, kind: str) -> None:
    """What it deletes at its start takes nothing from its models, nor from those that were made here."""
    made = make(home, kind)
    store = ModelStore(made.models)
    prepare_store(store, may_prune=True)
    for number, name in enumerate(sorted(made.runnable)):
        copy_model(store, ModelName.parse(name), ModelName.parse(f"copy-{number}"))
    names = {model.name.short() for model in store.list()}
    for path in (made.models / "blobs").iterdir():
        os.utime(path, (1, 1), follow_symlinks=False)
    program = OldProgram(made.models, VERSIONS[kind])
    whole = program.whole()
    program.start()
    assert program.whole() == whole
    after = ModelStore(made.models)
    prepare_store(after, may_prune=True)
    assert {model.name.short() for model in after.list() if not model.is_damaged} >= {
        name for name in names if name.startswith("copy-")
    }


def write_as_ollama(made: OllamaStore, name: str) -> dict[str, Any]:
    """Another program finishes a pull of a model whose blobs lie there, unreferenced, since a week."""
    data = made.gguf(name)
    made.old(name, data)
    return data


def test_a_manifest_appears_while_a_start_prunes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program names old blobs after they were listed as old: they stay."""
    made = make(home, "0.34")
    data = write_as_ollama(made, "late")
    entry = made.models / "manifests" / "registry.ollama.ai" / "library" / "late" / "latest"
    manifest = entry.read_bytes()
    entry.unlink()
    made.age()

    def survey(*arguments: Any) -> Any:
        entry.write_bytes(manifest)
        return survey_for_sweep(*arguments)

    monkeypatch.setattr("corral.store.prune.survey_for_sweep", survey)
    prepare_store(ModelStore(made.models), may_prune=True)
    for layer in (data["config"], *data["layers"]):
        assert (made.models / "blobs" / layer["digest"].replace(":", "-")).exists()


@pytest.mark.parametrize("content", [b"", b'{"schemaVersion":2,"conf'])
def test_a_manifest_is_being_written_while_a_start_prunes(home: Path, content: bytes) -> None:
    """Ollama writes manifests in place: one that is empty or cut off stops every deletion."""
    made = make(home, "0.34")
    data = write_as_ollama(made, "late")
    entry = made.models / "manifests" / "registry.ollama.ai" / "library" / "late" / "latest"
    entry.write_bytes(content)
    made.age()
    prepare_store(ModelStore(made.models), may_prune=True)
    for layer in (data["config"], *data["layers"]):
        assert (made.models / "blobs" / layer["digest"].replace(":", "-")).exists()


def test_a_manifest_appears_while_a_model_is_deleted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program copies a model at the moment in which it is deleted here: the copy is whole."""
    made = make(home, "0.40.2")
    store = ModelStore(made.models)
    data = made.gguf("alpha", rootfs=True)

    def survey(*arguments: Any) -> Any:
        made.old("twin", encoded(data))
        return survey_for_deletion(*arguments)

    monkeypatch.setattr("corral.store.workspace.survey_for_deletion", survey)
    delete_model(store, ModelName.parse("alpha"))
    assert "twin:latest" in OldProgram(made.models, "0.34").whole()
