"""Figures of the server's own process, under the names that all Prometheus clients give them."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from corral.metrics.instruments import Gauge, Sample

_STATUS = Path("/proc/self/status")
_DESCRIPTORS = ("/proc/self/fd", "/dev/fd")
_START_S = time.time()


def process_families() -> list[Gauge]:
    """Processor time, memory and descriptors; what a system does not tell is left out."""
    return [
        Gauge(
            "process_cpu_seconds_total",
            "Processor time of the server, without engines.",
            (),
            _cpu,
            kind="counter",
        ),
        Gauge(
            "process_resident_memory_bytes", "Resident memory of the server.", (), lambda: _memory("VmRSS")
        ),
        Gauge("process_virtual_memory_bytes", "Address space of the server.", (), lambda: _memory("VmSize")),
        Gauge("process_open_fds", "Open descriptors.", (), _open_descriptors),
        Gauge("process_max_fds", "Limit of open descriptors.", (), _descriptor_limit),
        Gauge("process_start_time_seconds", "Start, as Unix time.", (), lambda: [((), _START_S)]),
    ]


def _cpu() -> Iterable[Sample]:
    times = os.times()
    return [((), times.user + times.system)]


def _memory(key: str) -> Iterable[Sample]:
    try:
        text = _STATUS.read_text()
    except OSError:
        if key != "VmRSS":
            return []
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the nearest thing outside Linux
        return [((), peak if sys.platform == "darwin" else peak * 1024)]
    words = text.partition(f"{key}:")[2].split(maxsplit=1)
    return [((), int(words[0]) * 1024)] if words else []


def _open_descriptors() -> Iterable[Sample]:
    for folder in _DESCRIPTORS:
        try:
            return [((), sum(1 for _ in Path(folder).iterdir()) - 1)]  # without the one that lists
        except OSError:
            continue
    return []


def _descriptor_limit() -> Iterable[Sample]:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return [] if limit == resource.RLIM_INFINITY else [((), limit)]
