"""A log file that does not grow forever, and its end for people."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

_MAX_BYTES = 16 << 20
_TAIL_BYTES = 8192


def open_log(path: Path) -> int:
    """A descriptor that adds to the file; it is closed in programs that are started, unless they are given it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def bound_log(path: Path, max_bytes: int = _MAX_BYTES) -> None:
    """Put what a running program has written aside once it is much; lines written meanwhile may be lost."""
    with suppress(OSError):
        if path.stat().st_size > max_bytes:
            shutil.copyfile(path, path.with_name(f"{path.name}.1"))
            os.truncate(path, 0)


def tail(path: Path, lines: int = 5, since: int = 0) -> str:
    """The last lines, of those after the first `since` bytes."""
    with suppress(OSError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(since if since <= size else 0, size - _TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
        return "\n".join(line.rstrip() for line in text.splitlines()[-lines:])
    return ""
