"""Files on the disk: room, copies, writes that survive, and reading ahead."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from corral.disk import ReadAhead, check_space, write_atomically
from corral.errors import StoreError


def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot fit is refused with both sizes."""
    check_space(tmp_path / "x", 1)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=10**9))
    with pytest.raises(StoreError, match=r"2\.50 GB needed, 1\.00 GB free"):
        check_space(tmp_path / "x", 2_500_000_000)


@pytest.mark.parametrize("mode", [None, 0o600, 0o644])
def test_a_write_is_whole_or_not_at_all(
    tmp_path: Path, mode: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it fails half way; the folder is made, and nothing is left beside the file."""
    path = tmp_path / "new" / "file"
    write_atomically(path, b"old", mode=mode)
    if mode is not None:
        assert stat.S_IMODE(path.stat().st_mode) == mode
    with monkeypatch.context() as patched:

        def full(_handle: int) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_atomically(path, b"new", mode=mode)
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new", mode=mode)
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["file"]


def test_a_folder_that_is_removed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a sweep of empty folders: it is made again, whichever step notices."""
    path = tmp_path / "a" / "b" / "file"
    make, left = Path.mkdir, [3]

    def removed(folder: Path, *arguments: Any, **more: Any) -> None:
        make(folder, *arguments, **more)
        if left[0] and folder == path.parent:
            left[0] -= 1
            shutil.rmtree(tmp_path / "a")
            if left[0]:
                raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "mkdir", removed)
    write_atomically(path, b"content")
    assert (path.read_bytes(), left) == (b"content", [0])


def test_reading_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file once at a time, in a thread; what does not exist is no error."""
    asked: list[tuple[int, int]] = []
    go, done = threading.Event(), threading.Semaphore(0)

    def advise(_handle: int, start: int, size: int, _advice: int) -> None:
        asked.append((start, size))
        go.wait(60)
        done.release()

    monkeypatch.setattr(os, "posix_fadvise", advise, raising=False)
    monkeypatch.setattr(os, "POSIX_FADV_WILLNEED", 3, raising=False)
    (tmp_path / "weights").write_bytes(b"x" * 100)
    ahead = ReadAhead()
    for _ in range(3):
        ahead(tmp_path / "weights")
    ahead(tmp_path / "missing")
    go.set()
    assert done.acquire(timeout=60)
    assert asked == [(0, 0)]
