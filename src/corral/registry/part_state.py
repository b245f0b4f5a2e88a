"""Which bytes of a download are present: its parts, and the files beside it that record them.

    <blob>-partial          the content so far, of full length, sparse
    <blob>-partial-<N>      JSON of part N: {"N":0,"Offset":0,"Size":100000000,"Completed":0}

The names and the four members are Ollama's (server/download.go), so that either program can continue what the other
began. Two members are Corral's own: `PrefixSHA256`, the hash of the blob from its beginning to the end of this part,
once it is known, and `BootID`. Data reaches the disk later than it is written; after a power failure a file may
claim bytes that never arrived. Parts with a prefix hash are then checked and, if need be, only they are fetched
again; others start again.

A part's file is overwritten in place with one write of fixed length, so a killed process leaves either the old state
or the new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

_MIN_PART_BYTES = 16 << 20
_MAX_PART_BYTES = 256 << 20
_PARTS = 64
_FILE_BYTES = 256
_MAX_FILE_BYTES = 4096
_MAX_FILES = 65_536
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(slots=True)
class Part:
    """Bytes `offset` to `offset + size` of a blob, of which the first `completed` are present."""

    number: int
    offset: int
    size: int
    completed: int = 0
    prefix_hex: str = ""
    boot_id: str = ""
    # What the file says now; for the code that writes it.
    saved: int = field(default=-1, compare=False)

    @property
    def stop(self) -> int:
        return self.offset + self.size

    @property
    def is_complete(self) -> bool:
        return self.completed >= self.size

    def to_json(self) -> bytes:
        value: dict[str, Any] = {
            "N": self.number,
            "Offset": self.offset,
            "Size": self.size,
            "Completed": self.completed,
        }
        if self.prefix_hex:
            value["PrefixSHA256"] = self.prefix_hex
        value["BootID"] = boot_id()
        return json.dumps(value, separators=(",", ":")).encode().ljust(_FILE_BYTES - 1) + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Part | None:
        """None for anything that is not a valid part."""
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        numbers = [value.get(name, 0) for name in ("N", "Offset", "Size", "Completed")]
        if any(not isinstance(number, int) or isinstance(number, bool) or number < 0 for number in numbers):
            return None
        number, offset, size, completed = numbers
        prefix, boot = value.get("PrefixSHA256", ""), value.get("BootID", "")
        if completed > size or size == 0 or not isinstance(boot, str):
            return None
        if not isinstance(prefix, str) or not _HEX.fullmatch(prefix) or completed < size:
            prefix = ""
        return cls(number, offset, size, completed, prefix, boot)


def plan_parts(size_bytes: int) -> list[Part]:
    """Cut a blob into parts, small enough that hashing, which is sequential, keeps up with their arrival."""
    part_bytes = min(max(size_bytes // _PARTS, _MIN_PART_BYTES), _MAX_PART_BYTES)
    return [
        Part(number, offset, min(part_bytes, size_bytes - offset))
        for number, offset in enumerate(range(0, size_bytes, part_bytes))
    ]


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Changes when the machine is restarted; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:36]
    except OSError:
        return ""


class PartFiles:
    """The files of one download. `path` is that of its data."""

    def __init__(self, blob_path: Path) -> None:
        self.blob_path = blob_path
        self._lock = threading.Lock()
        self.path = blob_path.with_name(f"{blob_path.name}-partial")
        self._pattern = re.compile(re.escape(self.path.name) + r"-(\d{1,9})", re.ASCII)

    def load(self, size_bytes: int) -> list[Part]:
        """The parts that an earlier attempt left, or a fresh plan where they do not fit together."""
        found: dict[int, Part] = {}
        for path in self._files():
            try:
                with path.open("rb") as file:
                    part = Part.parse(file.read(_MAX_FILE_BYTES))
            except OSError:
                part = None
            if part is not None:
                found[part.offset] = part
        parts = self._fit(found, size_bytes)
        for part in parts:
            if part.boot_id and part.boot_id != boot_id() and not part.prefix_hex:
                part.completed = 0
        return parts

    def _fit(self, found: dict[int, Part], size_bytes: int) -> list[Part]:
        """Sort what was found; holes (a file that was cut off by a crash) become parts to fetch."""
        if not found or not self.path.exists():
            self._remove_files()
            return plan_parts(size_bytes)
        ordered: list[Part] = []
        pos = 0
        for offset in sorted(found):
            part = found[offset]
            if offset < pos or part.stop > size_bytes:
                self._remove_files()
                return plan_parts(size_bytes)
            if offset > pos:
                ordered.append(Part(0, pos, offset - pos))
            ordered.append(part)
            pos = part.stop
        if pos < size_bytes:
            ordered.append(Part(0, pos, size_bytes - pos))
        if [part.number for part in ordered] != list(range(len(ordered))):
            # Numbers are part of file names: write all files again.
            self._remove_files()
            for number, part in enumerate(ordered):
                part.number, part.saved = number, -1
        return ordered

    def save(self, part: Part) -> None:
        """Write a part's file. Thread-safe: the hasher and a worker may both have changed a part."""
        with self._lock:
            completed = part.completed
            handle = os.open(self._file(part.number), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.pwrite(handle, part.to_json(), 0)
            finally:
                os.close(handle)
            part.saved = completed

    def finish(self) -> None:
        """The data is complete, verified and durable: make it the blob."""
        self.path.chmod(0o644)
        self.path.replace(self.blob_path)
        self._remove_files()

    def discard(self) -> None:
        """Remove everything; the data was wrong."""
        self.path.unlink(missing_ok=True)
        self._remove_files()

    def _file(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}-{number}")

    def _files(self) -> list[Path]:
        found: list[Path] = []
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.path.parent):
                if self._pattern.fullmatch(entry.name) and len(found) < _MAX_FILES:
                    found.append(Path(entry.path))
        return found

    def _remove_files(self) -> None:
        for path in self._files():
            path.unlink(missing_ok=True)


def contiguous_bytes(parts: Sequence[Part], first: int) -> int:
    """How many bytes from `first` on are present without a hole."""
    pos = first
    for part in parts:
        known = part.offset + part.completed
        if part.offset <= pos < known:
            pos = known
        elif part.offset > pos:
            break
    return pos - first


def present_bytes(blob_path: Path) -> int:
    """How much disk space an unfinished download of a blob takes already."""
    try:
        stat = blob_path.with_name(f"{blob_path.name}-partial").stat()
    except OSError:
        return 0
    return min(stat.st_blocks * 512, stat.st_size)
