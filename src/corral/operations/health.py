"""Whether the server is ready for requests, and if not, why.

`ready` is what a load balancer asks: it turns false before the server stops to accept, so that nobody is sent to a
server that ends. It is also false until the work of the start is done, and while requests could not succeed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path

from corral.errors import CorralError
from corral.operations.pulse import LoopPulse

# Answers of the disk are kept for this long: whoever asks often costs nothing.
_KEEP_S = 1.0
# With less than this, neither a pull nor a log line can be written.
_LEAST_FREE_BYTES = 32 << 20


# Why the server is not ready: the check (draining, starting, store, disk, engine) and a message.
Reason = tuple[str, str]


class Health:
    """What `/healthz` and `/readyz` answer. `check_engine` raises CorralError if no engine could be started."""

    def __init__(self, models_dir: Path, check_engine: Callable[[], object], lag: LoopPulse) -> None:
        self._models_dir = models_dir
        self._check_engine = check_engine
        self._lag = lag
        self._pending: dict[str, str] = {}
        self._kept: tuple[float, tuple[Reason, ...]] | None = None
        self.is_draining = False

    def begin(self, what: str, message: str) -> None:
        """Not ready until `end` is called for the same work."""
        self._pending[what] = message

    def end(self, what: str) -> None:
        self._pending.pop(what, None)

    def lag(self) -> tuple[float, bool]:
        """Seconds that the event loop took for its last answer, and whether that is too long."""
        return self._lag.lag_s, self._lag.is_stuck

    async def reasons(self) -> list[Reason]:
        """Why the server is not ready; empty if it is."""
        found = [("starting", message) for message in self._pending.values()]
        if self.is_draining:
            found.insert(0, ("draining", "the server is shutting down"))
        return [*found, *await self._lasting()]

    async def _lasting(self) -> tuple[Reason, ...]:
        now_s = time.monotonic()
        if self._kept is None or now_s - self._kept[0] > _KEEP_S:
            self._kept = (now_s, await asyncio.to_thread(self._look))
        return self._kept[1]

    def _look(self) -> tuple[Reason, ...]:
        found: list[Reason] = []
        try:
            os.scandir(self._models_dir).close()
            space = os.statvfs(self._models_dir)
        except OSError as exc:
            reason = (exc.strerror or type(exc).__name__).lower()
            return (("store", f"the models folder cannot be read: {reason}"),)
        free_bytes = space.f_bavail * space.f_frsize
        if free_bytes < _LEAST_FREE_BYTES and not space.f_flag & os.ST_RDONLY:
            found.append(("disk", f"the disk of the models is full: {free_bytes >> 20} MiB are free"))
        try:
            self._check_engine()
        except CorralError as exc:
            found.append(("engine", str(exc)))
        return tuple(found)


def check_engine_exists(server_path: Path | None, package_folder: Path | None) -> None:
    """Whether an engine can still be started: a binary, a folder, or the package.

    Raises:
        CorralError
    """
    if server_path is not None:
        if not os.access(server_path, os.X_OK):
            raise CorralError(f"the engine {server_path} cannot be run")
    elif package_folder is not None:
        if not package_folder.is_dir():
            raise CorralError(f"the engine in {package_folder} does not exist any more")
    elif importlib.util.find_spec("xllamacpp") is None:
        raise CorralError("the engine is not installed: xllamacpp is missing")
