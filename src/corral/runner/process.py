"""The life of one engine process: started, reported ready, ended. It knows nothing of requests.

Its stdout carries load progress, its stderr the engine's log. Its stdin carries nothing: as long as it is open, the
child knows that the server lives. It is ended with SIGKILL, because a child holds no state worth saving.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from corral.childenv import child_environment
from corral.errors import RunnerExitedError, RunnerStartError
from corral.runner.compat_llama_server import QUIET, read_state
from corral.runner.engine_log import EngineLog
from corral.runner.interface import EngineChoice, LoadReport
from corral.runner.load_log import LoadLog
from corral.runner.reasons import last_error, load_reason

_log = logging.getLogger("corral.runner")
# The engine's reason may stand well before its last line.
_LOG_TAIL_BYTES = 16384
# Metadata of the ready event can be large (it lists the vocabulary's special tokens).
_MAX_LINE_BYTES = 1 << 20
_REAP_TIMEOUT_S = 10.0
# Lines about a load may come a moment after it is ready.
_REPORT_TIMEOUT_S = 5.0


class EngineProcess:
    """A child and the two tasks that drain its pipes. Make one with `EngineProcess.spawn`.

    `environment`: the variables that it was started with.
    """

    def __init__(self, process: asyncio.subprocess.Process, name: str, environment: dict[str, str]) -> None:
        self._process = process
        self.environment = environment
        self.engine_log = EngineLog(name)
        self._load_log: LoadLog | None = None
        self._is_reported = asyncio.Event()
        self._log: deque[bytes] = deque()
        self._log_bytes = 0
        self._ready = asyncio.Event()
        self._on_progress: Callable[[float], None] = _ignore_progress
        self.exited: asyncio.Future[RunnerExitedError] = asyncio.get_running_loop().create_future()
        self._watcher = asyncio.create_task(self._watch(), name=f"engine-{process.pid}")
        self._kill_reason = ""

    @classmethod
    async def spawn(cls, order: dict[str, Any], extra_env: dict[str, str], name: str = "") -> EngineProcess:
        """Start a child with a start order (see `child.py`). It is not ready yet. `name` is for the log.

        Raises:
            RunnerStartError: the process could not be started at all.
        """
        child = await cls._start(order, child_variables(extra_env), name)
        child._expect_report(order)
        return child

    @classmethod
    async def prepare(cls, engine: EngineChoice) -> EngineProcess:
        """Start a child that imports the engine and then waits for `begin`.

        Raises:
            RunnerStartError: the process could not be started at all.
        """
        folder = str(engine.package_folder or "")
        return await cls._start({"spare": folder}, child_variables(engine.extra_env), "spare")

    @classmethod
    async def _start(cls, first: dict[str, Any], env: dict[str, str], name: str) -> EngineProcess:
        line = orjson.dumps(first) + b"\n"  # may fail: before there is a child to end
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "corral.runner.child",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=env,
                # Ctrl-C in the server's terminal must not reach the child before we decide.
                start_new_session=True,
                limit=_MAX_LINE_BYTES,
            )
        except OSError as exc:
            raise RunnerStartError(f"error starting llama-server: {exc}") from exc
        assert process.stdin is not None
        process.stdin.write(line)
        return cls(process, name, env)

    def begin(self, order: dict[str, Any], name: str) -> None:
        """Give a prepared child its start order."""
        line = orjson.dumps(order) + b"\n"
        self.engine_log.name = name
        self._expect_report(order)
        assert self._process.stdin is not None
        self._process.stdin.write(line)

    def _expect_report(self, order: dict[str, Any]) -> None:
        if order["log_level"] > QUIET:
            self._load_log = LoadLog()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log_tail(self) -> str:
        """The end of the child's stderr."""
        return b"".join(self._log).decode("utf-8", "replace")[-_LOG_TAIL_BYTES:].strip()

    async def wait_ready(self, on_progress: Callable[[float], None]) -> None:
        """Wait until the engine has loaded its model.

        Raises:
            RunnerStartError: the child ended first; the message carries the end of its stderr.
        """
        self._on_progress = on_progress
        ready = asyncio.ensure_future(self._ready.wait())
        either: set[asyncio.Future[Any]] = {ready, self.exited}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._ready.is_set():
            return
        ended = self.exited.result()
        raise RunnerStartError(
            f"llama-server process has terminated: {_exit_text(ended.exit_code)}: {load_reason(self.log_tail)}",
            exit_code=ended.exit_code,
            log_tail=self.log_tail,
        )

    async def load_report(self, file_bytes: int, projector_bytes: int) -> LoadReport | None:
        """Where the model is, if the engine was asked to say so; call it when the engine is ready."""
        if self._load_log is None:
            return None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_reported.wait(), _REPORT_TIMEOUT_S)
        return self._load_log.report(file_bytes, projector_bytes)

    def kill(self, reason: str = "") -> None:
        """Send SIGKILL; `reason` becomes part of the error of the requests in it."""
        if self._process.returncode is None:
            self._kill_reason = self._kill_reason or reason
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Kill the child and wait until it is reaped, even if the caller is cancelled meanwhile."""
        self.kill()
        await asyncio.shield(self._reap())

    async def _reap(self) -> None:
        # A process in uninterruptible sleep (a dead network disk) must not hold up the server.
        await asyncio.wait({self._watcher}, timeout=_REAP_TIMEOUT_S)

    async def _watch(self) -> None:
        """Drain both pipes, then report the end."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read_stdout())
                group.create_task(self._read_stderr())
        except* Exception as error:
            # A child whose end is not reported would never be replaced.
            _log.error("the output of an engine cannot be read", exc_info=error)
            self.kill("its output could not be read")
        code = await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        what = self._kill_reason or last_error(self.log_tail)
        message = (
            "model runner has unexpectedly stopped, this may be due to resource limitations or an internal"
            " error, check ollama server logs for details"
        )
        self.exited.set_result(
            RunnerExitedError(
                f"{message}: {what}" if what else message, exit_code=code, log_tail=self.log_tail
            )
        )

    async def _read_stdout(self) -> None:
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # a line above the limit: its content is of no use to us
                continue
            if not line:
                return
            match read_state(line):
                case ("ready", _):
                    self._ready.set()
                case ("loading", progress):
                    self._on_progress(progress)

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(_LOG_TAIL_BYTES):
            self.engine_log.feed(data)
            if self._load_log is not None and not self._load_log.is_complete:
                self._load_log.feed(data)
                if self._load_log.is_complete:
                    self._is_reported.set()
            self._log.append(data)
            self._log_bytes += len(data)
            while self._log_bytes - len(self._log[0]) > _LOG_TAIL_BYTES:
                self._log_bytes -= len(self._log.popleft())
            if not self._ready.is_set():
                # Any output of the engine is a sign of life for the load's stall timeout.
                self._on_progress(-1.0)
        self.engine_log.finish()


def child_variables(extra_env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child, with what its engine needs beside the usual."""
    # Otherwise each thread of its web server would hold back an arena of its own.
    return {"MALLOC_ARENA_MAX": "4", **child_environment(), **extra_env}


def _ignore_progress(_value: float) -> None:
    """Nobody waits for this child yet."""


def _exit_text(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"signal: {signal.Signals(-code).name}"
    return f"exit status {code}"


def make_socket_folder() -> Path:
    """Make a folder for sockets that only this user can enter, short enough for a socket address."""
    import tempfile

    parent = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = tempfile.mkdtemp(prefix=f"corral-{os.getpid()}-", dir=parent if _is_usable(parent) else None)
    return Path(folder)


def _is_usable(parent: str) -> bool:
    # sun_path holds 104 bytes on macOS, 108 on Linux; what is added here takes about 45.
    return bool(parent) and len(parent) < 50 and os.access(parent, os.W_OK | os.X_OK)
