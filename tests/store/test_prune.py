"""What the start of a server removes: name by name, and hour by hour."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from corral.digest import Digest
from corral.names import ModelName
from corral.store import references
from corral.store.links import LinkRecord
from corral.store.manifests import LIST_MEDIA_TYPE
from corral.store.manifests import MANIFEST_MEDIA_TYPE as LIST_ENTRY
from corral.store.models import ModelStore
from corral.store.prune import keep_for_a_while, prepare_store
from corral.store.references import References, survey
from corral.store.workspace import Workspace
from tests.store.test_store import add_model

HEX = "5" * 64
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "models")
    add_model(store, "m", "text")
    return store


def put(store: ModelStore, name: str, age_s: float, now_s: float) -> Path:
    path = store.blobs.folder / name
    path.write_bytes(b"x")
    os.utime(path, (now_s - age_s, now_s - age_s))
    return path


@pytest.mark.parametrize(
    ("name", "age_s", "goes"),
    [
        (f"sha256-{HEX}", HOUR_S - 1, False),
        (f"sha256-{HEX}", HOUR_S + 1, True),
        (f"sha256-{HEX}-partial", 7 * DAY_S - 1, False),
        (f"sha256-{HEX}-partial", 7 * DAY_S + 1, True),
        (f"sha256-{HEX}-partial-0", 7 * DAY_S - 1, False),
        (f"sha256-{HEX}-partial-12", 7 * DAY_S + 1, True),
        (f"sha256-{HEX}-partial-x", 99 * DAY_S, False),
        (f"sha256-{HEX}.tmp", HOUR_S + 1, True),
        ("sha256-123456", HOUR_S + 1, True),
        ("sha256-123456", HOUR_S - 1, False),
        ("sha256-" + "1" * 19, 99 * DAY_S, False),
        ("COPY-123456", HOUR_S + 1, True),
        ("Q4_K_M123456", HOUR_S + 1, True),
        ("Q4_K_X123456", 99 * DAY_S, False),
        ("F16-12345", 99 * DAY_S, False),
        ("README", 99 * DAY_S, False),
    ],
)
def test_what_goes_when(store: ModelStore, name: str, age_s: float, goes: bool) -> None:
    """Only names that we know, and only when nobody has touched them for long."""
    now_s = time.time()
    path = put(store, name, age_s, now_s)
    prepare_store(store, may_prune=False, now_s=now_s)
    assert path.exists()
    prepare_store(store, may_prune=True, now_s=now_s)
    assert path.exists() is not goes
    assert store.find(ModelName.parse("m")).template == "text"


def test_a_blob_in_use_stays_in_any_letter_case(store: ModelStore) -> None:
    now_s = time.time()
    blob = put(store, f"sha256-{'A' * 64}", 9 * DAY_S, now_s)
    manifest = store.manifests.path(ModelName.parse("other"))
    manifest.parent.mkdir(parents=True, exist_ok=True)
    layer = {"mediaType": "application/x", "digest": f"sha256:{'a' * 64}", "size": 1}
    manifest.write_text(json.dumps({"schemaVersion": 2, "config": layer, "layers": []}))
    prepare_store(store, may_prune=True, now_s=now_s)
    assert blob.exists()


@pytest.mark.parametrize("is_old", [True, False])
def test_the_time_of_a_link_counts(store: ModelStore, tmp_path: Path, is_old: bool) -> None:
    """That of the file behind it is its owner's; a folder and a file that is gone are nobody's."""
    now_s = time.time() + (2 * HOUR_S if is_old else 0)
    own = tmp_path / "own.gguf"
    own.write_bytes(b"x")
    os.utime(own, (0, 0))
    soft, hard = store.blobs.folder / f"sha256-{'6' * 64}", store.blobs.folder / f"sha256-{'7' * 64}"
    soft.symlink_to(own)
    hard.hardlink_to(own)
    folder = store.blobs.folder / f"sha256-{'8' * 64}"
    folder.mkdir()
    os.utime(folder, (0, 0))
    prepare_store(store, may_prune=True, now_s=now_s)
    assert (soft.is_symlink(), hard.exists()) == (not is_old, not is_old)
    assert folder.is_dir() and own.read_bytes() == b"x"


def test_a_file_that_goes_meanwhile(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have removed it between the list and the look."""
    names = [*store.blobs.names(), f"sha256-{HEX}"]
    monkeypatch.setattr(type(store.blobs), "names", lambda _self: names)
    prepare_store(store, may_prune=True, now_s=time.time() + 9 * DAY_S)
    assert store.find(ModelName.parse("m")).template == "text"


def test_a_blob_that_cannot_be_removed_stops_nothing(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.time()
    one, two = (put(store, f"sha256-{digit * 64}", DAY_S, now_s) for digit in "67")
    real = type(store.blobs).delete

    def delete(self: Any, digest: Digest) -> Any:
        if digest.hex == "6" * 64:
            raise PermissionError(13, "Permission denied")
        return real(self, digest)

    monkeypatch.setattr(type(store.blobs), "delete", delete)
    prepare_store(store, may_prune=True, now_s=now_s)
    assert (one.exists(), two.exists()) == (True, False)


def test_the_log_says_what_went(store: ModelStore, caplog: pytest.LogCaptureFixture) -> None:
    now_s = time.time()
    put(store, f"sha256-{HEX}", DAY_S, now_s)
    with caplog.at_level(logging.INFO):
        prepare_store(store, may_prune=True, now_s=now_s)
    assert f"pruned blob=sha256-{HEX}" in caplog.text


def test_files_that_a_killed_process_was_writing(store: ModelStore) -> None:
    """At once, whatever may be pruned: nobody holds their locks."""
    path = put(store, "sha256-" + "1" * 18, 0, time.time())
    folder = store.blobs.folder / ("sha256-" + "2" * 18)
    folder.mkdir()
    prepare_store(store, may_prune=False)
    assert not path.exists() and folder.is_dir()


def test_files_that_a_process_is_writing(store: ModelStore) -> None:
    """They are locked, and are no garbage however old they look."""
    writer = store.blobs.writer()
    writer.write(b"half a model")
    (name,) = [name for name in store.blobs.names() if len(name) == len("sha256-") + 18]
    prepare_store(store, may_prune=False, now_s=time.time() + 30 * DAY_S)
    assert name in store.blobs.names()
    writer.discard()
    assert name not in store.blobs.names()


def test_changes_that_were_cut_short(store: ModelStore, caplog: pytest.LogCaptureFixture) -> None:
    """The log says that there were some, and only then; what they had added goes."""
    with caplog.at_level(logging.INFO):
        prepare_store(store, may_prune=False)
        assert "cut short" not in caplog.text
        change = Workspace(store.blobs)
        blob = change.put_bytes(b"half a model").digest
        change._held.close()  # as a killed process leaves it
        prepare_store(store, may_prune=False)
    assert "cleaned up after changes that were cut short count=1" in caplog.text
    assert not store.blobs.has(blob) and not change.folder.exists()


def test_what_a_change_under_way_relies_on_stays(store: ModelStore) -> None:
    now_s = time.time()
    change = Workspace(store.blobs)
    held = change.put_bytes(b"a part of a model").digest
    free = store.blobs.put_bytes(b"a part of nothing").digest
    for digest in (held, free):
        os.utime(store.blobs.path(digest), (0, 0))
    prepare_store(store, may_prune=True, now_s=now_s)
    assert (store.blobs.has(held), store.blobs.has(free)) == (True, False)
    change.close()
    os.utime(store.blobs.path(held), (0, 0))
    prepare_store(store, may_prune=True, now_s=now_s)
    assert not store.blobs.has(held)


@pytest.mark.parametrize("has_links", [True, False])
def test_the_old_spelling(store: ModelStore, monkeypatch: pytest.MonkeyPatch, has_links: bool) -> None:
    """Both names stay, for the version that knows the old one alone; without hard links the new one does."""

    def fail(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    old, new = store.blobs.folder / f"sha256:{HEX}", store.blobs.folder / f"sha256-{HEX}"
    old.write_bytes(b"x")
    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", fail)
    prepare_store(store, may_prune=False)
    assert new.read_bytes() == b"x"
    assert old.exists() is has_links


def test_blobs_without_any_manifest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Their names are kept, and the log counts those that are new; an empty folder has none."""
    store = ModelStore(tmp_path / "models")
    store.blobs.folder.mkdir(parents=True)
    prepare_store(store, may_prune=True)
    assert caplog.text == ""
    digest = store.blobs.put_bytes(b"weights").digest
    kept = store.blobs.put_bytes(b"uploaded").digest
    keep_for_a_while(store, kept)
    (store.blobs.folder / "README").write_bytes(b"x")
    prepare_store(store, may_prune=True)
    assert "there are blobs and no manifest: nothing is deleted count=1" in caplog.text
    listed = (store.folder / "corral" / "orphans").read_text().split()
    assert listed == [digest.file_name()]


def test_an_upload_is_kept_and_a_link_is_not(store: ModelStore, tmp_path: Path) -> None:
    """The file of a user can be linked again."""
    upload = store.blobs.put_bytes(b"uploaded").digest
    keep_for_a_while(store, upload)
    assert store.blobs.kept.hexes() == {upload.hex}
    own = tmp_path / "own.gguf"
    own.write_bytes(b"own weights")
    link = Digest.of(b"own weights")
    store.blobs.links.write(link, LinkRecord(str(own), 11, own.stat().st_mtime_ns))
    assert store.blobs.links.read(link) is not None
    keep_for_a_while(store, link)
    assert store.blobs.kept.hexes() == {upload.hex}


def test_a_full_disk_does_not_end_a_request(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def note(self: Any, digest: Digest) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(store.blobs.kept), "note", note)
    keep_for_a_while(store, Digest(HEX))
    assert store.blobs.kept.hexes() == set()


# --- manifests ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("writer", "age_s", "goes"),
    [
        ("gone", 0, True),
        ("own", DAY_S - 1, False),
        ("own", DAY_S + 1, True),  # its number was given again
        ("others", DAY_S - 1, False),
        ("huge", 0, True),
    ],
)
def test_manifests_that_were_not_finished(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, writer: str, age_s: float, goes: bool
) -> None:
    numbers = {"gone": 4_000_001, "own": os.getpid(), "others": 4_000_002, "huge": 10**30}

    def kill(number: int, _signal: int) -> None:
        if number > 1 << 60:
            raise OverflowError
        if number == 4_000_001:
            raise ProcessLookupError
        if number == 4_000_002:
            raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    now_s = time.time()
    folder = store.manifests.path(ModelName.parse("m")).parent
    draft, other = folder / f".latest.{numbers[writer]}.77", folder / ".latest.77"
    for path in (draft, other):
        path.write_text("{")
        os.utime(path, (now_s - age_s, now_s - age_s))
    prepare_store(store, may_prune=False, now_s=now_s)
    assert draft.exists()  # beside a hidden file that nobody knows nothing is clear
    other.unlink()
    prepare_store(store, may_prune=False, now_s=now_s)
    assert draft.exists() is not goes


def test_manifests_of_a_list_that_are_not_present(store: ModelStore) -> None:
    """What they refer to is not known, so nothing goes."""
    now_s = time.time()
    old = put(store, f"sha256-{'6' * 64}", DAY_S, now_s)
    inner = {"mediaType": LIST_ENTRY, "digest": f"sha256:{HEX}", "size": 1, "platform": {"architecture": "x"}}
    path = store.manifests.path(ModelName.parse("x"))
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"schemaVersion": 2, "mediaType": LIST_MEDIA_TYPE, "manifests": [inner]}))
    found = survey(store.manifests)
    assert (found.unclear, found.absent) == ([], {HEX})
    prepare_store(store, may_prune=True, now_s=now_s)
    assert old.exists()


def add_manifest_blob(store: ModelStore, *inner: Digest) -> Digest:
    """A manifest among the blobs, older than a day, which refers to others."""
    layers = [{"mediaType": LIST_ENTRY, "digest": str(digest), "size": 1} for digest in inner]
    config = {"mediaType": "application/x", "digest": f"sha256:{HEX}", "size": 1}
    data = json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()
    digest = store.blobs.put_bytes(data).digest
    os.utime(store.blobs.path(digest), (0, 0))
    return digest


def test_a_manifest_without_a_name_is_in_use(store: ModelStore) -> None:
    """It can be run by its digest; so all stays that it, and those that it refers to, refer to."""
    now_s = time.time()
    part = put(store, f"sha256-{HEX}", DAY_S, now_s)
    unused = put(store, f"sha256-{'6' * 64}", DAY_S, now_s)
    outer = add_manifest_blob(store, add_manifest_blob(store))
    prepare_store(store, may_prune=True, now_s=now_s)
    assert store.blobs.has(outer) and part.exists() and not unused.exists()
    part_alone = survey(store.manifests)
    assert not part_alone.uses(Digest(HEX))  # no name leads to it


def test_manifests_in_manifests_without_an_end(store: ModelStore) -> None:
    """Four are followed; more are not understood, so nothing goes."""
    now_s = time.time()
    old = put(store, f"sha256-{'6' * 64}", DAY_S, now_s)
    inner = add_manifest_blob(store)
    for _ in range(4):
        inner = add_manifest_blob(store, inner)
    references.survey_for_sweep(store.manifests, [])
    found = references.survey_for_sweep(store.manifests, [store.blobs.path(inner)])
    assert found.unclear == []
    top = add_manifest_blob(store, inner)
    found = references.survey_for_sweep(store.manifests, [store.blobs.path(top)])
    assert len(found.unclear) == 1 and "manifests that refer to manifests" in found.unclear[0]
    prepare_store(store, may_prune=True, now_s=now_s)
    assert old.exists()


def test_files_made_of_blobs_go_with_them(store: ModelStore) -> None:
    swept: list[set[Digest]] = []

    class Views:
        def sweep(self, used: Any) -> None:
            swept.append(set(used))

    store.blobs.derived = (Views(),)  # type: ignore[assignment]
    prepare_store(store, may_prune=False)
    assert swept == []
    prepare_store(store, may_prune=True)
    manifest = store.manifests.read(ModelName.parse("m")).manifest
    assert manifest.digests() <= swept[0]
    assert Digest(HEX) not in swept[0]


def test_empty_folders_of_manifests(store: ModelStore) -> None:
    """Go with the sweep, from the inside; a folder with a manifest stays."""
    empty = store.manifests.folder / "host" / "team" / "model"
    empty.mkdir(parents=True)
    prepare_store(store, may_prune=False)
    assert empty.is_dir()
    prepare_store(store, may_prune=True)
    assert not (store.manifests.folder / "host").exists()
    assert store.find(ModelName.parse("m")).template == "text"


def test_a_link_to_a_manifest_that_is_gone(store: ModelStore) -> None:
    path = store.manifests.path(ModelName.parse("x"))
    path.parent.mkdir(parents=True)
    path.symlink_to(store.folder / "nothing")
    (problem,) = survey(store.manifests).unclear
    assert "it leads nowhere" in problem


def test_a_manifest_that_goes_meanwhile_is_none(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_path: Path) -> bytes:
        raise FileNotFoundError

    monkeypatch.setattr(references, "read_bytes", gone)
    found = survey(store.manifests)
    assert (found.unclear, found.manifest_count) == ([], 0)


def test_what_is_in_use() -> None:
    """Nothing is known to be unused while something is unclear."""
    found = References({HEX})
    assert found.uses(Digest(HEX)) and not found.uses(Digest("6" * 64))
    assert References(unclear=["x"]).uses(Digest("6" * 64))
