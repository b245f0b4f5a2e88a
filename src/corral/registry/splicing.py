"""From a socket into a file inside the kernel, where the system can do that: Linux, and lines without TLS.

A registry in the local network sends faster than one processor copies. The way around this process spares one of the
two copies, which is a tenth of all work that such a download is.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import sys

CAN_SPLICE = sys.platform == "linux"
_PIPE_BYTES = 1 << 20
_NOT_HERE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def _splice(source: int, target: int, most: int, *, target_pos: int | None = None) -> int | None:
    """Move up to `most` bytes from or to a pipe. None: this system, or one of the two, cannot. Raises OSError."""
    if sys.platform != "linux":
        return None
    try:
        flags = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
        return os.splice(source, target, most, offset_dst=target_pos, flags=flags)
    except OSError as exc:
        if exc.errno in _NOT_HERE:
            return None
        raise


def splice_from_socket(handle: int, pipe: int, most: int, timeout_s: float | None) -> int | None:
    """Move up to `most` bytes, at least one, into a pipe. 0: the end of the stream; None: this system cannot.

    Raises:
        TimeoutError, OSError
    """
    while True:
        try:
            return _splice(handle, pipe, most)
        except BlockingIOError:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            if not poll.poll(None if timeout_s is None else timeout_s * 1000):
                raise TimeoutError("timed out") from None


class KernelPipe:
    """What lies between socket and file. Whoever puts bytes in takes them out before the next. Not thread-safe."""

    def __init__(self) -> None:
        self._out, self.entry = os.pipe()
        # Smaller where the system's limit for this user is reached; then less is moved at a time.
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(self.entry, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def close(self) -> None:
        os.close(self._out)
        os.close(self.entry)

    def take(self, handle: int, pos: int, most: int) -> int | None:
        """Move some of what is in the pipe into a file at `pos`. None: that file cannot, `read` it instead."""
        return _splice(self._out, handle, most, target_pos=pos)

    def read(self, most: int) -> bytes:
        return os.read(self._out, most)
