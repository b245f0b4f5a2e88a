"""What was spent today, over restarts, and where audit logs are."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from corral.access import spent as spending
from corral.access.audit import Act, AuditLog
from corral.access.auditing import audit_log, is_always_on
from corral.access.spent import Spent
from corral.config import Settings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "spent.json"


def read(path: Path) -> dict[str, object]:
    found = json.loads(path.read_bytes())
    assert isinstance(found, dict)
    return found


def test_one_write_for_many_notes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A while after the first of them; what comes later begins another one."""
    monkeypatch.setattr(spending, "_DELAY_S", 0.0)
    writes: list[tuple[int, dict[str, int]]] = []
    monkeypatch.setattr(Spent, "_write", lambda _self, day, tokens: writes.append((day, tokens)))

    async def spend() -> None:
        spent = Spent(path)
        spent.note("a", 1, 10)
        spent.note("b", 1, 20)
        assert writes == []
        while not writes:
            await asyncio.sleep(0)
        spent.note("a", 1, 30)
        spent.close()
        spent.close()

    asyncio.run(spend())
    assert writes == [(1, {"a": 10, "b": 20}), (1, {"a": 30, "b": 20})]


def test_a_note_that_says_nothing_new(path: Path) -> None:
    async def spend() -> None:
        spent = Spent(path)
        spent.load()
        spent.note("a", 1, 10)
        spent.close()
        path.unlink()
        spent.note("a", 1, 10)
        spent.close()

    asyncio.run(spend())
    assert not path.exists()


def test_nothing_spent_is_no_file(path: Path) -> None:
    Spent(path).close()
    assert not path.parent.exists()


def test_a_day_begins_with_nothing(path: Path) -> None:
    async def spend() -> None:
        spent = Spent(path)
        spent.note("a", 1, 10)
        spent.note("b", 2, 20)
        assert [spent.of("a", 1), spent.of("a", 2), spent.of("b", 2), spent.of("b", 3)] == [0, 0, 20, 0]
        spent.close()

    asyncio.run(spend())
    assert read(path) == {"day": 2, "tokens": {"b": 20}}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["spent.json"]


def test_the_number_of_subjects_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "_MAX_SUBJECTS", 2)

    async def spend() -> None:
        spent = Spent(path)
        for number in range(5):
            spent.note(str(number), 1, 10)
        spent.close()

    asyncio.run(spend())
    assert read(path) == {"day": 1, "tokens": {"0": 10, "1": 10, "2": 10}}


def test_a_disk_that_is_full(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and nothing ends by it."""
    path.parent.write_bytes(b"a file in the place of the folder")

    async def spend() -> None:
        spent = Spent(path)
        spent.note("a", 1, 10)
        spent.close()

    asyncio.run(spend())
    assert "what was spent today is not written" in caplog.text


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"day": "x"}', b'{"day": 1}', b'{"day": 1, "tokens": []}']
)
def test_files_that_cannot_be_read(path: Path, caplog: pytest.LogCaptureFixture, data: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(data)
    spent = Spent(path)
    spent.load()
    assert f"{path} cannot be read" in caplog.text
    assert spent.of("a", 1) == 0


def test_a_file_that_is_not_there(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Spent(path).load()
    assert caplog.text == ""


# --- where the audit log is --------------------------------------------------------------------------------


def test_where_acts_are_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    for value, folder in (("auto", tmp_path / "audit"), ("Auto", tmp_path / "audit"), ("/x", Path("/x"))):
        log = audit_log(Settings(audit=value))
        assert log is not None and log.folder == folder
    log = audit_log(Settings(audit="~/acts"))
    assert log is not None and log.folder == tmp_path / "me" / "acts"
    assert audit_log(Settings(audit="OFF")) is None


@pytest.mark.parametrize(
    ("audit", "auth", "is_on"),
    [("auto", "remote", False), ("AUTO", "off", False), ("auto", "on", True), ("/x", "remote", True)],
)
def test_whether_acts_of_callers_without_keys_are_written_down(audit: str, auth: Any, is_on: bool) -> None:
    assert is_always_on(Settings(audit=audit, auth_mode=auth)) is is_on


def test_how_long_acts_are_kept(tmp_path: Path) -> None:
    """The newest file stays as long as no other begins, however old it is."""
    for day in ("2001-01-01", "2001-01-02"):
        (tmp_path / f"audit-{day}.001.jsonl").write_bytes(b'{"prev":""}\n')
    for keep_days, count in ((0, 3), (3, 2)):
        log = audit_log(Settings(audit=str(tmp_path), audit_keep_days=keep_days))
        assert log is not None
        log.write(Act("local", "", "POST /a", (), "done"))
        assert len(log.files()) == count
        log.files()[-1].unlink()
    assert AuditLog(tmp_path / "none").files() == []


def test_a_body_goes_with_its_act(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.write(Act("local", "", "POST /a", (), "done", body={"a": 1}))
    log.write(Act("local", "", "POST /a", (), "done"))
    first, second = [json.loads(line) for line in log.files()[0].read_bytes().splitlines()]
    assert first["body"] == {"a": 1} and "body" not in second
