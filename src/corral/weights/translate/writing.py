"""Writes a view as a file, completely or not at all, sharing blocks with the source if the file system can.

Consecutive tensors of the source are copied in one piece. The header is padded so that the largest run keeps its
position within a file-system block, which is necessary for sharing.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from corral.disk import check_space, copy_range, write_all
from corral.weights.gguf import NewTensor, build_header, encode_value
from corral.weights.gguf.writer import Header
from corral.weights.translate.translated_file import TranslatedFile, TranslatedTensor, reader_of

# Part of the names of incomplete files.
TEMPORARY_MARK = ".writing-"
_PADDING_KEY = "corral.padding"
_BLOCK_BYTES = 4096
_PIECE_BYTES = 256 << 20


def write_view(
    view: TranslatedFile, destination: Path, *, on_progress: Callable[[int, int], None] | None = None
) -> None:
    """Write a view; `destination` appears once everything is on disk. `on_progress(done, total)` counts bytes.

    Raises:
        GGUFError: the source is not a valid file of its family.
        StoreError: not enough space.
        OSError
    """
    tensors = [NewTensor(name, tensor.shape, tensor.type_name) for name, tensor in view.tensors.items()]
    sources = list(view.tensors.values())
    header = _aligned_header(view, tensors, sources)
    check_space(destination, header.file_bytes)
    temporary = destination.with_name(destination.name + TEMPORARY_MARK + secrets.token_hex(6))
    try:
        with view.gguf.path.open("rb") as source, temporary.open("xb") as target:
            write_all(target.fileno(), header.data, 0)
            os.truncate(target.fileno(), header.file_bytes)
            _write_data(source.fileno(), target.fileno(), sources, header, on_progress)
            os.fsync(target.fileno())
        temporary.replace(destination)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _aligned_header(
    view: TranslatedFile, tensors: Sequence[NewTensor], sources: Sequence[TranslatedTensor]
) -> Header:
    """A header after which the largest copied tensor keeps its position within a block."""
    header = build_header(view.values, tensors)
    copied = [i for i, tensor in enumerate(sources) if len(tensor.ranges) == 1]
    if not copied:
        return header
    largest = max(copied, key=lambda i: sources[i].size_bytes)
    shift = (sources[largest].ranges[0][0] - header.offsets[largest]) % _BLOCK_BYTES
    if shift == 0:
        return header
    # Adding the padding value changes the length; its text then fills the rest.
    empty = build_header(view.values | {_PADDING_KEY: encode_value("", "string")}, tensors)
    missing = (sources[largest].ranges[0][0] - empty.offsets[largest]) % _BLOCK_BYTES
    text = " " * missing
    return build_header(view.values | {_PADDING_KEY: encode_value(text, "string")}, tensors)


def _write_data(
    source: int,
    target: int,
    tensors: Sequence[TranslatedTensor],
    header: Header,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    read = reader_of(source)
    total = sum(tensor.size_bytes for tensor in tensors)
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(done, total)

    for start, offset, size in _runs(tensors, header.offsets):
        for part in range(0, size, _PIECE_BYTES):
            count = min(_PIECE_BYTES, size - part)
            copy_range(source, start + part, target, offset + part, count)
            report(count)
    for tensor, offset in zip(tensors, header.offsets, strict=True):
        if tensor.make is not None:
            data = tensor.make(read)
            if len(data) != tensor.size_bytes:
                raise AssertionError(f"{len(data)} bytes made, {tensor.size_bytes} planned")
            write_all(target, data, offset)
            report(len(data))


def _runs(tensors: Sequence[TranslatedTensor], offsets: Sequence[int]) -> list[tuple[int, int, int]]:
    """The ranges to copy as (from, to, bytes); neighbours in both files are joined, including padding."""
    runs: list[tuple[int, int, int]] = []
    for tensor, offset in zip(tensors, offsets, strict=True):
        for start, size in tensor.ranges:
            if runs:
                last_start, last_offset, last_size = runs[-1]
                gap = start - last_start - last_size
                if 0 <= gap < _BLOCK_BYTES and offset - last_offset - last_size == gap:
                    runs[-1] = (last_start, last_offset, last_size + gap + size)
                    offset += size
                    continue
            runs.append((start, offset, size))
            offset += size
    return runs
