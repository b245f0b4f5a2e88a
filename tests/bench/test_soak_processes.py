"""What the soak says of memory, descriptors and threads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from bench.soak.processes import Change, Held, Look, changes, ends, file_changes, look_at, most_processes


def held(rss: int, threads: int = 1, **files: int) -> Held:
    return Held(rss, threads, Counter(files))


@pytest.mark.process
def test_a_look_at_this_process() -> None:
    """Its children are in it, and descriptors are counted by kind."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        reader, writer = os.pipe()
        before = look_at(os.getpid())
        os.close(reader)
        os.close(writer)
        after = look_at(os.getpid())
        assert child.pid in before
        assert before[os.getpid()].rss > 1 << 20
        assert before[os.getpid()].files["pipe"] - after[os.getpid()].files["pipe"] == 2
    finally:
        child.communicate(b"\n")
    assert child.pid not in look_at(os.getpid())


def test_single_looks_do_not_count() -> None:
    """The medians of the two ends do: neither the highest nor the very last one."""
    assert ends([1] * 5 + [7] + [1] * 44 + [9] * 3 + [2] * 2) == (1, 9)
    assert ends([5]) == (5, 5)


def test_each_process_by_itself() -> None:
    """What grows in one is not hidden by the others, nor by a child that is there at times."""
    looks: list[Look] = [
        {1: held(100, 4), 2: held(50 + number, 2), 10 + number: held(30)}
        | ({200: held(9)} if number % 2 else {})
        for number in range(100)
    ]
    found = {(change.group, change.figure): change for change in changes(looks, 1)}
    assert found["server", "rss"].share == 0
    assert found["child 2", "rss"] == Change("child 2", "rss", 54.5, 144.5)
    assert found["child 2", "threads"].share == 0
    assert found["children that come and go", "rss of the largest"].before == 30
    assert len(found) == 5
    assert "+165.14%" in str(found["child 2", "rss"])
    assert most_processes(looks) == (4, 4)


def test_processes_that_do_not_end() -> None:
    looks: list[Look] = [
        {1: held(1)} | {10 + i: held(1) for i in range(number // 5)} for number in range(100)
    ]
    assert most_processes(looks) == (10, 20)
    assert most_processes(looks[:1]) == (1, 1)


def test_descriptors_are_named() -> None:
    """Those of a process that is in both looks."""
    before = {1: held(1, socket=3, pipe=2), 2: held(1, socket=1)}
    after = {1: held(1, socket=4, pipe=1, eventfd=2), 3: held(1, socket=1)}
    (change,) = file_changes(before, after)
    assert str(change) == "process 1: descriptors (eventfd +2, pipe -1, socket +1) 5 -> 7 (+40.00%)"
