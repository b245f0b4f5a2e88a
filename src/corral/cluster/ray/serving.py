"""Runs the server of a node: starts it, starts it again when it ends, and never two at once. Knows nothing of Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from corral.cluster.ray.backoff import Backoff
from corral.cluster.ray.launch import LOCKED, launched
from corral.cluster.ray.logfile import bound_log, open_log, tail
from corral.cluster.ray.ports import is_taken
from corral.cluster.ray.probe import answers
from corral.cluster.ray.single import end_holder, wait_until_free

SERVE = (sys.executable, "-m", "corral.cli.main", "serve")
_LOOK_S = 0.25
_SERVING_LOOK_S = 2.0
# A server whose actor has died ends what it does; afterwards it is killed.
_OLD_ONE_S = 45.0
_END_S = 45.0


class Phase(StrEnum):
    """`WAITING`: it ended, and is started again later."""

    STARTING = "starting"
    SERVING = "serving"
    WAITING = "waiting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ServeOrder:
    """What to run.

    Attributes:
        url: where it is going to answer.
        host, port: where it listens.
        folder: for its lock and its log.
        environment: of the program, all of it.
        hang_s: a server that has not answered for this long is killed.
    """

    url: str
    host: str
    port: int
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = SERVE
    hang_s: float = 60.0

    @property
    def lock(self) -> Path:
        return self.folder / "server.lock"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """`epoch` differs after each start; `detail` says why it does not serve."""

    phase: Phase
    epoch: str = ""
    pid: int = 0
    starts: int = 0
    detail: str = ""


class Serving:
    """Owns one server process. `run` belongs to one thread, which has to live as long as the server."""

    def __init__(
        self, order: ServeOrder, changed: Callable[[], None], backoff: Backoff | None = None
    ) -> None:
        self._order = order
        self._changed = changed
        self._backoff = backoff or Backoff()
        self._stopping = threading.Event()
        self._starts = 0
        self.status = ServerStatus(Phase.STARTING)

    def run(self) -> None:
        """Returns after `stop`, when the server has ended."""
        while not self._stopping.is_set():
            begin_s = time.monotonic()
            detail = self._obstacle() or self._run_once()
            if not self._stopping.is_set():
                self._show(Phase.WAITING, detail=detail)
                self._stopping.wait(self._backoff.after(time.monotonic() - begin_s))
        self._show(Phase.STOPPED)

    def stop(self) -> None:
        """Ask the server to end, and `run` to return."""
        self._stopping.set()

    def _obstacle(self) -> str:
        """Why no server can be started now; empty if one can."""
        if not self._old_one_ended():
            return "the server before this one does not end"
        if is_taken(self._order.host, self._order.port):
            return f"another program listens on {self._order.host}:{self._order.port}"
        return ""

    def _old_one_ended(self) -> bool:
        lock = self._order.lock
        if sys.platform != "linux":
            end_holder(lock, signal.SIGTERM)  # on Linux the system has sent it
        if wait_until_free(lock, _OLD_ONE_S):
            return True
        end_holder(lock, signal.SIGKILL)
        return wait_until_free(lock, _OLD_ONE_S)

    def _run_once(self) -> str:
        """Run the server until it ends; why it did."""
        since = self._order.log.stat().st_size if self._order.log.exists() else 0
        process = self._start()
        self._starts += 1
        self._show(Phase.STARTING, process.pid, epoch=uuid4().hex)
        self._watch(process)
        if self._stopping.is_set():
            end_process(process, _END_S)
        if process.returncode == LOCKED:
            return "another server of this node runs"
        said = tail(self._order.log, since=since)
        return f"the server ended with status {process.returncode}" + (f": {said}" if said else "")

    def _start(self) -> subprocess.Popen[bytes]:
        log = open_log(self._order.log)
        try:
            return subprocess.Popen(
                launched(self._order.lock, self._order.command),
                env=dict(self._order.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Returns when the process has ended, or shall end."""
        heard_s = time.monotonic()
        while process.poll() is None and not self._stopping.is_set():
            if answers(self._order.url):
                heard_s = time.monotonic()
                if self.status.phase is Phase.STARTING:
                    self._show(Phase.SERVING, process.pid, epoch=self.status.epoch)
            elif self.status.phase is Phase.SERVING and time.monotonic() - heard_s > self._order.hang_s:
                process.kill()
            bound_log(self._order.log)
            is_serving = self.status.phase is Phase.SERVING
            self._wait(process, _SERVING_LOOK_S if is_serving else _LOOK_S)

    def _wait(self, process: subprocess.Popen[bytes], limit_s: float) -> None:
        """Until the next look; an end of the process is noticed sooner."""
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s and process.poll() is None:
            if self._stopping.wait(min(_LOOK_S, limit_s)):
                return

    def _show(self, phase: Phase, pid: int = 0, *, epoch: str = "", detail: str = "") -> None:
        self.status = ServerStatus(phase, epoch, pid, self._starts, detail)
        self._changed()


def end_process(process: subprocess.Popen[bytes], limit_s: float) -> None:
    """SIGTERM, and SIGKILL when the time is up."""
    process.terminate()
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
