"""What a child process sets for itself at its start. Imports nothing of Corral, so that children start fast."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def limit_self(*, oom_score: int, niceness: int = 0, memory_bytes: int = 0) -> None:
    """Bound private memory (0: no bound), lower the priority, and on Linux die with the parent.

    `oom_score` (0 to 1000) makes the OOM killer of Linux choose this process before the server.
    """
    if memory_bytes:
        import resource

        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    if niceness:
        with contextlib.suppress(OSError):
            os.nice(niceness)
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(oom_score))
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
