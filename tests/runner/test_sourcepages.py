"""Pages of a model file that the engine has copied."""

from __future__ import annotations

import mmap
import os
import re
import sys
from pathlib import Path

import pytest

from corral.runner.sourcepages import give_back, mappings

_MAPS = """\
7f0000000000-7f0000004000 r--s 00000000 fd:01 77 /models/a file with spaces
7f0000010000-7f0000014000 rw-s 00000000 fd:01 77 /models/a file with spaces
7f0000020000-7f0000024000 r--p 00000000 fd:01 77 /models/a file with spaces
7f0000030000-7f0000034000 r--s 00004000 fd:01 78 /models/another
7f0000040000-7f0000044000 r--s 00000000 fd:02 77 /another disk
7f0000050000-7f0000058000 r--s 00004000 fd:01 77 /models/a file with spaces (deleted)
7f0000060000-7f0000064000 rw-p 00000000 00:00 0
no line of this kind
"""


def test_only_mappings_that_hold_nothing_of_their_own() -> None:
    device = os.makedev(0xFD, 0x01)
    assert list(mappings(_MAPS, device, 77)) == [(0x7F0000000000, 0x4000), (0x7F0000050000, 0x8000)]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_go_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(64 * mmap.PAGESIZE))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        content = mapped[:]
        assert _resident_kib(path) == 64 * mmap.PAGESIZE // 1024
        assert give_back(str(path)) == 64 * mmap.PAGESIZE
        assert _resident_kib(path) == 0
        assert mapped[:] == content


def test_a_file_that_is_not_there() -> None:
    assert give_back("/nowhere/weights") == 0


def _resident_kib(path: Path) -> int:
    """How much of a mapped file is in the memory of this process."""
    entries = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    entry = next(entry for entry in entries if entry.partition("\n")[0].endswith(str(path)))
    found = re.search(r"^Rss:\s+(\d+) kB$", entry, re.MULTILINE)
    assert found is not None
    return int(found[1])
