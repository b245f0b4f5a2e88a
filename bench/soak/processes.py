"""What a server and its children hold: resident bytes, descriptors by kind, threads. From /proc, so only on Linux."""

from __future__ import annotations

import contextlib
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
# The part of all looks at either end that is compared.
_TENTH = 10


@dataclass(frozen=True, slots=True)
class Held:
    """One process. `files` counts descriptors by kind: `socket`, `pipe`, or the name of a file."""

    rss: int
    threads: int
    files: Counter[str]

    @property
    def file_count(self) -> int:
        return self.files.total()


# A process and all of its descendants, by process id.
Look = dict[int, Held]


@dataclass(frozen=True, slots=True)
class Change:
    """A figure at the beginning and at the end, each the median of a tenth of the looks."""

    group: str
    figure: str
    before: float
    after: float

    @property
    def share(self) -> float:
        return (self.after - self.before) / self.before if self.before else float(self.after > 0)

    def __str__(self) -> str:
        return f"{self.group}: {self.figure} {self.before:.0f} -> {self.after:.0f} ({self.share:+.2%})"


def look_at(root: int) -> Look:
    """Raises OSError if the process has ended. Descendants that end meanwhile are left out."""
    found = {root: _held(root)}
    for child in _descendants(root):
        with contextlib.suppress(OSError, ValueError, IndexError):
            found[child] = _held(child)
    return found


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def _held(pid: int) -> Held:
    folder = _PROC / str(pid)
    status = (folder / "status").read_text()
    rss = int(status.partition("VmRSS:")[2].split()[0]) * 1024
    threads = int(status.partition("Threads:")[2].split()[0])
    return Held(rss, threads, Counter(_kinds(folder / "fd")))


def _kinds(folder: Path) -> Iterator[str]:
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            target = str(entry.readlink())
            yield target.partition(":[")[0] if target.endswith("]") else target


def changes(looks: Sequence[Look], root: int) -> Iterator[Change]:
    """Memory and threads of the server, and of each child that was there all the time, from end to end.

    Others come and go: engines that are loaded and unloaded, and the child that is kept ready for the next load, as
    soon as the machine has time for it. Of those the largest of each look counts, which is an engine at work.
    """
    lasting = set.intersection(*(set(look) for look in looks))
    for pid in sorted(lasting, key=lambda pid: pid != root):
        group = "server" if pid == root else f"child {pid}"
        yield Change(group, "rss", *ends([look[pid].rss for look in looks]))
        yield Change(group, "threads", *ends([look[pid].threads for look in looks]))
    passing = [[held for pid, held in look.items() if pid not in lasting] for look in looks]
    largest = [max(held.rss for held in each) for each in passing if each]
    if largest:
        yield Change("children that come and go", "rss of the largest", *ends(largest))


def most_processes(looks: Sequence[Look]) -> tuple[int, int]:
    """The highest numbers of processes at a time, in the first and in the second half."""
    half = len(looks) // 2
    return max(map(len, looks[: half or 1])), max(map(len, looks[half:]))


def ends(values: Sequence[float]) -> tuple[float, float]:
    """The medians of the first tenth and of the last one."""
    count = max(len(values) // _TENTH, 1)
    return statistics.median(values[:count]), statistics.median(values[-count:])


def file_changes(before: Look, after: Look) -> Iterator[Change]:
    """Descriptors of the processes that are in both looks; the kinds that became more or fewer are named."""
    for pid in sorted(set(before) & set(after)):
        old, new = before[pid].files, after[pid].files
        kinds = [
            f"{kind} {new[kind] - old[kind]:+}" for kind in sorted({*old, *new}) if new[kind] != old[kind]
        ]
        figure = f"descriptors ({', '.join(kinds)})" if kinds else "descriptors"
        yield Change(f"process {pid}", figure, old.total(), new.total())
