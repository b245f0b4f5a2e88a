"""Kept responses: lines of them, age, size, files that are broken, several servers on one file."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.responses.sqlite import ResponsesDB
from corral.responses.store import ItemNotFoundError, KeptResponse, ResponseArchive, ResponseNotFoundError

DAY_S = 86400


def response(name: str, previous: str = "", text: str = "x") -> KeptResponse:
    return KeptResponse(
        name,
        previous,
        {"id": name, "text": text},
        input=({"id": f"in_{name}", "text": text},),
        output=({"id": f"out_{name}", "text": text},),
    )


def names(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "responses.sqlite3"


@pytest.fixture
def open_archive(path: Path) -> Iterator[Callable[..., ResponseArchive]]:
    archives: list[ResponseArchive] = []

    def make(max_age_s: int = 30 * DAY_S, max_bytes: int = 1 << 20) -> ResponseArchive:
        archives.append(ResponseArchive(path, max_age_s=max_age_s, max_bytes=max_bytes))
        return archives[-1]

    yield make
    for archive in archives:
        archive.close()


def test_a_line_of_responses(open_archive: Callable[..., ResponseArchive]) -> None:
    """Input and output of each, oldest first, wherever they are kept."""
    archive = open_archive()
    assert run(archive.save(response("a"), is_lasting=False))
    assert run(archive.save(response("b", "a"), is_lasting=True))
    assert run(archive.save(response("c", "b"), is_lasting=False))
    wanted = ["in_a", "out_a", "in_b", "out_b", "in_c", "out_c"]
    assert names(run(archive.history("c"))) == wanted
    assert names(run(archive.find_items(["out_c", "in_a"]))) == ["out_c", "in_a"]
    with pytest.raises(ItemNotFoundError):
        run(archive.find_items(["in_a", "nope"]))


def test_what_lasts(open_archive: Callable[..., ResponseArchive], path: Path) -> None:
    """Another archive on the file finds what was stored, with all that it continues from, and nothing else."""
    first = open_archive()
    run(first.save(response("a"), is_lasting=False))
    run(first.save(response("b", "a"), is_lasting=False))
    assert not path.exists()
    run(first.save(response("c", "b"), is_lasting=True))
    run(first.save(response("d", "c"), is_lasting=False))
    second = open_archive()
    assert names(run(second.history("c"))) == ["in_a", "out_a", "in_b", "out_b", "in_c", "out_c"]
    with pytest.raises(ResponseNotFoundError):
        run(second.find("d"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_deletion(open_archive: Callable[..., ResponseArchive], path: Path) -> None:
    """It is gone from both places and from the bytes of the file; what continued from it cannot go on."""
    archive = open_archive()
    run(archive.save(response("a", text="secret-word"), is_lasting=False))
    run(archive.save(response("b", "a"), is_lasting=True))
    run(archive.delete("a"))
    for call in (archive.find("a"), archive.history("b"), archive.delete("a")):
        with pytest.raises(ResponseNotFoundError):
            run(call)
    assert run(archive.find("b")).id == "b"
    # While it is open, for a server runs for months.
    assert all(b"secret-word" not in file.read_bytes() for file in path.parent.iterdir())


def test_age_counts_from_the_last_use(
    open_archive: Callable[..., ResponseArchive], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the whole line; what is too old is gone even before it is swept away."""
    now_s = 1_000_000
    monkeypatch.setattr("corral.responses.sqlite.time.time", lambda: now_s)
    archive = open_archive(max_age_s=10 * DAY_S)
    run(archive.save(response("a"), is_lasting=True))
    run(archive.save(response("other"), is_lasting=True))
    now_s += 8 * DAY_S
    run(archive.save(response("b", "a"), is_lasting=True))
    now_s += 8 * DAY_S
    assert names(run(archive.history("b"))) == ["in_a", "out_a", "in_b", "out_b"]
    with pytest.raises(ResponseNotFoundError):
        run(archive.find("other"))
    now_s += 8 * DAY_S
    with pytest.raises(ResponseNotFoundError):
        run(archive.find("b"))


def test_what_is_used_longest_ago_goes_first(
    open_archive: Callable[..., ResponseArchive], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the bound is met; a response larger than all of it is not kept."""
    now_s = 1_000_000
    monkeypatch.setattr("corral.responses.sqlite.time.time", lambda: now_s)
    archive = open_archive(max_bytes=10_000)
    for name in "abcd":
        now_s += 1
        assert run(archive.save(response(name, text="x" * 1000), is_lasting=True))
    with pytest.raises(ResponseNotFoundError):
        run(archive.find("a"))
    for name in "bcd":
        assert run(archive.find(name)).id == name
    assert not run(archive.save(response("huge", text="x" * 10_000), is_lasting=True))
    assert run(archive.find("d")).id == "d"


def test_the_bound_holds_in_memory_too(open_archive: Callable[..., ResponseArchive]) -> None:
    """A server that may keep little does not keep much of what its clients did not ask it to store."""
    archive = open_archive(max_bytes=10_000)
    names = [f"kept{number}" for number in range(20)]
    for name in names:
        assert run(archive.save(response(name, text="x" * 1000), is_lasting=False))
    kept = []
    for name in names:
        with contextlib.suppress(ResponseNotFoundError):
            kept.append(run(archive.find(name)).id)
    assert 0 < len(kept) < 10
    assert not run(archive.save(response("huge", text="x" * 10_000), is_lasting=False))


def test_a_file_that_is_no_database(
    open_archive: Callable[..., ResponseArchive], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is set aside, and the server goes on."""
    path.parent.mkdir()
    path.write_bytes(b"not a database, but a text that is long enough to look like something" * 99)
    archive = open_archive()
    assert run(archive.save(response("a"), is_lasting=True))
    (aside,) = path.parent.glob("*.broken-*")
    assert aside.read_bytes().startswith(b"not a database")
    assert "cannot be read" in caplog.text


def test_a_file_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The response is not kept, and the log says why."""
    (tmp_path / "data").write_text("a file where the folder should be")
    archive = ResponseArchive(tmp_path / "data" / "r.sqlite3", max_age_s=DAY_S, max_bytes=1 << 20)
    try:
        assert not run(archive.save(response("a"), is_lasting=True))
        assert "not stored" in caplog.text
        assert run(archive.save(response("b"), is_lasting=False))
    finally:
        archive.close()


def test_a_file_of_a_later_version_is_left_alone(path: Path) -> None:
    """It is set aside like any that cannot be read, not written into."""
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    db = ResponsesDB(path, max_age_s=DAY_S, max_bytes=1 << 20)
    try:
        assert db.save([response("a")], [])
        assert list(path.parent.glob("*.broken-*"))
    finally:
        db.close()


def test_two_archives_on_one_file(open_archive: Callable[..., ResponseArchive]) -> None:
    """Each sees what the other stored."""
    one, two = open_archive(), open_archive()
    run(one.save(response("a"), is_lasting=True))
    run(two.save(response("b", "a"), is_lasting=True))
    assert names(run(one.history("b"))) == ["in_a", "out_a", "in_b", "out_b"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_walks(data: st.DataObject) -> None:
    """Against a model of it: a line is whole or it is not found, and nobody but its owner finds it."""
    db = ResponsesDB(None, max_age_s=DAY_S, max_bytes=1 << 30)
    known: dict[str, str] = {}
    owners: dict[str, str] = {}
    try:
        for step in range(data.draw(st.integers(1, 12))):
            is_deletion: bool = data.draw(st.booleans())
            if known and is_deletion:
                gone: str = data.draw(st.sampled_from(sorted(known)))
                assert not db.delete(gone, "another")
                assert db.delete(gone, owners[gone])
                del known[gone]
            else:
                previous: str = data.draw(st.sampled_from(["", *sorted(known)]))
                name = f"r{step}"
                owners[name] = owners.get(previous) or data.draw(st.sampled_from(["", "key1", "key2"]))
                kept = replace(response(name, previous), owner=owners[name])
                db.save([kept], [previous] if previous else [])
                known[name] = previous
        for name, previous in known.items():
            owner = owners[name]
            assert db.previous_id(name, owner) == previous
            found = db.load(name, owner)
            assert found == replace(response(name, previous), owner=owner)
            assert db.find_item(f"out_{name}", owner) == found.output[0]
            for other in {"", "key1", "key2", "another"} - {owner}:
                assert db.previous_id(name, other) is None
                assert db.load(name, other) is None
                assert db.find_item(f"out_{name}", other) is None
        assert db.load("none", "") is None
    finally:
        db.close()
