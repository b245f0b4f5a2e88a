"""How long the server runs: until a signal.

    SIGTERM   the server stops accepting, and what runs may go on for `drain_timeout_s`
    SIGINT    the same, for at most three seconds: somebody waits at a terminal
    SIGHUP    read the configuration again, if there is something to read; else as SIGTERM

A second signal shortens what is left to a second, and the status is 1 then; a third exits at once. A timer exits the
process where none of it ends. The children die with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

from corral.logs import LogWriter
from corral.supervise import log_failure

_log = logging.getLogger("corral")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Whatever is still running this long after the time for streams, the process ends.
_END_S = 12.0
_INTERRUPTED_S = 3.0
_HURRIED_S = 1.0


class Lifetime:
    """Owns the signals and the event loop; for the main thread. Times in seconds."""

    def __init__(self, logs: LogWriter, *, drain_delay_s: float = 0.0, drain_timeout_s: float = 0.0) -> None:
        self._logs = logs
        self._output = LogWriter(1)
        self._drain_delay_s = drain_delay_s
        self._drain_timeout_s = drain_timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None
        self._hurried: asyncio.Event | None = None
        self._signal_count = 0
        self._clock: threading.Timer | None = None
        self._previous: dict[int, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._terminals = [stream.fileno() for stream in (sys.stdin, sys.stderr) if _is_terminal(stream)]
        # Reads the configuration again; False if there is nothing to read. Until the server can, it is only noted.
        self.reload: Callable[[], bool] = self._note_reload
        self.can_reload = False
        self.wants_reload = False

    @property
    def is_hurried(self) -> bool:
        """Whether a second signal has cut the end short."""
        return self._signal_count > 1

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
        if self._clock is not None:
            self._clock.cancel()
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
        self._stopped, self._hurried = asyncio.Event(), asyncio.Event()
        if self._signal_count:
            self._stopped.set()
        await main()

    async def until_stopped(self) -> None:
        assert self._stopped is not None
        await self._stopped.wait()

    async def delay(self) -> None:
        """The time in which the server still accepts, but is not ready: load balancers look elsewhere meanwhile."""
        await self._wait(self._drain_delay_s)

    async def drained(self) -> None:
        """Returns when the time for what runs is over."""
        await self._wait(self._drain_timeout_s)

    async def _wait(self, limit_s: float) -> None:
        assert self._hurried is not None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurried.wait(), limit_s)

    def watch(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a background task that serving does not depend on; its exceptions are logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_failure)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and not self._signal_count and not self._has_hung_up() and self.reload():
            return
        name = signal.Signals(number).name
        self._signal_count += 1
        if self._signal_count > 2:
            self._end(f"{name} again: exiting at once")
        elif self._signal_count == 2:
            _log.warning("%s again: what still runs ends within %g s", name, _HURRIED_S)
            self._limit(_HURRIED_S + _END_S)
            self._call(self._hurry)
        else:
            if number == signal.SIGINT:
                self._drain_delay_s, self._drain_timeout_s = 0, min(self._drain_timeout_s, _INTERRUPTED_S)
            _log.info("stopping signal=%s", name)
            self._limit(self._drain_delay_s + self._drain_timeout_s + _END_S)
            self._call(self._stop)

    def _note_reload(self) -> bool:
        self.wants_reload = self.can_reload
        return self.can_reload

    def _limit(self, seconds: float) -> None:
        """Exit after this time, whatever is still running."""
        if self._clock is not None:
            self._clock.cancel()
        self._clock = threading.Timer(seconds, self._end, [f"not finished within {seconds:g} s: exiting"])
        self._clock.daemon = True
        self._clock.start()

    def _call(self, function: Callable[[], object]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(function)

    def _stop(self) -> None:
        if self._stopped is not None:
            self._stopped.set()

    def _hurry(self) -> None:
        if self._loop is not None and self._hurried is not None:
            self._loop.call_later(_HURRIED_S, self._hurried.set)

    def _has_hung_up(self) -> bool:
        """Whether SIGHUP means what it says: the terminal that the server was started from is gone."""
        for descriptor in self._terminals:
            try:
                termios.tcgetattr(descriptor)
            except (termios.error, OSError):
                return True
        return False

    def _end(self, reason: str) -> None:
        _log.warning(reason)
        self._logs.drain(0.2)
        os._exit(1)


def _is_terminal(stream: Any) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):
        return False


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _log_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error of the event loop as one event."""
    _log.error("in the background: %s", context.get("message", "error"), exc_info=context.get("exception"))
