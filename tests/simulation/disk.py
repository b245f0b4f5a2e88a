"""The disk under a world: real files in memory, and errors that a seed asks for."""

from __future__ import annotations

import errno


class Disk:
    """`free_bytes`: what can still be written; None: enough."""

    def __init__(self) -> None:
        self.free_bytes: int | None = None

    def before_write(self, size: int) -> None:
        """Raises OSError: it is full."""
        if self.free_bytes is not None:
            if size > self.free_bytes:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.free_bytes -= size
