"""Files on the disk: free space, copies inside the kernel, and writes that survive a crash."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
import time
from pathlib import Path
from typing import BinaryIO

from corral.errors import StoreError

_BUFFER_BYTES = 1 << 20
_BLOCK_BYTES = 4096
# The kernel cannot copy between these two files; a plain copy can.
_CANNOT_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF)
# Some network file systems cannot sync folders.
_CANNOT_SYNC = (
    errno.EINVAL,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.EACCES,
    errno.EBADF,
    errno.EISDIR,
)
_CANNOT_LINK = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK)
_FOLDER_ATTEMPTS = 20


def check_space(destination: Path, needed_bytes: int) -> None:
    """Raise an error if there is not enough space, before hours of work end with a full disk.

    Raises:
        StoreError
    """
    free_bytes = shutil.disk_usage(destination.parent).free
    if free_bytes < needed_bytes:
        raise StoreError(
            f"not enough space in {destination.parent}: {needed_bytes / 1e9:.2f} GB needed, "
            f"{free_bytes / 1e9:.2f} GB free"
        )


def copy_range(source: int, source_offset: int, target: int, target_offset: int, count: int) -> None:
    """Copy bytes between open files by descriptor, sharing blocks if the file system can.

    Raises:
        OSError: the source is shorter than it was, the disk is full, ...
    """
    if (source_offset - target_offset) % _BLOCK_BYTES == 0:
        # Only whole blocks can be shared; the part before the first one is copied separately.
        head = min(-source_offset % _BLOCK_BYTES, count)
        _copy(source, source_offset, target, target_offset, head)
        source_offset, target_offset, count = source_offset + head, target_offset + head, count - head
        whole = count - count % _BLOCK_BYTES
        _copy(source, source_offset, target, target_offset, whole)
        source_offset, target_offset, count = source_offset + whole, target_offset + whole, count - whole
    _copy(source, source_offset, target, target_offset, count)


def _copy(source: int, source_offset: int, target: int, target_offset: int, count: int) -> None:
    copy = getattr(os, "copy_file_range", None)
    while count and copy is not None:
        try:
            copied = copy(source, target, count, source_offset, target_offset)
        except OSError as exc:
            if exc.errno not in _CANNOT_COPY:
                raise
            break
        if copied == 0:
            break
        source_offset, target_offset, count = source_offset + copied, target_offset + copied, count - copied
    while count:
        data = os.pread(source, min(count, _BUFFER_BYTES), source_offset)
        if not data:
            raise OSError(errno.EIO, "file became shorter while it was copied")
        write_all(target, data, target_offset)
        source_offset, target_offset, count = (
            source_offset + len(data),
            target_offset + len(data),
            count - len(data),
        )


def write_all(target: int, data: bytes | memoryview, offset: int) -> None:
    """`pwrite` until everything is written."""
    view = memoryview(data)
    while view:
        written = os.pwrite(target, view, offset)
        view = view[written:]
        offset += written


def write_fully(file: BinaryIO, data: bytes | memoryview) -> None:
    """`write` until everything is written: an unbuffered file may take a part, as on a disk that is almost full."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def write_padding(out: BinaryIO, file_bytes: int) -> None:
    """Extend a file to its full size; gaps between tensors and after the last one read as zeros."""
    os.truncate(out.fileno(), file_bytes)


class ReadAhead:
    """Has the kernel read files that will be needed in a moment. A call returns at once and raises nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: set[Path] = set()

    def __call__(self, path: Path) -> None:
        with self._lock:
            if path in self._paths or not hasattr(os, "posix_fadvise"):  # macOS does not have it
                return
            self._paths.add(path)
        with contextlib.suppress(RuntimeError):  # there is no room for another thread
            threading.Thread(target=self._read, args=(path,), name="read-ahead", daemon=True).start()
            return
        self._paths.discard(path)

    def _read(self, path: Path) -> None:
        with contextlib.suppress(OSError, ValueError):
            free_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                # What would drive other files out of memory is left to whoever reads it.
                if os.fstat(handle).st_size <= free_bytes:
                    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(handle)
        with self._lock:
            self._paths.discard(path)


def sync_file(path: Path) -> None:
    """Have what a file holds on the disk, whoever wrote it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make what happened to the names in a folder durable: new ones, renames, removals.

    Raises:
        OSError: the disk has failed; then nobody may be told that it is done.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as exc:
        if exc.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(handle)


def make_folders(folder: Path, *, mode: int = 0o777) -> None:
    """Make a folder and those above it that are missing, so that they are there after a power cut too.

    What a folder holds is lost with its name, however well it was synced itself. `mode`: of the folder alone.

    Raises:
        NotADirectoryError: a file is where it, or one above it, should be.
    """
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folders(folder.parent)
    try:
        folder.mkdir(mode=mode, exist_ok=True)
    except FileExistsError as exc:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from exc
    sync_folder(folder.parent)


def write_new(path: Path, data: bytes, *, mode: int) -> None:
    """Make a file that does not exist yet: whole, or not at all, even after a crash.

    Raises:
        FileExistsError: it exists; it is as it was.
    """
    if path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    write_atomically(draft, data, mode=mode)
    try:
        # Unlike a rename, this never replaces what another process has made meanwhile.
        os.link(draft, path)
    except OSError as exc:
        if exc.errno not in _CANNOT_LINK:
            raise
        draft.rename(path)  # a file system without hard links
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_atomically(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Write a temporary file and rename it: readers see the old content or the new one, even after a crash.

    `mode`: the permissions of the file; by default those of the umask. The folder is created again if another process
    removes it while it is empty.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    for attempt in range(_FOLDER_ATTEMPTS):
        try:
            make_folders(path.parent)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
        except FileNotFoundError:
            if attempt == _FOLDER_ATTEMPTS - 1:
                raise
        else:
            break
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if mode is not None:
                temporary.chmod(mode)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
