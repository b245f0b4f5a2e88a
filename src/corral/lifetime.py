"""How long the server runs: until a signal.

The first SIGTERM, SIGINT or SIGHUP asks the server to stop and starts a timer; when the timer fires, the process
exits whatever is still running. A second signal exits at once. The children die with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

from corral.logs import LogWriter
from corral.supervise import log_failure

_log = logging.getLogger("corral")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_TOTAL_S = 12.0


class Lifetime:
    """Owns the signals and the event loop; for the main thread."""

    def __init__(self, logs: LogWriter) -> None:
        self._logs = logs
        self._output = LogWriter(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None
        self._is_asked = False
        self._previous: dict[int, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def catch_signals(self) -> None:
        """From now on a signal asks the server to stop instead of killing the process."""
        for number in _SIGNALS:
            previous = signal.getsignal(number)
            if number == signal.SIGHUP and previous == signal.SIG_IGN:
                continue  # nohup
            self._previous[number] = signal.signal(number, self._on_signal)

    def close(self) -> None:
        """Restore the signal handlers, and write the rest of standard output."""
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._output.drain()

    def show(self, text: str) -> None:
        """Print on standard output, without waiting for a reader."""
        self._output.put(text)

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the server's main coroutine on a new event loop; raises what it raises."""
        with asyncio.Runner(loop_factory=_new_loop()) as runner:
            runner.run(self._run(main))

    async def _run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_log_loop_error)
        self._stopped = asyncio.Event()
        if self._is_asked:
            self._stopped.set()
        await main()

    async def until_stopped(self) -> None:
        assert self._stopped is not None
        await self._stopped.wait()

    def watch(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a background task that serving does not depend on; its exceptions are logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_failure)

    def _stop(self) -> None:
        if self._stopped is not None:
            self._stopped.set()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._is_asked:
            self._end(f"{name} again: exiting at once")
        self._is_asked = True
        _log.info("stopping signal=%s", name)
        clock = threading.Timer(_TOTAL_S, self._end, [f"not finished within {_TOTAL_S:g} s: exiting"])
        clock.daemon = True
        clock.start()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._stop)

    def _end(self, reason: str) -> None:
        _log.warning(reason)
        self._logs.drain(0.2)
        os._exit(1)


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _log_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error of the event loop as one event."""
    _log.error("in the background: %s", context.get("message", "error"), exc_info=context.get("exception"))
