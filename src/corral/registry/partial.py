"""The file that a download fills: locked against other processes, written at any place, flushed to the disk early.

`PartFiles` knows the names and the states of the parts; this module keeps the data open while a download runs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from corral.disk import make_folders, sync_folder
from corral.errors import CorralError, DiskFullError, StoreError, TransferCancelledError
from corral.registry.part_state import Part, PartFiles
from corral.registry.prefix import PrefixHasher

_SAVE_BYTES = 16 << 20
_SAVE_S = 1.0
_LOCK_POLL_S = 0.5
_SYNC_S = 0.25


class PartialFile:
    """Data and parts of one download. Threads write concurrently, each to a part of its own.

    `closing` is set when the download ends, successfully or not: it ends every wait in here.
    """

    def __init__(self, files: PartFiles, closing: threading.Event) -> None:
        self.parts: list[Part] = []
        self._files = files
        self._closing = closing
        self._handle = -1
        self._hasher: PrefixHasher | None = None

    @property
    def completed_bytes(self) -> int:
        return sum(part.completed for part in self.parts)

    @property
    def is_complete(self) -> bool:
        return all(part.is_complete for part in self.parts)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Open the file and lock it against other processes; wait for one that has it.

        Raises:
            TransferCancelledError: `closing` was set meanwhile.
            OSError
        """
        path = self._files.path
        make_folders(path.parent)
        while True:
            if self._closing.is_set():
                raise TransferCancelledError
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(self._handle), path.stat()):
                    break
            except FileNotFoundError:
                pass  # the other process has just finished
            except OSError as exc:
                if exc.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    break  # a file system without locks
            os.close(self._handle)
            self._closing.wait(_LOCK_POLL_S)
        try:
            yield
        finally:
            os.close(self._handle)
            self._handle = -1

    def load(self, size_bytes: int) -> None:
        """Load the parts that an earlier attempt left, or plan them."""
        self.parts = self._files.load(size_bytes)
        os.ftruncate(self._handle, size_bytes)
        for part in self.parts:
            if part.saved < 0:
                self._files.save(part)

    @contextlib.contextmanager
    def hashed(self, on_bad: Callable[[Part], None]) -> Iterator[PrefixHasher]:
        """Hash and flush what arrives for as long as the block lasts; then save all states."""
        self._hasher = PrefixHasher(self._handle, self.parts, on_part=self._files.save, on_bad=on_bad)
        syncer = threading.Thread(target=self._sync_now_and_then, name="pull-sync", daemon=True)
        self._hasher.start()
        syncer.start()
        try:
            yield self._hasher
        finally:
            self._closing.set()
            self._hasher.stop()
            syncer.join()
            for part in self.parts:
                if part.saved != part.completed:
                    self.save(part)

    def write(self, data: memoryview, pos: int) -> None:
        """Raises OSError."""
        written = os.pwrite(self._handle, data, pos)
        while written < len(data):
            written += os.pwrite(self._handle, data[written:], pos + written)

    def note(self, part: Part, last_s: float) -> float:
        """A part has grown: wake the hasher, and save its state now and then. Returns when it was last saved."""
        if self._hasher is not None:
            self._hasher.wake(part)
        now_s = time.monotonic()
        if part.completed - part.saved >= _SAVE_BYTES or now_s - last_s >= _SAVE_S or part.is_complete:
            self._files.save(part)
            return now_s
        return last_s

    def save(self, part: Part) -> None:
        """Save a part's state if that is possible; with an old state a few bytes are fetched again."""
        with contextlib.suppress(OSError):
            self._files.save(part)

    def forget_all_but(self, kept: Sequence[tuple[int, int]]) -> None:
        """Forget parts that are not within one of these ranges: first byte, byte after the last. Raises OSError."""
        for part in self.parts:
            part.prefix_hex = ""  # it depends on all that comes before
            if not any(start <= part.offset and part.stop <= stop for start, stop in kept):
                part.completed = 0
            self._files.save(part)

    def commit(self) -> None:
        """The data is complete and verified: make it durable, and make it the blob. Raises OSError."""
        os.fdatasync(self._handle)
        self._files.finish()
        sync_folder(self._files.path.parent)

    def error(self, exc: OSError) -> CorralError:
        """The error for a failure of the disk."""
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskFullError(f"write {self._files.path}: no space left on device")
        return StoreError(f"{self._files.path}: {(exc.strerror or str(exc)).lower()}")

    def _sync_now_and_then(self) -> None:
        """Flush early, so that the end does not have to wait for all of the data."""
        while not self._closing.wait(_SYNC_S):
            with contextlib.suppress(OSError):
                os.fdatasync(self._handle)
