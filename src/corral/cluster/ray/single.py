"""A lock file that one process holds for as long as it lives: two servers of one node never run at once."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

_LOOK_S = 0.1


def take(path: Path) -> int:
    """The descriptor that holds the lock; -1 if another process does. The system releases it when the holder dies."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return -1
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def holder(path: Path) -> int:
    """The process that holds the lock; 0 if none does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(descriptor, 20, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)
    return 0


def wait_until_free(path: Path, limit_s: float) -> bool:
    """Whether nobody holds it any more before the time is up."""
    deadline_s = time.monotonic() + limit_s
    while holder(path):
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(_LOOK_S)
    return True


def end_holder(path: Path, number: int) -> None:
    """Send its holder a signal. The number in the file is its holder's: whoever takes the lock writes it at once."""
    if pid := holder(path):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
