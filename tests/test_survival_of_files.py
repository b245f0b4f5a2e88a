"""Faults that the crash plans found, each by itself and without a process."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from corral import disk
from corral.access.audit import Act, AuditLog, check
from corral.cli.agents.foreign_settings import ForeignSettings
from corral.operations import selfsigned
from corral.responses.sqlite import ResponsesDB


def _fails_with(number: int) -> object:
    def fail(_handle: int) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_disk_that_fails_is_not_taken_for_one_that_cannot_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An I/O error when a folder is synced is an error; a network file system that cannot sync folders is none."""
    monkeypatch.setattr(os, "fsync", _fails_with(errno.EINVAL))
    disk.sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", _fails_with(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        disk.sync_folder(tmp_path)


def test_new_folders_are_synced_in_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the top down: a folder is on the disk once the one above it was synced."""
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)
    disk.make_folders(tmp_path / "a" / "b" / "c", mode=0o700)
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert (tmp_path / "a" / "b" / "c").stat().st_mode & 0o777 == 0o700
    disk.make_folders(tmp_path / "a" / "b")
    assert len(synced) == 3


@pytest.mark.parametrize("has_links", [True, False])
def test_a_new_file_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_links: bool
) -> None:
    """Whole or not at all, on file systems without hard links too."""
    if not has_links:
        monkeypatch.setattr(os, "link", lambda *_paths: _fails_with(errno.EPERM)(0))  # type: ignore[operator]
    path = tmp_path / "key"
    disk.write_new(path, b"one", mode=0o600)
    with pytest.raises(FileExistsError):
        disk.write_new(path, b"two", mode=0o600)
    assert path.read_bytes() == b"one"
    assert [found.name for found in tmp_path.iterdir()] == ["key"]


class _Reluctant:
    """An unbuffered file on a disk that is almost full."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: memoryview) -> int:
        self.data += bytes(data[:3])
        return min(len(data), 3)


def test_a_short_write_goes_on() -> None:
    file = _Reluctant()
    disk.write_fully(file, b"0123456789")  # type: ignore[arg-type]
    assert file.data == b"0123456789"


def test_an_empty_file_does_not_break_the_chain_of_the_audit_log(tmp_path: Path) -> None:
    """A crash between the making of a file and its first line."""
    log = AuditLog(tmp_path, max_file_bytes=1)
    log.write(Act("local", "", "one", (), "done"))
    (tmp_path / log.files()[0].name.replace(".001.", ".002.")).touch()
    log.write(Act("local", "", "two", (), "done"))
    assert check(log) == (2, [])


def test_settings_can_be_undone_after_a_crash_between_record_and_file(tmp_path: Path) -> None:
    """Of the first change and of a later one: the file is restored to the byte."""
    path = tmp_path / "settings.json"
    original = '{"theme": "dark"}'
    path.write_text(original)

    def settings() -> ForeignSettings:
        return ForeignSettings(path, tmp_path / "records", "agent")

    for value in ("one", "two"):
        before = path.read_text()
        settings().put_json([(("url",), value)])
        path.write_text(before)  # as if the process had died before it wrote the file
        settings().put_json([(("url",), value)])
        assert json.loads(path.read_text())["url"] == value
    settings().undo()
    assert path.read_text() == original
    assert not settings().has_record


def test_an_undo_that_was_cut_short_is_repeated(tmp_path: Path) -> None:
    """The file is restored, the record is there still: another undo changes nothing more."""
    path = tmp_path / "settings.json"
    path.write_text('{"theme": "dark"}')
    settings = ForeignSettings(path, tmp_path / "records", "agent")
    settings.put_json([(("url",), "one")])
    path.write_text('{"theme": "dark"}')
    settings.undo()
    assert path.read_text() == '{"theme": "dark"}'


def test_a_key_of_another_certificate_is_replaced(tmp_path: Path) -> None:
    """A crash after the new key and before its certificate."""
    files = selfsigned.self_signed(tmp_path / "tls", [])
    other = selfsigned.self_signed(tmp_path / "other", [])
    files.key.write_bytes(other.key.read_bytes())
    before = files.cert.read_bytes()
    selfsigned.self_signed(tmp_path / "tls", [])
    assert files.cert.read_bytes() != before
    assert selfsigned._is_usable(files, ["localhost"])


def test_no_broken_database_replaces_another(tmp_path: Path) -> None:
    """Two within a second are kept under two names."""
    path = tmp_path / "responses.sqlite3"
    for number in range(3):
        path.write_bytes(b"no database at all, but long enough to be looked at " * 20 + bytes([number]))
        ResponsesDB(path, max_age_s=1 << 30, max_bytes=1 << 30).close()
    kept = {
        found.read_bytes()[-1]
        for found in tmp_path.glob("*.broken-*")
        if found.suffix[-4:-1] not in ("-wa", "-sh")
    }
    assert kept == {0, 1, 2}
