"""Gives back the pages of a model file that the engine has copied into a layout of its own.

The engine child imports this module: it imports next to nothing.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path

# A line of /proc/self/maps: addresses, permissions, offset, device, inode, path.
_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ (\S+) (\d+)")
_MADV_DONTNEED = 4


def mappings(maps: str, device: int, inode: int) -> Iterator[tuple[int, int]]:
    """Address and length of the shared mappings of a file that cannot be written through.

    Only such a mapping holds nothing of its own: a page that is dropped comes back as it is in the file.
    """
    for line in maps.splitlines():
        match = _LINE.match(line)
        if match is None or match[3][1] != "-" or match[3][3] != "s":
            continue
        major, _, minor = match[4].partition(":")
        if int(match[5]) == inode and os.makedev(int(major, 16), int(minor, 16)) == device:
            begin, end = int(match[1], 16), int(match[2], 16)
            yield begin, end - begin


def give_back(path: str) -> int:
    """Have Linux drop the pages of a mapped file from this process; those in use come back when they are read.

    They stay in the page cache, so the next load need not read the disk. Returns the bytes of the mappings, 0 on
    other systems or where the kernel refuses.
    """
    dropped = 0
    try:
        facts, maps = Path(path).stat(), Path("/proc/self/maps").read_text(errors="replace")
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return 0
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for address, length in mappings(maps, facts.st_dev, facts.st_ino):
        if madvise(address, length, _MADV_DONTNEED) == 0:
            dropped += length
    return dropped
