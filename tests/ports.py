"""Ports for programs that are given one in advance and listen on it later, and ports on which nobody listens.

A port that the kernel chose for a closed socket may be chosen again at once, by any program and for any outgoing
connection. These lie below the ports that the kernel chooses from, and each process of the tests has its own.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["BLOCK", "free_block", "free_port"]

BLOCK = 50
# Linux chooses from 32768 on, macOS from 49152 on; Ray's workers have 10002 to 19999, Corral's 20300 to 20399.
_BLOCKS = range(23_000, 31_000, BLOCK)
# Open files, each locked for one block until this process ends.
_claims: list[IO[bytes]] = []
_own: Iterator[int] = iter(())


def free_port() -> int:
    """A port of 127.0.0.1 that this process has not returned before and that no other test process returns."""
    global _own
    while True:
        for port in _own:
            if _is_free(port):
                return port
        _own = iter(free_block())


def free_block() -> range:
    """`BLOCK` ports in a row, as `free_port` gives them. Raises: RuntimeError when all are in use."""
    folder = Path(tempfile.gettempdir()) / f"corral-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    # From the system's randomness: that of tests is seeded, in all processes alike.
    for first in random.SystemRandom().sample(_BLOCKS, len(_BLOCKS)):
        if _claim(folder / str(first)):
            block = range(first, first + BLOCK)
            if all(map(_is_free, block)):
                return block
    raise RuntimeError("all ports for tests are in use")


def _claim(path: Path) -> bool:
    """Hold a lock file until this process ends. False if another process holds it."""
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _claims.append(file)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Connections of an earlier listener that still wait for their end do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
