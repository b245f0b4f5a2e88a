"""Worker processes: what jobs may do, what ends them, who gets the next turn. Jobs are functions of Python itself."""

from __future__ import annotations

import asyncio
import builtins
import hashlib
import io
import operator
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.errors import InvalidRequestError, QueueFullError, WorkerError, WorkerLimitError
from corral.names import ModelName
from corral.types import Message, ToolCall
from corral.workers.pool import WorkerPool
from corral.workers.wire import dump_chunks, load_result, restored_error

pytestmark = pytest.mark.process

ENDS_HANGS_S = 60.0


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(2, max_waiting=4)
    yield pool
    pool.close()


@pytest.fixture
def single() -> Iterator[WorkerPool]:
    """A pool of one worker: each job is done by the same."""
    pool = WorkerPool(1)
    yield pool
    pool.close()


def _run(pool: WorkerPool, job: Any, *args: Any, **options: Any) -> Any:
    return asyncio.run(asyncio.wait_for(pool.run(job, *args, **options), ENDS_HANGS_S))


def _whatever() -> None:
    """A job that only a test has."""


def _is_gone(pid: int) -> bool:
    """Whether a process ends within the time that only a hang exceeds; a zombie has ended but counts as there."""
    end_s = time.monotonic() + ENDS_HANGS_S
    while time.monotonic() < end_s:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_a_job_returns_plain_values_and_our_dataclasses(pool: WorkerPool) -> None:
    value = [
        Message("user", "grüß\ud800", tool_calls=(ToolCall("f", {"a": [1, 2.5, None]}),)),
        {"x": b"\0" * 9},
    ]
    assert _run(pool, operator.itemgetter(0), (value,)) == value


def test_the_worker_is_kept_warm_and_is_another_process(single: WorkerPool) -> None:
    first = _run(single, os.getpid)
    assert first != os.getpid()
    assert _run(single, os.getpid) == first


def test_a_worker_that_has_grown_is_replaced(single: WorkerPool) -> None:
    first = _run(single, os.getpid)
    large = {"n": 1 << 18, "r": 8, "p": 1, "maxmem": 1 << 30}  # takes 256 MiB
    assert len(_run(single, hashlib.scrypt, b"x", salt=b"y", **large, memory_bytes=1 << 30, cpu_s=100)) == 64
    assert _run(single, os.getpid) != first


def test_a_large_argument_and_a_large_result_pass(pool: WorkerPool) -> None:
    data = os.urandom(1 << 20) * 24
    assert _run(pool, operator.add, data, b"!") == data + b"!"


def test_processor_time_is_bounded_in_the_middle_of_a_c_function(single: WorkerPool) -> None:
    before = _run(single, os.getpid)
    with pytest.raises(WorkerLimitError, match=r"the sum takes too long: more than 0.2 s of processor time"):
        _run(single, pow, 3, 10**9, cpu_s=0.2, what="the sum")
    assert _is_gone(before)
    assert _run(single, operator.add, 1, 1) == 2


def test_wall_time_is_bounded(pool: WorkerPool) -> None:
    with pytest.raises(WorkerLimitError, match=r"more than 0\.3 s"):
        _run(pool, time.sleep, 1000, deadline_s=0.3)


def test_memory_is_bounded(pool: WorkerPool) -> None:
    with pytest.raises(WorkerLimitError, match="the text needs too much memory: more than 64 MiB"):
        _run(pool, operator.mul, b"a", 1 << 30, memory_bytes=64 << 20, what="the text")
    assert len(_run(pool, operator.mul, b"a", 32 << 20, memory_bytes=64 << 20)) == 32 << 20


def test_the_size_of_a_result_is_bounded(pool: WorkerPool) -> None:
    with pytest.raises(WorkerLimitError, match="has too large a result"):
        _run(pool, operator.mul, b"a", 1 << 20, result_bytes=1000)


def test_a_crash_is_an_error_that_says_so(pool: WorkerPool) -> None:
    with pytest.raises(WorkerError, match=r"ended unexpectedly \(status -6\) while processing the job"):
        _run(pool, os.abort, what="the job")
    with pytest.raises(WorkerError, match="ended unexpectedly"):
        _run(pool, os._exit, 0)
    assert _run(pool, operator.add, 1, 1) == 2


def test_an_exception_of_a_job_keeps_its_class_where_it_is_ours(pool: WorkerPool) -> None:
    with pytest.raises(InvalidRequestError, match="invalid model name"):
        _run(pool, ModelName.parse, "::")
    with pytest.raises(WorkerError, match="failed: ZeroDivisionError"):
        _run(pool, operator.truediv, 1, 0)
    with pytest.raises(WorkerError, match="failed: ModuleNotFoundError"):
        _run(pool, _whatever)  # of a module that no worker can import


def test_output_of_a_library_does_not_look_like_a_reply(pool: WorkerPool) -> None:
    assert _run(pool, builtins.print, "x" * 100, flush=True) is None
    assert _run(pool, operator.add, 1, 1) == 2


def test_a_worker_inherits_neither_environment_nor_descriptors(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    secret = os.open(tmp_path / "secret", os.O_CREAT | os.O_RDWR)
    try:
        os.set_inheritable(secret, True)
        assert _run(pool, os.getenv, "HF_TOKEN") is None
        assert _run(pool, os.getenv, "HOME") is None
        with pytest.raises(WorkerError, match="Bad file descriptor"):
            _run(pool, os.lseek, secret, 0, 0)
    finally:
        os.close(secret)


def test_a_cancelled_caller_kills_its_job(single: WorkerPool) -> None:
    async def scenario() -> None:
        pid = await single.run(os.getpid)
        task = asyncio.create_task(single.run(time.sleep, 1000))
        while not any(job.worker for job in single._active if job.kind == "time"):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(_is_gone, pid)
        assert await single.run(operator.add, 1, 1) == 2

    asyncio.run(asyncio.wait_for(scenario(), ENDS_HANGS_S))


def test_one_kind_never_has_all_workers_and_its_line_is_bounded(pool: WorkerPool) -> None:
    async def scenario() -> None:
        sleeper = asyncio.create_task(pool.run(time.sleep, 1000))
        while pool._running["time"] < 1:
            await asyncio.sleep(0)
        waiting = [asyncio.create_task(pool.run(time.sleep, 1000)) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await pool.run(time.sleep, 1000)
        assert await pool.run(operator.add, 1, 1) == 2  # jobs of another kind pass by
        waiting[0].cancel()
        await asyncio.sleep(0)
        last = asyncio.create_task(pool.run(time.time))
        for task in (sleeper, *waiting[1:]):
            task.cancel()
        assert await last > 0

    asyncio.run(asyncio.wait_for(scenario(), ENDS_HANGS_S))


def test_an_idle_worker_ends_and_the_next_job_starts_another() -> None:
    pool = WorkerPool(1, idle_s=0.05)
    first = _run(pool, os.getpid)
    assert _is_gone(first)
    assert _run(pool, os.getpid) != first
    pool.close()


def test_closing_ends_workers_and_fails_what_waits(pool: WorkerPool) -> None:
    async def scenario() -> None:
        pids = [await pool.run(os.getpid)]
        tasks = [asyncio.create_task(pool.run(time.sleep, 1000)) for _ in range(3)]
        while not pool._running["time"]:
            await asyncio.sleep(0)
        pool.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, WorkerError) for result in results)
        assert await asyncio.to_thread(_is_gone, pids[0])

    asyncio.run(asyncio.wait_for(scenario(), ENDS_HANGS_S))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_the_server(end: signal.Signals) -> None:
    program = """
        import asyncio, operator, os, time
        from corral.workers.pool import WorkerPool
        async def main():
            pool = WorkerPool(2)
            print(await pool.run(os.getpid), flush=True)
            await pool.run(pow, 3, 10**9, cpu_s=1000)
        asyncio.run(main())
    """
    server = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    with server, server.stdout:
        pid = int(server.stdout.readline())
        server.send_signal(end)
    assert _is_gone(pid)


@pytest.mark.parametrize("value", [os.system, Path("/"), subprocess.Popen, ValueError("x")])
def test_a_reply_with_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(Exception, match="must not return"):
        load_result(io.BytesIO(b"".join(dump_chunks(value))))


def test_restored_errors_are_never_more_than_our_own_classes() -> None:
    def restored(*names: str) -> str:
        return type(restored_error(names, "m", "h")).__name__

    assert restored("UnknownError", "InvalidRequestError", "CorralError") == "InvalidRequestError"
    assert restored("DigestMismatchError", "StoreError", "CorralError") == "StoreError"
    assert restored("annotations") == restored("__builtins__") == restored() == "CorralError"
    assert restored_error(["StoreError"], "m", "h").hint == "h"
