"""Waiting for something to become true. The deadline only ends what hangs: no test depends on the machine's speed."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["PATIENCE_S", "wait_until"]

PATIENCE_S = 120.0


def wait_until(holds: Callable[[], object], what: str = "it never came to that") -> None:
    """Return once `holds()` is true; fail with `what` when that takes far longer than any machine needs."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.01)
