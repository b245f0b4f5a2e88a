"""Which processors of Linux are worth a thread of an engine: one a core, and none on the slow cores of a mixed chip.

The engine's threads wait for each other at every step, so the slowest core sets the pace of all. Ollama and llama.cpp
leave out the efficiency cores of Intel's mixed chips too.
"""

from __future__ import annotations

from pathlib import Path

from corral.systemtext import parse_int, read_text

# Intel: the kernel lists the kinds of cores of a mixed chip under these names.
_FAST_KIND = "cpu_core"
_SLOW_KINDS = ("cpu_atom", "cpu_lowpower")
# Arm and others: `cpu_capacity` is 1024 for the fastest core. Big cores beside a prime one have 75 % and more of it,
# little ones 55 % and less.
_FAST_SHARE = 2 / 3
_MAX_CPUS = 1 << 16


def fast_cpus(root: Path, allowed: set[int]) -> set[int]:
    """Those of the allowed CPUs that are not slower by design than the others; all of them if that is not known."""
    devices = root / "sys/devices"
    if read_text(devices / _FAST_KIND / "cpus"):
        slow = set().union(*(parse_cpu_list(read_text(devices / kind / "cpus")) for kind in _SLOW_KINDS))
        return allowed - slow or allowed
    capacities = {
        number: parse_int(read_text(devices / f"system/cpu/cpu{number}/cpu_capacity")) or 0
        for number in allowed
    }
    best = max(capacities.values(), default=0)
    if min(capacities.values(), default=0) <= 0:
        return allowed
    return {number for number, capacity in capacities.items() if capacity >= best * _FAST_SHARE}


def count_cores(root: Path, cpus: set[int]) -> int:
    """Count distinct (package, core) pairs; as many as CPUs if the kernel does not report them."""
    cores: set[tuple[str, str]] = set()
    for number in cpus:
        topology = root / f"sys/devices/system/cpu/cpu{number}/topology"
        core = read_text(topology / "core_id")
        if (parse_int(core) or 0) < 0 or not core:  # -1: not known
            return len(cpus)
        cores.add((read_text(topology / "physical_package_id"), core))
    return len(cores)


def parse_cpu_list(text: str) -> set[int]:
    """The numbers in a list like `0-3,8,10-11`; what cannot be read counts as absent."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        begin, end = parse_int(first), parse_int(last or first)
        if begin is not None and end is not None and 0 <= begin <= end < _MAX_CPUS:
            found.update(range(begin, end + 1))
    return found
