"""The program between a supervisor and what it runs: `python -m corral.cluster.ray.launch LOCK PARENT PROGRAM...`.

It takes a lock, asks the system to end it when its parent dies, and becomes the program. Lock
and signal last over the exec.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from corral.cluster.ray.single import take

LOCKED = 75  # EX_TEMPFAIL of sysexits.h
_PR_SET_PDEATHSIG = 1
# Defaults of Ray's worker_niceness and worker_oom_score_adjustment.
_RAYS_NICENESS = 15
_RAYS_OOM_SCORE = "1000"


def launched(lock: Path, program: Sequence[str]) -> list[str]:
    """The command for a program that holds the lock, and ends when the thread that starts it does."""
    return [sys.executable, "-m", "corral.cluster.ray.launch", str(lock), str(os.getpid()), *program]


def die_with_parent(parent: int) -> None:
    """On Linux: SIGTERM when the thread that started this process ends, so that answers under way may end first."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it has died before
        sys.exit(1)


def _be_ordinary() -> None:
    """Undo what Ray does to its workers, where that is allowed: nice, and the first to be killed for memory."""
    with suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) == _RAYS_NICENESS:
            os.setpriority(os.PRIO_PROCESS, 0, 0)
    with suppress(OSError):
        score = Path("/proc/self/oom_score_adj")
        if score.read_text().strip() == _RAYS_OOM_SCORE:
            score.write_text("0")


def main(words: list[str]) -> None:
    lock, parent, *program = words
    die_with_parent(int(parent))
    _be_ordinary()
    descriptor = take(Path(lock))
    if descriptor < 0:
        print("another one runs on this node", file=sys.stderr)
        sys.exit(LOCKED)
    os.set_inheritable(descriptor, True)
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
