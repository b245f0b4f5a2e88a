"""`show` is quick: what a file says is read and checked once, also over restarts, and never after it has changed."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from corral.config import Settings
from corral.inference import headers
from corral.inference.profile import Profiles
from corral.library.models import Library, ShowRequest
from corral.names import ModelName
from corral.store.models import ModelStore
from corral.weights.gguf import GGUFFile, check_loadable
from tests.inference.recording import Recording


class Looks:
    """Counts headers that were read, and those whose vocabulary was looked through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = self.checked = 0
        headers._headers.clear()
        read, check = GGUFFile.open, check_loadable

        def counted_read(path: Path) -> Any:
            self.read += 1
            return read(path)

        def counted_check(gguf: Any) -> None:
            self.checked += 1
            check(gguf)

        monkeypatch.setattr(GGUFFile, "open", counted_read)
        monkeypatch.setattr(headers, "check_loadable", counted_check)


def library_of(store: ModelStore) -> Library:
    settings = Settings(models_dir=store.folder)
    return Library(settings, store, Profiles(settings, store))


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    made = Recording(tmp_path / "models")
    made.add("m", "tiny-notmpl.gguf", template="{{ .Prompt }}", system="one")
    return made


def shown(library: Library, **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(library.show_json(ShowRequest("m", **fields)))
    return answer


def test_once_for_all_requests(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is the one that is put together each time."""
    looks = Looks(monkeypatch)
    library = library_of(recording.store)
    first = library.show_json(ShowRequest("m"))
    assert library.show_json(ShowRequest("m")) is first
    assert b"".join(library.show_pieces(ShowRequest("m"))) == first
    assert (looks.read, looks.checked) == (1, 1)


def test_after_a_restart(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header is read, and its vocabulary not looked through again."""
    shown(library_of(recording.store))
    looks = Looks(monkeypatch)
    shown(library_of(ModelStore(recording.folder)))
    assert (looks.read, looks.checked) == (1, 0)


def test_not_when_the_file_was_touched(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another time or size, and everything is looked at again."""
    shown(library_of(recording.store))
    looks = Looks(monkeypatch)
    weights = recording.store.find(ModelName.parse("m")).weights_path
    assert weights is not None
    os.utime(weights, (1, 1))
    shown(library_of(ModelStore(recording.folder)))
    assert (looks.read, looks.checked) == (1, 1)


def test_a_new_manifest_shows_at_once(recording: Recording) -> None:
    """So does what a request adds for itself, which is not kept."""
    library = library_of(recording.store)
    assert shown(library)["system"] == "one"
    assert shown(library, system="of the request")["system"] == "of the request"
    assert "temperature 1" in shown(library, options={"temperature": 1})["modelfile"]
    assert shown(library)["system"] == "one"
    recording.add("m", "tiny-notmpl.gguf", template="{{ .Prompt }}", system="two")
    assert shown(library)["system"] == "two"


def test_what_a_folder_cannot_keep(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes that are damaged, or cannot be written, cost a check and nothing else."""
    library = library_of(recording.store)
    expected = shown(library)
    (note,) = (recording.folder / "corral" / "loadable").iterdir()
    for text in ("", "[]", '{"size": 1}', "\0"):
        note.write_text(text)
        looks = Looks(monkeypatch)
        assert shown(library_of(ModelStore(recording.folder))) == expected
        assert looks.checked == 1
        monkeypatch.undo()
    note.unlink()
    note.parent.rmdir()
    note.parent.write_text("a file")
    assert shown(library_of(ModelStore(recording.folder))) == expected


def test_showing_settles_no_doubt(recording: Recording) -> None:
    """Weights that were written to are compared with their digest before they run, also after a `show`."""
    store = recording.store
    model = store.find(ModelName.parse("m"))
    assert model.weights_path is not None
    assert model.weights_digest is not None
    assert store.blobs.check(model.weights_digest)
    data = bytearray(model.weights_path.read_bytes())
    data[-8:] = b"\xff" * 8
    model.weights_path.write_bytes(data)
    os.utime(model.weights_path, (1, 1))
    settings = Settings(models_dir=recording.folder)
    profiles = Profiles(settings, ModelStore(recording.folder))
    library = Library(settings, ModelStore(recording.folder), profiles)
    shown(library)
    assert "does not match its digest" in asyncio.run(profiles.get("m")).problem
