"""Locks across threads and processes, which end with their process. On a file system without locks this process is
taken to be the only one."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def store_lock(blobs_folder: Path) -> Iterator[None]:
    """Hold a store exclusively for a moment. Do not wait for anything in it; not re-entrant."""
    models = blobs_folder.parent
    models.mkdir(parents=True, exist_ok=True)
    handle = os.open(models / ".corral-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def lock_file(file: IO[Any]) -> bool:
    """Lock an open file for as long as it stays open; False if somebody else has it locked."""
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
