"""The ledger: what is noted is written, also when the database is not always there."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from corral.database import DatabaseError
from corral.usage import ledger as module
from corral.usage.ledger import UsageLedger, Use
from corral.usage.rows import DAY_S, OTHER, PLACES, Question
from tests.waiting import wait_until

TODAY_S = 1_796_000_000.0
TODAY = "2026-11-30"
ALL = Question(PLACES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "usage.sqlite3"


def rows_of(path: Path) -> dict[tuple[str, ...], tuple[float, ...]]:
    """What is on disk, as any other program reads it; nothing before there is a table."""
    if not path.exists():
        return {}
    with closing(sqlite3.connect(path)) as connection, contextlib.suppress(sqlite3.OperationalError):
        return {row[:4]: row[4:] for row in connection.execute("SELECT * FROM usage")}
    return {}


@contextmanager
def ledger_of(path: Path, **settings: object) -> Iterator[UsageLedger]:
    found = UsageLedger(path, clock=lambda: TODAY_S, delay_s=0.01, retry_s=0.01, **settings)  # type: ignore[arg-type]
    try:
        yield found
    finally:
        found.close()


def test_what_is_noted_is_added_up_and_written(path: Path) -> None:
    with ledger_of(path) as ledger:
        assert not path.exists()  # no request, no file
        for _ in range(3):
            ledger.note(Use("k", "m:latest", "native", prompt=10, cached=4, generated=5, drafted=2, ms=1.5))
        ledger.note(Use("", "", "openai", is_error=True, ms=2))
        ledger.note(Use("k", "m:latest", "native", is_cancelled=True, generated=1))
        wanted = {
            (TODAY, "k", "m:latest", "native"): (4, 0, 1, 30, 12, 16, 6, 4.5),
            (TODAY, "", "", "openai"): (1, 1, 0, 0, 0, 0, 0, 2.0),
        }
        assert {place: tuple(sums) for place, sums in ledger.sums(ALL).items()} == wanted
        wait_until(lambda: rows_of(path) == wanted)
    assert rows_of(path) == wanted
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT strict FROM pragma_table_list WHERE name = 'usage'").fetchone() == (
            1,
        )
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_second_ledger_adds_to_what_the_first_wrote(path: Path) -> None:
    """Several servers share a file, and a server goes on where it was before."""
    for _ in range(2):
        with ledger_of(path) as one, ledger_of(path) as other:
            one.note(Use("k", "m:latest", "native", prompt=1))
            other.note(Use("k", "m:latest", "native", prompt=2))
    assert rows_of(path)[(TODAY, "k", "m:latest", "native")][:4] == (4, 0, 0, 6)


def test_questions(path: Path) -> None:
    day_s = [TODAY_S - 2 * DAY_S, TODAY_S]
    for now_s in day_s:
        with closing(UsageLedger(path, clock=lambda: now_s, delay_s=3600)) as ledger:  # noqa: B023 - used at once
            for key, model, surface in (
                ("k", "m:latest", "native"),
                ("k", "N:latest", "openai"),
                ("", "m:latest", "native"),
            ):
                ledger.note(Use(key, model, surface, prompt=1))
            for _ in range(2):  # from memory, then from the file
                by_key = ledger.sums(Question(("key",), since=TODAY, until=TODAY))
                assert {place: sums[0] for place, sums in by_key.items()} == (
                    {("k",): 2, ("",): 1} if now_s == TODAY_S else {}
                )
                assert len(ledger.sums(Question(("day", "model"), key="k"))) == 2 * (1 + (now_s == TODAY_S))
                assert sum(sums[3] for sums in ledger.sums(Question(model="n:LATEST")).values()) == 1 + (
                    now_s == TODAY_S
                )
                assert list(ledger.sums(Question(("surface",), surface="openai", key=""))) == []
                assert ledger.flush()


def test_models_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_MODELS", 3)
    with ledger_of(path) as ledger:
        for number in range(10):
            ledger.note(Use("k", f"m{number}", "native"))
            ledger.note(Use("k", "", "native"))
    found = {model: sums[0] for (_, _, model, _), sums in rows_of(path).items()}
    assert found == {"m0": 1, "m1": 1, "m2": 1, OTHER: 7, "": 10}


def test_old_days_go_and_others_stay(path: Path) -> None:
    for age in (0, 9, 10, 400):
        with closing(UsageLedger(path, clock=lambda: TODAY_S - age * DAY_S)) as ledger:  # noqa: B023 - used at once
            ledger.note(Use("k", "m", "native"))
    with ledger_of(path) as ledger:
        ledger.note(Use("k", "m", "native"))
    assert len(rows_of(path)) == 4  # 0: everything is kept
    with ledger_of(path, keep_days=10) as ledger:
        ledger.note(Use("k", "m", "native"))
    assert sorted(place[0] for place in rows_of(path)) == ["2026-11-21", TODAY]


def test_a_locked_database_loses_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "corral.usage")
    with ledger_of(path) as ledger:
        ledger._file._timeout_s = 0.01
        ledger.note(Use("k", "m", "native"))
        wait_until(lambda: rows_of(path))
        ledger._file.close()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(20):
                ledger.note(Use("k", "m", "native"))
                ledger.flush()
            assert ledger.sums(Question(("key",)))[("k",)][0] == 21  # readers are not in the way
            other.execute("ROLLBACK")
        wait_until(lambda: rows_of(path)[(TODAY, "k", "m", "native")][0] == 21)
        wait_until(lambda: not ledger.is_failing)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "usage is kept in memory until it can be written",
        "usage is written again",
    ]


@pytest.mark.parametrize("kind", ["broken", "folder", "later version", "read-only"])
def test_a_file_that_cannot_be_used_is_left_alone(
    path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    before = b"not a database at all" * 100
    if kind == "broken":
        path.write_bytes(before)
    elif kind == "folder":
        path.mkdir()
    elif kind == "later version":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        path.symlink_to("/proc/version")
    with ledger_of(path) as ledger:
        for _ in range(5):
            ledger.note(Use("k", "m", "native"))
            assert not ledger.flush()
        with pytest.raises(DatabaseError, match="cannot be used"):
            ledger.sums(ALL)
        if kind == "broken":
            assert path.read_bytes() == before
        # It was moved away: what was counted meanwhile goes into a new one.
        path.rename(path.with_name("aside"))
        assert ledger.flush()
        assert rows_of(path)[(TODAY, "k", "m", "native")][0] == 5
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_file_that_is_deleted_while_it_is_open_is_made_again(path: Path) -> None:
    with ledger_of(path) as ledger:
        ledger.note(Use("k", "m", "native"))
        assert ledger.flush()
        shutil.rmtree(path.parent)
        ledger.note(Use("k", "n", "native"))
        assert ledger.flush()
        assert list(rows_of(path)) == [(TODAY, "k", "n", "native")]


def test_a_full_disk_loses_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`max_page_count` makes SQLite report what a full disk makes it report."""
    with ledger_of(path) as ledger:
        ledger.note(Use("k", "first", "native"))
        assert ledger.flush()
        connection = ledger._file._open()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        long = [f"{number:04d}" + "x" * 200 for number in range(100)]
        for model in long:
            ledger.note(Use("k", model, "native"))
        while ledger.flush():  # the thread may have been faster; then it has closed the connection
            if "full" in caplog.text:
                break
            ledger.note(Use("k", "more", "native"))
        assert "disk is full" in caplog.text
        wait_until(lambda: not ledger.is_failing)
    names = {place[2] for place in rows_of(path)}
    assert {*long, "first"} <= names
    assert all(sums[0] == 1 for place, sums in rows_of(path).items() if place[2] != "more")


def test_an_error_that_nobody_thought_of_loses_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ledger_of(path) as ledger:
        add, failures = ledger._file.add, iter(range(3))

        def fail(*args: Any, **settings: Any) -> None:
            if next(failures, None) is not None:
                raise OverflowError("too large")
            add(*args, **settings)

        ledger._file.add = fail  # type: ignore[method-assign]
        ledger.note(Use("k", "m", "native"))
        wait_until(lambda: rows_of(path))
        wait_until(lambda: not ledger.is_failing)
    assert rows_of(path)[(TODAY, "k", "m", "native")][0] == 1
    assert caplog.text.count("too large") == 1


def test_what_waits_for_a_broken_database_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_WAITING", 10)
    path.mkdir(parents=True)
    with ledger_of(path) as ledger:
        for number in range(100):
            ledger.note(Use("k", f"m{number}", "native"))
        path.rmdir()
    found = {place[2]: sums[0] for place, sums in rows_of(path).items()}
    assert len(found) == 11 and found[OTHER] == 90


def test_many_threads_read_while_one_notes(path: Path) -> None:
    """A reader never sees a row twice, or not at all, while it goes from memory to the file."""
    with ledger_of(path) as ledger:
        noted = [0]
        wrong: list[tuple[float, float, float]] = []
        done = threading.Event()

        def look() -> None:
            while not done.is_set():
                low = noted[0]
                sums = ledger.sums(Question(("key",))).get(("k",), [0])
                high = noted[0] + 1
                if not low <= sums[0] <= high:
                    wrong.append((low, sums[0], high))

        readers = [threading.Thread(target=look) for _ in range(4)]
        for reader in readers:
            reader.start()
        for number in range(3000):
            ledger.note(Use("k", f"m{number % 7}", "native"))
            noted[0] += 1
        done.set()
        for reader in readers:
            reader.join()
    assert not wrong
    assert sum(sums[0] for sums in rows_of(path).values()) == 3000
