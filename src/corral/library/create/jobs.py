"""Runs one order in a worker process (see `worker.py`) and forwards its progress. Cancelling kills the process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from corral import errors
from corral.childenv import child_environment
from corral.devices import read_memory
from corral.digest import Digest
from corral.errors import CorralError

# Takes done and total bytes.
OnProgress = Callable[[int, int], Awaitable[None]]

_MAX_LINE_BYTES = 1 << 20
_LOG_TAIL_BYTES = 2000
_LEAST_MEMORY_BYTES = 1 << 30
_CLOSE_TIMEOUT_S = 10.0


class JobResult:
    """The file that a job made. `method` is how a local file was imported."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.digest = Digest.parse(value["digest"])
        self.size_bytes: int = value["size"]
        self.method: str = value["method"]
        self.modified_ns: int = value.get("modified_ns", 0)


class Jobs:
    """Worker processes, a limited number at a time: more would compete for the same disk and cores."""

    def __init__(self, max_running: int = 2) -> None:
        self._slots = asyncio.Semaphore(max_running)

    async def run(self, order: dict[str, Any], on_progress: OnProgress) -> JobResult:
        """Run an order, after waiting for a free slot.

        Raises:
            CorralError: the worker's error, in its own class; or the worker exited without a result.
        """
        async with self._slots:
            process = await self._spawn(order)
            log = asyncio.ensure_future(_read_tail(process.stderr))
            try:
                result = await _follow(process, on_progress)
                if result is not None:
                    return result
                await process.wait()
                raise CorralError(_death(process.returncode, await log))
            finally:
                await _end(process)
                log.cancel()

    async def _spawn(self, order: dict[str, Any]) -> asyncio.subprocess.Process:
        _, free_bytes = await asyncio.to_thread(read_memory)
        limit_bytes = max(free_bytes * 3 // 4, _LEAST_MEMORY_BYTES) if free_bytes else 0
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "corral.library.create.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=child_environment(),
                start_new_session=True,
                limit=_MAX_LINE_BYTES,
            )
        except OSError as exc:
            raise CorralError(f"could not start a worker process: {exc}") from exc
        assert process.stdin is not None
        process.stdin.write(json.dumps({**order, "memory_limit_bytes": limit_bytes}).encode() + b"\n")
        return process


async def _follow(process: asyncio.subprocess.Process, on_progress: OnProgress) -> JobResult | None:
    """Forward progress until the result; None if the process ends without one."""
    assert process.stdout is not None
    while line := await process.stdout.readline():
        message = json.loads(line)
        if "progress" in message:
            await on_progress(*message["progress"])
        elif "error" in message:
            raise _error(message["error"])
        else:
            return JobResult(message["result"])
    return None


def _error(value: dict[str, str]) -> CorralError:
    """The error of a worker, as the nearest base class that can be constructed from a message."""
    kind = getattr(errors, value["kind"], CorralError)
    near = next(c for c in kind.__mro__ if c is CorralError or "__init__" not in vars(c))
    error = near(value["message"], hint=value["hint"])
    assert isinstance(error, CorralError)
    return error


def _death(code: int | None, log_tail: str) -> str:
    if code == -signal.SIGKILL:
        return "the worker process was killed, probably for lack of memory"
    last = log_tail.strip().splitlines()[-1:] or ["no output"]
    return f"the worker process exited unexpectedly (status {code}): {last[0]}"


async def _read_tail(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    tail = b""
    while data := await stream.read(4096):
        tail = (tail + data)[-_LOG_TAIL_BYTES:]
    return tail.decode("utf-8", "replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the process and wait for its end, even if cancelled again."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    waiting = asyncio.ensure_future(process.wait())
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait({waiting}, timeout=_CLOSE_TIMEOUT_S)
    if process.stdin is not None:
        process.stdin.close()
