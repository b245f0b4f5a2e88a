"""CPUs, GPUs and memory of this machine as plain values.

Reads what the system reports (`/proc`, `/sys`, `sysctl`, `nvidia-smi`, `rocm-smi`) without judging it, and never
raises: what cannot be read counts as absent. The limits of a container count as the machine's: each number is the
smaller of the kernel's and of what our cgroup and CPU set may use. Parsers take text, readers take a root folder.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from corral.childenv import child_environment

_MIB = 1 << 20
_GIB = 1 << 30
_TOOL_TIMEOUT_S = 5.0
_ARM = ("aarch64", "arm64")
_NVIDIA_FIELDS = "index,name,memory.total,memory.free"
_STAT_LINE = re.compile(r"^(\w+) (\d+)$", re.MULTILINE)
# Integrated graphics reports a carve-out of this order as its own memory (Raphael: 64 MiB).
_SMALLEST_DISCRETE_BYTES = _GIB
# By the paths of the tools: processes that did not end in time.
_stuck: dict[str, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class CPU:
    """Cores that this process may use. `physical_count` excludes hyper-threads; both are at least 1.

    `is_arm`: a 64-bit Arm processor.
    """

    physical_count: int
    logical_count: int
    is_arm: bool = False


@dataclass(frozen=True, slots=True)
class GPU:
    """One accelerator. `is_unified`: its memory is the machine's own, shared with the CPU."""

    index: int
    name: str
    library: Literal["cuda", "rocm", "metal"]
    total_bytes: int
    free_bytes: int
    is_unified: bool = False


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


def read_machine(*, with_gpus: bool, with_integrated: bool = False) -> Machine:
    """Read this machine. `with_gpus`: the engine can use GPUs; asking the drivers takes up to seconds.
    `with_integrated`: integrated graphics counts too.

    Without GPUs this takes well under a millisecond on Linux.
    """
    cpu = read_cpu()
    total_bytes, free_bytes = read_memory()
    gpus = read_gpus(total_bytes, free_bytes, with_integrated=with_integrated) if with_gpus else ()
    return Machine(cpu, total_bytes, free_bytes, gpus)


# --- CPU ---------------------------------------------------------------------------------------------------


def read_cpu(root: Path = Path("/")) -> CPU:
    """Count the cores that this process may use."""
    if sys.platform == "darwin":
        return _read_mac_cpu()
    allowed = os.sched_getaffinity(0)
    logical = max(len(allowed), 1)
    physical = _count_physical_cores(root, allowed) or logical
    quota = read_cpu_quota(root)
    if quota is not None:
        # Threads beyond the quota would only be throttled: a quota of 2.5 cores feeds 2 threads.
        whole = max(int(quota), 1)
        logical, physical = min(logical, whole), min(physical, whole)
    return CPU(physical, logical, platform.machine().lower() in _ARM)


def _count_physical_cores(root: Path, allowed: set[int]) -> int:
    """Count distinct (package, core) pairs among the allowed CPUs; 0 if the kernel does not report them."""
    cores: set[tuple[str, str]] = set()
    for number in allowed:
        topology = root / f"sys/devices/system/cpu/cpu{number}/topology"
        core = _read_text(topology / "core_id")
        if not core:
            return 0
        cores.add((_read_text(topology / "physical_package_id"), core))
    return len(cores)


def read_cpu_quota(root: Path) -> float | None:
    """The cgroup's CPU limit in cores, the tightest of our group and those around it."""
    quotas: list[float] = []
    for folder in _cgroup_folders(root, "cpu"):
        v2 = _read_text(folder / "cpu.max").split()
        v1 = [_read_text(folder / "cpu.cfs_quota_us"), _read_text(folder / "cpu.cfs_period_us")]
        for quota, period in (v2[:2] if len(v2) >= 2 else ("", ""), v1):
            quota_us, period_us = _parse_int(quota), _parse_int(period)
            if quota_us is not None and period_us and quota_us > 0:
                quotas.append(quota_us / period_us)
    return min(quotas, default=None)


# --- memory ------------------------------------------------------------------------------------------------


def read_memory(root: Path = Path("/")) -> tuple[int, int]:
    """Total and free bytes; (0, 0) if the system does not report them."""
    if sys.platform == "darwin":
        return _read_mac_memory()
    total, free = parse_meminfo(_read_text(root / "proc/meminfo"))
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
    stat = {name: int(count) for name, count in _STAT_LINE.findall(_read_text(folder / "memory.stat"))}
    for limit_names, usage_name, reclaimable in (
        (
            ("memory.max", "memory.high"),
            "memory.current",
            ("inactive_file", "active_file", "slab_reclaimable"),
        ),
        (("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
    ):
        limits = [_parse_int(_read_text(folder / name)) for name in limit_names]
        if usage_name == "memory.usage_in_bytes":
            # A container may see only its own group; this is the tightest limit of the groups around it.
            limits.append(stat.get("hierarchical_memory_limit"))
        if known := [limit for limit in limits if limit is not None]:
            usage = _parse_int(_read_text(folder / usage_name)) or 0
            return min(known), max(usage - sum(stat.get(name, 0) for name in reclaimable), 0)
    return math.inf, 0


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders of our control group and all groups around it, version 2 or 1, innermost first.

    Inside a container the path that `/proc/self/cgroup` names may not exist; then its nearest existing
    parent, in the end the mount itself, stands for us.
    """
    for line in _read_text(root / "proc/self/cgroup").splitlines():
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


# --- GPUs --------------------------------------------------------------------------------------------------


def read_gpus(total_bytes: int, free_bytes: int, *, with_integrated: bool = False) -> tuple[GPU, ...]:
    """Ask each vendor's tool; `total_bytes` and `free_bytes` are the machine's, for unified memory."""
    if sys.platform == "darwin":
        return _metal_gpus(total_bytes, free_bytes) if platform.machine() == "arm64" else ()
    cuda = _run(["nvidia-smi", f"--query-gpu={_NVIDIA_FIELDS}", "--format=csv,noheader,nounits"])
    gpus = parse_nvidia_smi(cuda, total_bytes, free_bytes)
    if not gpus:
        rocm = _run(["rocm-smi", "--showproductname", "--showmeminfo", "vram", "--json"])
        gpus = parse_rocm_smi(rocm, with_integrated=with_integrated)
    return _visible(gpus)


def parse_nvidia_smi(text: str, total_bytes: int, free_bytes: int) -> tuple[GPU, ...]:
    """Parse `index, name, memory.total, memory.free` lines (MiB).

    A part with unified memory (GB10, Jetson) answers `[N/A]` for memory: it shares the machine's.
    """
    gpus = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) < 4 or not fields[0].isdigit():
            continue
        # A name may itself hold a comma; the other fields never do.
        name = ", ".join(fields[1:-2])
        total, free = _parse_int(fields[-2]), _parse_int(fields[-1])
        is_unified = total is None
        gpus.append(
            GPU(
                index=int(fields[0]),
                name=name,
                library="cuda",
                total_bytes=total * _MIB if total is not None else total_bytes,
                free_bytes=min(free_bytes, total_bytes) if is_unified else (free or 0) * _MIB,
                is_unified=is_unified,
            )
        )
    return tuple(gpus)


def parse_rocm_smi(text: str, *, with_integrated: bool = False) -> tuple[GPU, ...]:
    """Parse `rocm-smi --showproductname --showmeminfo vram --json`; integrated graphics is left out by default."""
    start = text.find("{")  # warnings may precede the object
    try:
        cards = json.loads(text[start:]) if start >= 0 else {}
    except ValueError:
        return ()
    gpus = []
    for key, card in cards.items() if isinstance(cards, dict) else ():
        number = re.fullmatch(r"card(\d+)", key)
        if number is None or not isinstance(card, dict):
            continue
        total = _parse_int(str(card.get("VRAM Total Memory (B)", "")))
        used = _parse_int(str(card.get("VRAM Total Used Memory (B)", "")))
        if total is None or (total < _SMALLEST_DISCRETE_BYTES and not with_integrated):
            continue
        name = str(card.get("Card Series") or card.get("Card series") or "AMD GPU")
        gpus.append(GPU(int(number[1]), name, "rocm", total, max(total - (used or 0), 0)))
    return tuple(sorted(gpus, key=lambda gpu: gpu.index))


def read_cards(root: Path = Path("/")) -> list[tuple[str, int]]:
    """The vendor's PCI number and the memory in bytes (0: unknown) of each graphics card that the kernel sees."""
    cards = []
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        if _read_text(device / "class").startswith("0x03"):  # display controllers
            memory_bytes = _parse_int(_read_text(device / "mem_info_vram_total")) or 0
            cards.append((_read_text(device / "vendor"), memory_bytes))
    return cards


def _metal_gpus(total_bytes: int, free_bytes: int) -> tuple[GPU, ...]:
    # What Metal lets one process wire: two thirds of the memory, three quarters above 36 GiB.
    share = total_bytes * 3 // 4 if total_bytes > 36 * _GIB else total_bytes * 2 // 3
    return (GPU(0, "Apple GPU", "metal", share, min(share, free_bytes), is_unified=True),)


def _visible(gpus: tuple[GPU, ...]) -> tuple[GPU, ...]:
    """Apply the variables that hide GPUs from the engine. Identifiers other than numbers are ignored."""
    names = (
        ("CUDA_VISIBLE_DEVICES",)
        if gpus and gpus[0].library == "cuda"
        else ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
    )
    for name in names:
        text = os.environ.get(name)
        if text is None:
            continue
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        if all(re.fullmatch(r"-?\d+", entry) for entry in entries):
            # An invalid entry such as -1 ends the list, as in the CUDA runtime.
            wanted: list[int] = []
            for entry in entries:
                if int(entry) < 0:
                    break
                wanted.append(int(entry))
            gpus = tuple(gpu for gpu in gpus if gpu.index in wanted)
    return gpus


# --- macOS -------------------------------------------------------------------------------------------------


def _read_mac_cpu() -> CPU:
    logical = os.cpu_count() or 1
    # Efficiency cores slow down the others at every barrier: if the chip has both, count the fast ones.
    text = _run(["sysctl", "-n", "hw.perflevel0.physicalcpu"]) or _run(["sysctl", "-n", "hw.physicalcpu"])
    return CPU(_parse_int(text) or logical, logical, platform.machine().lower() in _ARM)


def _read_mac_memory() -> tuple[int, int]:
    total = _parse_int(_run(["sysctl", "-n", "hw.memsize"])) or 0
    return total, min(parse_vm_stat(_run(["vm_stat"])), total)


def parse_vm_stat(text: str) -> int:
    """Bytes that macOS can hand out: free, speculative, inactive and purgeable pages."""
    found = re.search(r"page size of (\d+) bytes", text)
    page_bytes = int(found[1]) if found else 4096
    pages = {
        name: int(value) for name, value in re.findall(r'^"?Pages ([\w ]+)"?:\s+(\d+)', text, re.MULTILINE)
    }
    return page_bytes * sum(pages.get(name, 0) for name in ("free", "speculative", "inactive", "purgeable"))


# --- reading -----------------------------------------------------------------------------------------------


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _parse_int(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _run(command: Sequence[str]) -> str:
    """A tool's output, empty when it is missing, fails or takes too long (a driver that hangs).

    A process that hangs in a driver may survive SIGKILL. Nobody waits for it, and its tool is not run meanwhile.
    """
    path = shutil.which(command[0])
    if path is None or (path in _stuck and _stuck[path].poll() is None):
        return ""
    try:
        process = subprocess.Popen(
            [path, *command[1:]],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return ""
    assert process.stdout is not None
    with process.stdout:
        try:
            output, _ = process.communicate(timeout=_TOOL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            _stuck[path] = process
            return ""
    return output.decode("utf-8", "replace").strip() if process.returncode == 0 else ""
