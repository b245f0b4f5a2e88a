"""Returns memory to the system after large requests; otherwise the allocator would keep it forever."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
from functools import cache
from typing import Any

# By then the last user has released it.
_DELAY_S = 1.0


class Trimmer:
    """Trims the heap a moment after it was asked to, once for several requests."""

    def __init__(self) -> None:
        self._is_due = False

    def ask(self) -> None:
        """Call it on the event loop."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(_DELAY_S, self._start)

    def _start(self) -> None:
        self._is_due = False
        asyncio.get_running_loop().run_in_executor(None, _trim)


@cache
def _malloc_trim() -> Any:
    with contextlib.suppress(OSError, AttributeError):
        return ctypes.CDLL(None).malloc_trim  # only glibc has it
    return None


def _trim() -> None:
    gc.collect(1)
    if (trim := _malloc_trim()) is not None:
        trim(0)
