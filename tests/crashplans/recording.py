"""What the library recorded: each call, with what it wrote."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

# In the order of the numbers in `faults.c`.
NAMES = "create empty resize write rename link symlink unlink rmdir mkdir sync chmod times note".split()
_HEAD = struct.Struct("<6q4i")
# Calls that a full disk makes fail.
_NEEDS_SPACE = frozenset({"create", "resize", "write", "rename", "link", "symlink", "mkdir"})


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `path` is what it changed, `other` the old name, the target of a link, or what was noted.

    `is_change`: it succeeded and did something. `offset` is also the new size of a file. `inode` 0: the file is gone.
    """

    number: int
    what: str
    is_change: bool
    path: str
    other: str
    inode: int
    offset: int
    modified_ns: int
    mode: int
    data: bytes

    @property
    def needs_space(self) -> bool:
        return self.what in _NEEDS_SPACE

    def __str__(self) -> str:
        size = f" {len(self.data)} bytes at {self.offset}" if self.what == "write" else ""
        return f"{self.what}{size} {self.other}{' -> ' * bool(self.other and self.path)}{self.path}"


def read_calls(data: bytes) -> Iterator[Call]:
    """The calls of a log; one that is not whole, because the process died in it, ends it."""
    pos = 0

    def text(size: int) -> str:
        nonlocal pos
        pos += size
        return os.fsdecode(data[pos - size : pos])

    while pos + _HEAD.size <= len(data):
        number, inode, offset, modified_ns, mode, size, what, is_change, path, other = _HEAD.unpack_from(
            data, pos
        )
        pos += _HEAD.size
        names = (text(path), text(other))
        pos += size
        yield Call(
            number,
            NAMES[what],
            bool(is_change),
            *names,
            inode,
            offset,
            modified_ns,
            mode,
            data[pos - size : pos],
        )
