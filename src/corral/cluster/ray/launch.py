"""The program between the supervising actor and the server: `python -m corral.cluster.ray.launch LOCK PROGRAM...`.

It takes the lock of the node's server, asks the system to end it when the actor dies, and becomes the server. Lock
and signal last over the exec.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from corral.cluster.ray.single import take

LOCKED = 75  # EX_TEMPFAIL of sysexits.h
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """On Linux: SIGTERM when the thread that started this process ends, so that answers under way may end first."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it has died before
        sys.exit(1)


def main(words: list[str]) -> None:
    lock, parent, *program = words
    die_with_parent(int(parent))
    descriptor = take(Path(lock))
    if descriptor < 0:
        print("another server of this node runs", file=sys.stderr)
        sys.exit(LOCKED)
    os.set_inheritable(descriptor, True)
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
