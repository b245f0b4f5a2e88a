"""What every file that is made from others needs: order, values, space, and copies that share blocks."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from corral.errors import StoreError
from corral.gguf import GGUFFile, encode_value

__all__ = ["check_space", "copy_range", "in_model_order", "llama_values", "write_all", "write_padding"]

_BLOCK = re.compile(r"blk\.(\d+)\.")
_QUANTIZATION_VERSION = 2
_BUFFER_BYTES = 1 << 20
_BLOCK_BYTES = 4096
# The kernel cannot copy between these two files; a plain copy can.
_CANNOT_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF)


def in_model_order(names: Iterable[str]) -> list[str]:
    """llama.cpp's order of tensors: those of no block first, then block by block, by name within."""

    def key(name: str) -> tuple[int, bytes]:
        match = _BLOCK.match(name)
        return (int(match[1]) if match else -1, name.encode())

    return sorted(names, key=key)


def llama_values(gguf: GGUFFile, file_type: Any) -> dict[str, bytes]:
    """A file's values as llama-quantize writes them: the two about quantisation last."""
    values = gguf.raw_values()
    for key in ("general.quantization_version", "general.file_type"):
        values.pop(key, None)
    values["general.quantization_version"] = encode_value(_QUANTIZATION_VERSION, "uint32")
    values["general.file_type"] = encode_value(file_type if isinstance(file_type, int) else 0, "uint32")
    return values


def check_space(destination: Path, needed_bytes: int) -> None:
    """Say so before hours of work end in a full disk.

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
    """Copy bytes between open files by descriptor; file systems that can share the blocks do.

    Raises:
        OSError: the source is shorter than it was, the disk is full, ...
    """
    if (source_offset - target_offset) % _BLOCK_BYTES == 0:
        # Only whole blocks are shared: what lies before the first goes by itself.
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


def write_padding(out: BinaryIO, file_bytes: int) -> None:
    """Bring a file to its full size; what lies between tensors and behind the last reads as zeros."""
    os.truncate(out.fileno(), file_bytes)
