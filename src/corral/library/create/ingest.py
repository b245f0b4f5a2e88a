"""Imports a local file into the store: shares its blocks if the file system can, else copies it.

The digest is always computed here. Whether the caller may import the file is decided before (see
docs/decisions/0015-local-files.md).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from corral.disk import check_space
from corral.errors import StoreError

MODES = ("link", "copy", "reference")
_FICLONE = 0x40049409
_CHUNK_BYTES = 4 << 20

Progress = Callable[[int, int], None]


def take_in(source: Path, destination: Path, mode: str, report: Progress) -> dict[str, Any]:
    """Make `destination` a file with the content of `source`; returns digest, size, and how it was done.

    Modes: `link` shares blocks (a clone if the file system has those, else a hard link, else a copy), `copy` never
    links, `reference` leaves the file where it is.

    Raises:
        StoreError: not a regular file, changed meanwhile, or not enough space.
        OSError: it cannot be read.
    """
    # Opening a named pipe must not block.
    handle = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise StoreError(f"{source} is not a regular file")
    with os.fdopen(handle, "rb") as file:
        before = os.fstat(file.fileno())
        method = _share(file, source, destination, mode, before)
        digest = _read(file, destination if method == "copy" else None, before.st_size, report)
        after = os.fstat(file.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise StoreError(f"{source} changed while it was read")
    return {
        "digest": digest,
        "size": before.st_size,
        "method": method,
        "modified_ns": before.st_mtime_ns,
    }


def _share(file: BinaryIO, source: Path, destination: Path, mode: str, info: os.stat_result) -> str:
    """Try the methods that copy nothing. `copy` means that the caller has to copy."""
    if mode == "reference":
        destination.symlink_to(source)
        return "reference"
    if _clone(file, destination):
        return "clone"
    if mode == "link":
        with contextlib.suppress(OSError):
            os.link(source, destination)
            linked = destination.lstat()
            if (linked.st_dev, linked.st_ino) == (info.st_dev, info.st_ino):
                return "hard link"
            destination.unlink()
    check_space(destination, info.st_size)
    return "copy"


def _clone(file: BinaryIO, destination: Path) -> bool:
    """Share the blocks, copy-on-write (Btrfs, XFS, bcachefs)."""
    with destination.open("wb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, file.fileno())
        except OSError:
            pass
        else:
            return True
    destination.unlink()
    return False


def _read(file: BinaryIO, copy_to: Path | None, total_bytes: int, report: Progress) -> str:
    """Hash a file, and copy it to `copy_to` if given."""
    hasher = hashlib.sha256()
    done_bytes = 0
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(copy_to.open("wb")) if copy_to is not None else None
        # Stop at the original size: the file may grow faster than it is read.
        while done_bytes <= total_bytes and (chunk := file.read(_CHUNK_BYTES)):
            hasher.update(chunk)
            if out is not None:
                _write(out, chunk)
            done_bytes += len(chunk)
            report(min(done_bytes, total_bytes), total_bytes)
        if out is not None:
            out.flush()
            os.fsync(out.fileno())
    return f"sha256:{hasher.hexdigest()}"


def _write(out: BinaryIO, chunk: bytes) -> None:
    try:
        out.write(chunk)
    except OSError as exc:
        if exc.errno == errno.ENOSPC:
            raise StoreError("the disk of the model store is full") from exc
        raise
