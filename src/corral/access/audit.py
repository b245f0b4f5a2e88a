"""Who changed what: a line of JSON for each act, in files by day that only their owner can read.

A line has the digest of the line before it (`prev`), through all files, so that one which is changed or taken out
shows. What is taken off the end does not show by itself: keep the last digest elsewhere for that. Everything but
printable ASCII is written as an escape.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from corral.disk import make_folders, sync_folder, write_fully
from corral.golang.time import format_utc_now

_MAX_FILE_BYTES = 64 << 20
_NAME = re.compile(r"audit-(\d{4}-\d{2}-\d{2})\.(\d{3,})\.jsonl", re.ASCII)
_TAIL_BYTES = 1 << 16
_MAX_TEXT_CHARS = 500


@dataclass(frozen=True, slots=True)
class Act:
    """`actor`: the key's id and name, or `local` or `anonymous`; `address` is empty for a unix socket.

    `act` is a method and the pattern of a route, or a command. `target` names models, digests or keys. `body` is what
    `auditbodies` makes of the request's; None: it is not kept.
    """

    actor: str
    address: str
    act: str
    target: tuple[str, ...]
    result: str
    request_id: str = ""
    ms: float = 0.0
    body: Any = None


class AuditLog:
    """For any thread, and for several processes at a time. Everything blocks, until the disk has the line."""

    def __init__(
        self,
        folder: Path,
        *,
        keep_days: int = 90,
        max_file_bytes: int = _MAX_FILE_BYTES,
        today: Callable[[], datetime.date] = lambda: datetime.datetime.now(datetime.UTC).date(),
    ) -> None:
        self.folder = folder
        self._keep_days = keep_days
        self._max_file_bytes = max_file_bytes
        self._today = today
        self._lock = threading.Lock()

    def write(self, act: Act) -> None:
        """Raises OSError."""
        record = {
            "ts": format_utc_now(),
            "id": act.request_id,
            "actor": act.actor[:_MAX_TEXT_CHARS],
            "address": act.address,
            "act": act.act,
            "target": [name[:_MAX_TEXT_CHARS] for name in act.target],
            "result": act.result,
            "ms": round(act.ms, 1),
        }
        if act.body is not None:
            record["body"] = act.body
        with self._lock, self._alone():
            files = self.files()
            # A crash, or a full disk, may have left a file without a line.
            last = next((line for path in reversed(files) if (line := _last_line(path))), b"")
            record["prev"] = digest_of(last) if last else ""
            line = json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
            self._append(self._file_for(files, len(line)), line)

    def files(self) -> list[Path]:
        """All files, oldest first."""
        if not self.folder.is_dir():
            return []
        found = [(match[1], int(match[2]), path) for path in self.folder.iterdir() if (match := _match(path))]
        return [path for _, _, path in sorted(found)]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process writes meanwhile."""
        make_folders(self.folder, mode=0o700)
        handle = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _file_for(self, files: Sequence[Path], size_bytes: int) -> Path:
        """The file of today that has room; at the first line of a day old files go."""
        today = self._today()
        parts = [path for path in files if _day(path) == today.isoformat()]
        if not parts:
            self._remove_old(files, today)
            return self.folder / f"audit-{today.isoformat()}.001.jsonl"
        if parts[-1].stat().st_size + size_bytes <= self._max_file_bytes:
            return parts[-1]
        return self.folder / f"audit-{today.isoformat()}.{len(parts) + 1:03d}.jsonl"

    def _remove_old(self, files: Sequence[Path], today: datetime.date) -> None:
        """Remove files older than what is kept (0: nothing is removed)."""
        oldest = (today - datetime.timedelta(days=self._keep_days)).isoformat()
        for path in files[:-1] if self._keep_days else ():
            if _day(path) < oldest:
                path.unlink(missing_ok=True)

    def _append(self, path: Path, line: bytes) -> None:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "rb+", buffering=0) as file:
            is_new = file.seek(0, os.SEEK_END) == 0
            if _is_torn(file):
                line = b"\n" + line
            write_fully(file, line)
            os.fsync(file.fileno())
        if is_new:
            sync_folder(self.folder)


def check(log: AuditLog) -> tuple[int, list[str]]:
    """How many lines there are, and every place where a line was changed, taken out or torn."""
    count, problems, previous = 0, [], None
    for path in log.files():
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            count += 1
            prev = _prev_of(line)
            if prev is None:
                problems.append(f"{path.name}:{number}: this line is not whole")
            elif previous is not None and prev != digest_of(previous):
                problems.append(f"{path.name}:{number}: what was before this line was changed or taken out")
            previous = line
    return count, problems


def digest_of(line: bytes) -> str:
    """What the next line says of a line, without its end."""
    return hashlib.sha256(line).hexdigest()


def _prev_of(line: bytes) -> str | None:
    try:
        record: Any = json.loads(line)
        return str(record["prev"])
    except (ValueError, KeyError, TypeError):
        return None


def _match(path: Path) -> re.Match[str] | None:
    return _NAME.fullmatch(path.name)


def _day(path: Path) -> str:
    match = _match(path)
    return match[1] if match else ""


def _last_line(path: Path) -> bytes:
    """The last line of a file, torn or whole, without its end; lines are far shorter than what is read."""
    with path.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(size_bytes - _TAIL_BYTES, 0))
        lines = file.read().splitlines()
    return lines[-1] if lines else b""


def _is_torn(file: BinaryIO) -> bool:
    """Whether the last line was not written to its end, because of a crash or a full disk."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"
