"""Sockets of code that blocks, on the simulated network."""

from __future__ import annotations

import io
from typing import Any

from tests.simulation.network import End
from tests.simulation.threads import Threads, Waiter


def _loop() -> Any:
    from tests.simulation import patches

    return patches.loop()


def resolve(host: str, port: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    """`socket.getaddrinfo`: every name has one address, which is made of the name."""
    if host.startswith("unknown"):
        raise OSError(-2, "Name or service not known")
    return [(2, 1, 6, "", (address_of(host), port))]


def address_of(host: str) -> str:
    if host[:1].isdigit():
        return host
    number = sum(map(ord, host))
    return f"34.1.{number // 256 % 256}.{number % 256}"


class SimSocket:
    """`socket.socket`, as far as `http.client` and urllib3 use it."""

    def __init__(self, family: int = 2, kind: int = 1) -> None:
        self._loop = _loop()
        self._threads: Threads = self._loop.threads
        self.family, self.type = family, kind
        self._timeout_s: float | None = None
        self._end: End | None = None
        self._data = bytearray()
        self._error: Exception | None = None
        self._is_ended = False
        self._is_shut = False
        self._waiter: Waiter | None = None
        self._files = 0
        self._is_closed = False

    def setsockopt(self, *_arguments: int) -> None:
        """There is nothing to set."""

    def settimeout(self, seconds: float | None) -> None:
        self._timeout_s = seconds

    def gettimeout(self) -> float | None:
        return self._timeout_s

    def fileno(self) -> int:
        return -1 if self._is_closed else 10_000

    @property
    def is_readable(self) -> bool:
        """Whether a read would return at once."""
        return bool(self._data) or self._is_ended

    def connect(self, address: tuple[str, int]) -> None:
        place = f"{address[0]}:{address[1]}"
        self._threads.sleep(0.001)
        if self._loop.network.is_cut(place):
            self._wait()
        self._end = self._loop.network.connected(place)
        self._end.open(self._take, self._lose)
        self._check()

    def _take(self, data: bytes) -> None:
        self._data += data
        self._wake()

    def _lose(self, error: Exception | None) -> None:
        self._is_ended, self._error = True, error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            self._waiter.wake()

    def _wait(self) -> None:
        """Wait for anything to happen. Raises TimeoutError, OSError."""
        self._waiter = Waiter(self._threads)
        was_woken = self._waiter.wait(self._timeout_s)
        self._waiter = None
        if not was_woken:
            raise TimeoutError("timed out")

    def _check(self) -> None:
        if self._is_closed:
            raise OSError(9, "Bad file descriptor")

    def recv_into(self, view: Any, *_arguments: int) -> int:
        self._check()
        while not self._data and not self._is_ended and not self._is_shut:
            self._wait()
        if self._data and not self._is_shut:
            count = min(len(view), len(self._data))
            view[:count] = self._data[:count]
            del self._data[:count]
            return count
        if self._error is not None and not self._is_shut:
            raise ConnectionResetError(104, "Connection reset by peer")
        return 0

    def sendall(self, data: Any, *_arguments: int) -> None:
        self._check()
        self._threads.maybe_yield()
        if self._is_shut or self._end is None or (self._is_ended and self._error is not None):
            raise BrokenPipeError(32, "Broken pipe")
        self._end.write(bytes(data))

    def shutdown(self, _how: int) -> None:
        if self._end is None:
            raise OSError(107, "Transport endpoint is not connected")
        self._is_shut = True
        self._end.close()
        self._wake()

    def makefile(self, _mode: str = "rb", _buffering: int = -1) -> io.BufferedReader:
        self._files += 1
        return io.BufferedReader(_Reader(self), 64 << 10)

    def close(self) -> None:
        self._is_closed = True
        if self._files == 0:
            self._really_close()

    def file_closed(self) -> None:
        self._files -= 1
        if self._is_closed and self._files == 0:
            self._really_close()

    def _really_close(self) -> None:
        if self._end is not None:
            self._end.close()


class _Reader(io.RawIOBase):
    """What `makefile` buffers."""

    def __init__(self, sock: SimSocket) -> None:
        super().__init__()
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        return self._sock.recv_into(view)

    def close(self) -> None:
        if not self.closed:
            self._sock.file_closed()
        super().close()
