"""CPUs and memory of this machine as plain values, and its GPUs if somebody has them to give.

Reads what the system reports (`/proc`, `/sys`, `sysctl`) without judging it, and never raises: what cannot be read
counts as absent. The limits of a container count as the machine's: each number is the smaller of the kernel's and of
what our cgroup and CPU set may use. Parsers take text, readers take a root folder.
"""

from __future__ import annotations

import math
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from corral.cores import count_cores, fast_cpus
from corral.gpus import GPU
from corral.systemtext import parse_int, read_text, run_tool

_ARM = ("aarch64", "arm64")
_STAT_LINE = re.compile(r"^(\w+) (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CPU:
    """Cores that this process may use. `physical_count` excludes hyper-threads, and slow cores beside fast ones; both
    are at least 1.

    `is_arm`: a 64-bit Arm processor.
    """

    physical_count: int
    logical_count: int
    is_arm: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """The resources at one moment. `free_bytes`: what a new process can use without swapping."""

    cpu: CPU
    total_bytes: int
    free_bytes: int
    gpus: tuple[GPU, ...] = ()

    @property
    def vram_total_bytes(self) -> int:
        return sum(gpu.total_bytes for gpu in self.gpus)

    @property
    def vram_free_bytes(self) -> int:
        return sum(gpu.free_bytes for gpu in self.gpus)


def read_machine(read_gpus: Callable[[int, int], tuple[GPU, ...]] = lambda _total, _free: ()) -> Machine:
    """Read this machine. `read_gpus` gets the machine's total and free bytes, for GPUs that share them.

    Without GPUs this takes well under a millisecond on Linux; asking drivers takes up to seconds.
    """
    cpu = read_cpu()
    total_bytes, free_bytes = read_memory()
    return Machine(cpu, total_bytes, free_bytes, read_gpus(total_bytes, free_bytes))


# --- CPU ---------------------------------------------------------------------------------------------------


def read_cpu(root: Path = Path("/")) -> CPU:
    """Count the cores that this process may use."""
    if sys.platform == "darwin":
        return _read_mac_cpu()
    allowed = os.sched_getaffinity(0)
    logical = max(len(allowed), 1)
    physical = max(count_cores(root, fast_cpus(root, allowed)), 1)
    quota = read_cpu_quota(root)
    if quota is not None:
        # Threads beyond the quota would only be throttled: a quota of 2.5 cores feeds 2 threads.
        whole = max(int(quota), 1)
        logical, physical = min(logical, whole), min(physical, whole)
    return CPU(physical, logical, platform.machine().lower() in _ARM)


def read_cpu_quota(root: Path) -> float | None:
    """The cgroup's CPU limit in cores, the tightest of our group and those around it."""
    quotas: list[float] = []
    for folder in _cgroup_folders(root, "cpu"):
        v2 = read_text(folder / "cpu.max").split()
        v1 = [read_text(folder / "cpu.cfs_quota_us"), read_text(folder / "cpu.cfs_period_us")]
        for quota, period in (v2[:2] if len(v2) >= 2 else ("", ""), v1):
            quota_us, period_us = parse_int(quota), parse_int(period)
            if quota_us is not None and period_us and quota_us > 0:
                quotas.append(quota_us / period_us)
    return min(quotas, default=None)


# --- memory ------------------------------------------------------------------------------------------------


def read_memory(root: Path = Path("/")) -> tuple[int, int]:
    """Total and free bytes; (0, 0) if the system does not report them."""
    if sys.platform == "darwin":
        return _read_mac_memory()
    total, free = parse_meminfo(read_text(root / "proc/meminfo"))
    installed = total
    for folder in _cgroup_folders(root, "memory"):
        limit, used = _read_memory_limit(folder)
        if limit < installed:
            # A group around ours may have less left than ours, however large its own limit is.
            total = min(total, int(limit))
            free = min(free, max(int(limit) - used, 0))
    return total, free


def parse_meminfo(text: str) -> tuple[int, int]:
    """Total and available bytes from `/proc/meminfo`; old kernels without MemAvailable: free plus cache."""
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    free = kib.get("MemAvailable", kib.get("MemFree", 0) + kib.get("Buffers", 0) + kib.get("Cached", 0))
    return kib.get("MemTotal", 0) * 1024, free * 1024


def _read_memory_limit(folder: Path) -> tuple[float, int]:
    """A group's limit (infinite: none) and what it really uses, without what the kernel can reclaim.

    Reclaimable are the file cache, inactive and active, the weights that engines have mapped, and kernel objects.
    Above `memory.high` a group is throttled until it is unusable.
    """
    stat = {name: int(count) for name, count in _STAT_LINE.findall(read_text(folder / "memory.stat"))}
    for limit_names, usage_name, reclaimable in (
        (
            ("memory.max", "memory.high"),
            "memory.current",
            ("inactive_file", "active_file", "slab_reclaimable"),
        ),
        (("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
    ):
        limits = [parse_int(read_text(folder / name)) for name in limit_names]
        if usage_name == "memory.usage_in_bytes":
            # A container may see only its own group; this is the tightest limit of the groups around it.
            limits.append(stat.get("hierarchical_memory_limit"))
        if known := [limit for limit in limits if limit is not None]:
            usage = parse_int(read_text(folder / usage_name)) or 0
            return min(known), max(usage - sum(stat.get(name, 0) for name in reclaimable), 0)
    return math.inf, 0


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders of our control group and all groups around it, version 2 or 1, innermost first.

    Inside a container the path that `/proc/self/cgroup` names may not exist; then its nearest existing
    parent, in the end the mount itself, stands for us.
    """
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            mount = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            mount = root / "sys/fs/cgroup" / controller
        else:
            continue
        parts = [part for part in path.split("/") if part not in {"", ".", ".."}]
        for depth in range(len(parts), -1, -1):
            folder = mount.joinpath(*parts[:depth])
            if folder.is_dir():
                yield folder


# --- macOS -------------------------------------------------------------------------------------------------


def _read_mac_cpu() -> CPU:
    logical = os.cpu_count() or 1
    # Efficiency cores slow down the others at every barrier: if the chip has both, count the fast ones.
    text = run_tool(["sysctl", "-n", "hw.perflevel0.physicalcpu"]) or run_tool(
        ["sysctl", "-n", "hw.physicalcpu"]
    )
    return CPU(parse_int(text) or logical, logical, platform.machine().lower() in _ARM)


def _read_mac_memory() -> tuple[int, int]:
    total = parse_int(run_tool(["sysctl", "-n", "hw.memsize"])) or 0
    return total, min(parse_vm_stat(run_tool(["vm_stat"])), total)


def parse_vm_stat(text: str) -> int:
    """Bytes that macOS can hand out: free, speculative, inactive and purgeable pages."""
    found = re.search(r"page size of (\d+) bytes", text)
    page_bytes = int(found[1]) if found else 4096
    pages = {
        name: int(value) for name, value in re.findall(r'^"?Pages ([\w ]+)"?:\s+(\d+)', text, re.MULTILINE)
    }
    return page_bytes * sum(pages.get(name, 0) for name in ("free", "speculative", "inactive", "purgeable"))
