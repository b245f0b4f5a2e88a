"""A few worker processes and who gets them next.

Each worker belongs to a thread, which starts it with the first job, hands it jobs and replaces it when it dies.
Jobs of one kind (the job function's module) wait in their own queue. The queues take turns, and one kind never
occupies all workers, so that a client that sends slow templates does not delay the images of others.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from functools import lru_cache
from typing import Any, TypeVar

from corral.errors import QueueFullError, WorkerError
from corral.workers.process import Limits, WorkerProcess
from corral.workers.wire import dump_chunks

_T = TypeVar("_T")
_IDLE_S = 60.0
# As many as may wait for a slot of an engine: a conversation rendered in a worker is treated alike.
_MAX_WAITING = 512
_MEMORY_BYTES = 256 << 20
_RESULT_BYTES = 64 << 20
# The default of CORRAL_WORK_TIMEOUT.
_CPU_S = 5.0
_LEAST_CPU_S = 0.1


class _Job:
    """A waiting or running job."""

    def __init__(self, kind: str, chunks: list[bytes], limits: Limits) -> None:
        self.kind = kind
        self.chunks = chunks
        self.limits = limits
        self.future: Future[Any] = Future()
        self.worker: WorkerProcess | None = None
        self.is_dropped = False


class WorkerPool:
    """At most `max_workers` processes, started when they are needed and ended after `idle_s` without a job.

    At most `max_waiting` jobs of one kind wait. Any thread and any event loop may use a pool.
    """

    def __init__(
        self, max_workers: int = 0, *, max_waiting: int = _MAX_WAITING, idle_s: float = _IDLE_S
    ) -> None:
        self._max_workers = max_workers or min(max(os.cpu_count() or 1, 2), 3)
        self._max_running_of_kind = max(self._max_workers - 1, 1)
        self._max_waiting = max_waiting
        self._idle_s = idle_s
        # The factor for all limits of time: machines differ.
        self.time_scale = 1.0
        self._changed = threading.Condition()
        self._lines: dict[str, deque[_Job]] = {}
        self._running: Counter[str] = Counter()
        self._active: set[_Job] = set()
        self._workers: set[WorkerProcess] = set()
        self._thread_count = self._idle_count = 0

    async def run(
        self,
        job: Callable[..., _T],
        *args: Any,
        cpu_s: float = _CPU_S,
        deadline_s: float | None = None,
        memory_bytes: int = _MEMORY_BYTES,
        result_bytes: int = _RESULT_BYTES,
        what: str = "a job",
        **kwargs: Any,
    ) -> _T:
        """What `job(*args, **kwargs)` returns, worked out in another process within limits.

        `job` is a function at the top of a module of Corral; the worker imports that module, so it should import
        little. It must not depend on anything that the server changed after it started. Arguments are whatever can
        be pickled. The result consists of plain values (None, numbers, texts, bytes, lists, tuples, dicts, sets) and
        Corral's dataclasses; others are refused.

        `cpu_s` bounds processor time (times `time_scale`, which CORRAL_WORK_TIMEOUT sets), and `deadline_s` wall time
        from the start of the work (without one: enough for a machine that is busy with much else). `memory_bytes` is
        what the job may allocate, `result_bytes` the size of what it returns. A worker that exceeds a limit is
        killed, as is one whose caller is cancelled. `what` begins the text of a limit's error: "the template",
        "the JSON schema". A round trip to a running worker costs about 0.3 ms and a copy of what is sent; starting
        one costs a tenth of a second.

        Raises:
            WorkerLimitError: more time, memory or output than allowed.
            CorralError: what the job raised, in its class if that is one of `corral.errors`.
            QueueFullError: too many jobs of this kind wait.
            WorkerError: the job raised another exception, or its worker died or could not be started.
        """
        cpu_s *= self.time_scale
        wall_s = 10 * cpu_s + 10 if deadline_s is None else deadline_s
        limits = Limits(cpu_s, wall_s, memory_bytes, result_bytes, what)
        waiting = _Job(job.__module__, dump_chunks((job, args, kwargs)), limits)
        self._submit(waiting)
        try:
            value: _T = await asyncio.wrap_future(waiting.future)
        except asyncio.CancelledError:
            self._drop(waiting)
            raise
        return value

    def close(self) -> None:
        """End all workers; jobs that run or wait fail. Later jobs start new ones."""
        with self._changed:
            unfinished = [*self._active, *(job for line in self._lines.values() for job in line)]
            for job in unfinished:
                job.is_dropped = True
            self._lines.clear()
            for worker in self._workers:
                worker.kill()
            self._changed.notify_all()
        for job in unfinished:
            _finish(job, error=WorkerError("the server is shutting down"))

    def _submit(self, job: _Job) -> None:
        with self._changed:
            line = self._lines.setdefault(job.kind, deque())
            if len(line) >= self._max_waiting:
                raise QueueFullError
            line.append(job)
            self._changed.notify()
            is_short = sum(map(len, self._lines.values())) > self._idle_count
            if is_short and self._thread_count < self._max_workers:
                self._thread_count += 1
                threading.Thread(target=self._serve, name="corral-worker", daemon=True).start()

    def _drop(self, job: _Job) -> None:
        """Nobody waits for a job any more: take it out of its queue, or stop it."""
        with self._changed:
            job.is_dropped = True
            line = self._lines.get(job.kind)
            if line is not None and job in line:
                line.remove(job)
            elif job.worker is not None:
                job.worker.kill()

    def _next(self, worker: WorkerProcess | None) -> _Job | None:
        """The next job of the queue whose turn it is; None when an idle worker is to end."""
        timeout_s = None if worker is None else self._idle_s
        with self._changed:
            self._idle_count += 1
            try:
                while (job := self._take()) is None:
                    is_called = self._changed.wait(timeout_s)
                    if worker is not None and not (is_called and worker.is_usable):
                        return self._take()
                return job
            finally:
                self._idle_count -= 1

    def _take(self) -> _Job | None:
        for kind in list(self._lines):
            line = self._lines[kind]
            if line and self._running[kind] < self._max_running_of_kind:
                job = line.popleft()
                self._lines[kind] = self._lines.pop(kind)  # its next turn comes last
                if not line:
                    del self._lines[kind]
                self._running[kind] += 1
                self._active.add(job)
                return job
        return None

    def _serve(self) -> None:
        """The life of a thread: one job after another, with a worker that is replaced when it dies."""
        worker: WorkerProcess | None = None
        while True:
            job = self._next(worker)
            if job is not None:
                worker = self._work(job, worker)
                self._leave(job)
            elif worker is not None:
                self._discard(worker)
                worker = None

    def _leave(self, job: _Job) -> None:
        with self._changed:
            self._active.discard(job)
            self._running[job.kind] -= 1
            if not self._running[job.kind]:
                del self._running[job.kind]
            self._changed.notify()

    def _work(self, job: _Job, worker: WorkerProcess | None) -> WorkerProcess | None:
        try:
            if worker is None or not worker.is_usable:
                if worker is not None:
                    self._discard(worker)
                worker = None
                worker = self._start()
            with self._changed:
                if job.is_dropped:
                    return worker
                job.worker = worker
            value = worker.do(job.chunks, job.limits)
        except BaseException as error:
            _finish(job, error=error)
        else:
            _finish(job, value=value)
        with self._changed:
            job.worker = None
        job.chunks = []
        if worker is None or worker.is_usable:
            return worker
        self._discard(worker)
        return None

    def _start(self) -> WorkerProcess:
        worker = WorkerProcess()
        with self._changed:
            self._workers.add(worker)
        return worker

    def _discard(self, worker: WorkerProcess) -> None:
        with self._changed:
            self._workers.discard(worker)
        worker.close()


def _finish(job: _Job, *, value: Any = None, error: BaseException | None = None) -> None:
    # Nobody waits for a cancelled future.
    with contextlib.suppress(InvalidStateError):
        if error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(value)


@lru_cache(maxsize=1)
def shared_pool() -> WorkerPool:
    """The pool of this process."""
    return WorkerPool()


def set_work_timeout(cpu_s: float) -> None:
    """Set how much processor time a typical job of this process may take; others in proportion."""
    shared_pool().time_scale = max(cpu_s, _LEAST_CPU_S) / _CPU_S


async def run_job(job: Callable[..., _T], *args: Any, **options: Any) -> _T:
    """`WorkerPool.run` of the pool of this process; see there."""
    value: _T = await shared_pool().run(job, *args, **options)
    return value
