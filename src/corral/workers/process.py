"""One worker process as its owner sees it: started, given a job, killed. All of it blocks: see `pool.py`."""

from __future__ import annotations

import io
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corral
from corral.childenv import worker_environment
from corral.errors import CorralError, WorkerError, WorkerLimitError
from corral.workers.wire import (
    EXIT_MEMORY,
    MEMORY,
    REFUSED,
    REPLY,
    REQUEST,
    RESULT,
    load_result,
    restored_error,
)

_STEP_BYTES = 1 << 20
_ENDED = "a worker process ended unexpectedly"


@dataclass(frozen=True, slots=True)
class Limits:
    """`cpu_s` is processor time, `deadline_s` wall time, `memory_bytes` what a job may add to an idle worker.

    `what` names the work in errors, `result_bytes` bounds what comes back, as pickled.
    """

    cpu_s: float
    deadline_s: float
    memory_bytes: int
    result_bytes: int
    what: str

    def time_error(self, limit_s: float, kind: str) -> WorkerLimitError:
        return WorkerLimitError(f"{self.what} takes too long: more than {limit_s:g} s{kind}")

    def memory_error(self) -> WorkerLimitError:
        return WorkerLimitError(f"{self.what} needs too much memory: more than {self.memory_bytes >> 20} MiB")


class WorkerProcess:
    """A running worker. Methods may be called from one thread, `kill` from any."""

    def __init__(self) -> None:
        env = worker_environment()
        env["PYTHONPATH"] = str(Path(corral.__file__).parent.parent)
        env["MALLOC_ARENA_MAX"] = "1"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-X", "utf8", "-m", "corral.workers.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=env,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as exc:
            raise WorkerError(f"could not start a worker process: {exc.strerror or exc}") from exc
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._stdin, False)
        os.set_blocking(self._stdout, False)
        self.is_usable = True

    def kill(self) -> None:
        """End it at once; `close` must still be called by the owner."""
        self.is_usable = False
        self._process.kill()

    def close(self) -> int:
        """Kill it and wait for its end, so that no process is left behind. Returns its status."""
        self.kill()
        status = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return status

    def do(self, chunks: list[bytes], limits: Limits) -> Any:
        """Have a job done: `chunks` are the pickle of `(job, args, kwargs)`.

        Raises:
            WorkerLimitError: it took more than its limits.
            CorralError: what the job raised.
            WorkerError: the worker died, or the job failed with another exception.
        """
        deadline_s = time.monotonic() + limits.deadline_s
        try:
            head = REQUEST.pack(limits.cpu_s, limits.memory_bytes, sum(map(len, chunks)))
            self._send([head, *chunks], deadline_s)
            kind, is_last, length = REPLY.unpack(self._receive(REPLY.size, deadline_s).getvalue())
            if length > limits.result_bytes:
                raise WorkerLimitError(
                    f"{limits.what} has too large a result: more than {limits.result_bytes} bytes"
                )
            value = load_result(self._receive(length, deadline_s))
        except TimeoutError:
            self.is_usable = False
            raise limits.time_error(limits.deadline_s, "") from None
        except (EOFError, BrokenPipeError):
            raise self._death(limits) from None
        except WorkerLimitError:
            self.is_usable = False
            raise
        except Exception as exc:
            # Not a valid reply: a process that wrote it must not get another job.
            self.is_usable = False
            raise WorkerError(f"{_ENDED}: {type(exc).__name__}") from exc
        self.is_usable = self.is_usable and not is_last
        if kind == RESULT:
            return value
        raise _error(kind, value, limits)

    def _death(self, limits: Limits) -> CorralError:
        is_ours = not self.is_usable
        self.is_usable = False
        try:
            status = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            status = self.close()
        if is_ours:
            return WorkerError(f"{_ENDED}: it was stopped")
        if status == -signal.SIGPROF:
            return limits.time_error(limits.cpu_s, " of processor time")
        if status in (-signal.SIGKILL, EXIT_MEMORY):
            return limits.memory_error()
        return WorkerError(f"{_ENDED} (status {status}) while processing {limits.what}")

    def _send(self, chunks: list[bytes], deadline_s: float) -> None:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                try:
                    view = view[os.write(self._stdin, view[:_STEP_BYTES]) :]
                except BlockingIOError:
                    _wait(self._stdin, select.POLLOUT, deadline_s)

    def _receive(self, size: int, deadline_s: float) -> io.BytesIO:
        data = io.BytesIO()
        while (missing := size - data.tell()) > 0:
            try:
                part = os.read(self._stdout, min(missing, _STEP_BYTES))
            except BlockingIOError:
                _wait(self._stdout, select.POLLIN, deadline_s)
                continue
            if not part:
                raise EOFError
            data.write(part)
        data.seek(0)
        return data


def _wait(descriptor: int, event: int, deadline_s: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    left_s = deadline_s - time.monotonic()
    if left_s <= 0 or not poll.poll(left_s * 1000):
        raise TimeoutError


def _error(kind: int, value: Any, limits: Limits) -> CorralError:
    if kind == REFUSED and isinstance(value, tuple) and len(value) == 3:
        return restored_error([str(name) for name in value[0]], str(value[1]), str(value[2]))
    if kind == MEMORY:
        return limits.memory_error()
    return WorkerError(f"{limits.what} failed: {value}")
