"""The program of a worker: `python -m corral.workers.child`. It does one job after another, each within its limits.

Processor time is bounded by a timer whose signal ends the process whatever it is doing, memory by the system's own
limits. A worker that has grown, or has reached its memory limit, ends after the reply.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from corral.childlimits import limit_self
from corral.errors import CorralError
from corral.workers.wire import EXIT_MEMORY, FAILED, MEMORY, REFUSED, REPLY, REQUEST, RESULT, dump_chunks

_NICE = 5
# Mappings that do not hold data of a job: guard pages, thread stacks, files.
_ADDRESS_SLACK_BYTES = 128 << 20
# A worker that was larger than this is replaced.
_MAX_KEPT_BYTES = 256 << 20
_WATCH_INTERVAL_S = 0.05
_UNLIMITED = resource.RLIM_INFINITY


def _read(size: int) -> bytearray:
    """Exactly `size` bytes from stdin; ends the process when stdin does."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = os.readv(0, [view[: 1 << 20]])
        if not count:
            os._exit(0)  # the server has gone
        view = view[count:]
    return data


def _peak_bytes() -> int:
    """The most memory that this program has had."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The system's own count includes the process that this one was forked from.
        peak = Path("/proc/self/status").read_bytes().split(b"VmHWM:", 1)[1]
        return int(peak.split(None, 1)[0]) * 1024
    peak_size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_size if sys.platform == "darwin" else peak_size * 1024


def _mapped_bytes() -> tuple[int, int]:
    """Address space and private writable memory of this process; zeros where the system does not report them."""
    try:
        fields = Path("/proc/self/statm").read_bytes().split()
        return int(fields[0]) * resource.getpagesize(), int(fields[5]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0, 0


def _set_soft(kind: int, limit_bytes: int) -> None:
    with contextlib.suppress(ValueError, OSError):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit_bytes if hard == _UNLIMITED else min(limit_bytes, hard), hard))


class _Watch:
    """Ends the process when it grows too large, on systems without such a limit."""

    def __init__(self) -> None:
        self.limit_bytes = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(_WATCH_INTERVAL_S)
            if self.limit_bytes and _peak_bytes() > self.limit_bytes:
                os._exit(EXIT_MEMORY)


@contextlib.contextmanager
def _limits(cpu_s: float, memory_bytes: int, watch: _Watch | None) -> Iterator[None]:
    space, data = _mapped_bytes()
    if watch is None:
        _set_soft(resource.RLIMIT_AS, space + memory_bytes + _ADDRESS_SLACK_BYTES)
        _set_soft(resource.RLIMIT_DATA, data + memory_bytes)
    else:
        watch.limit_bytes = _peak_bytes() + memory_bytes
    # SIGPROF is not caught: it ends the process in the middle of a C function, too.
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        if watch is None:
            _set_soft(resource.RLIMIT_AS, _UNLIMITED)
            _set_soft(resource.RLIMIT_DATA, _UNLIMITED)
        else:
            watch.limit_bytes = 0


def _do(order: bytearray, cpu_s: float, memory_bytes: int, watch: _Watch | None) -> tuple[int, list[bytes]]:
    try:
        job, args, kwargs = pickle.loads(order)
        order.clear()
        with _limits(cpu_s, memory_bytes, watch):
            return RESULT, dump_chunks(job(*args, **kwargs))
    except CorralError as error:
        names = tuple(kind.__name__ for kind in type(error).__mro__)
        return REFUSED, dump_chunks((names, str(error), error.hint))
    except MemoryError:
        return MEMORY, dump_chunks(None)
    except Exception as error:
        return FAILED, dump_chunks(f"{type(error).__name__}: {error}"[:2000])


def main() -> None:
    """Do jobs until stdin ends."""
    reply_to = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not look like a reply
    limit_self(oom_score=800, niceness=_NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    watch = None if _mapped_bytes()[0] else _Watch()
    out = os.fdopen(reply_to, "wb")
    while True:
        cpu_s, memory_bytes, length = REQUEST.unpack(_read(REQUEST.size))
        kind, chunks = _do(_read(length), cpu_s, memory_bytes, watch)
        is_last = kind == MEMORY or _peak_bytes() > _MAX_KEPT_BYTES
        out.write(REPLY.pack(kind, is_last, sum(map(len, chunks))))
        out.writelines(chunks)
        out.flush()
        if is_last:
            os._exit(0)
        del chunks


if __name__ == "__main__":
    main()
