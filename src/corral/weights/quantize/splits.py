"""Split model files: finds the parts that belong together and merges them.

Ollama: server/create.go, split GGUF handling. llama.cpp: tools/gguf-split.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from corral.disk import check_space, copy_range, write_padding
from corral.errors import GGUFError
from corral.golang.quote import quoted
from corral.weights.gguf import GGUFFile, NewTensor, TensorInfo, build_header
from corral.weights.quantize.output import in_model_order, llama_values

_SPLIT_NAME = re.compile(r"(?P<prefix>.+)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_SPLIT_KEYS = ("split.no", "split.count", "split.tensors.count")
_COPY_BYTES = 64 << 20


def group_splits(files: Sequence[tuple[str, GGUFFile]]) -> list[list[tuple[str, GGUFFile]]]:
    """Files with their names, grouped by model, with parts in order.

    A complete file is its own group. Groups are in the order of their first files.

    Raises:
        GGUFError: a wrong name or number, or a missing part.
    """
    groups: dict[str, list[tuple[int, str, GGUFFile]]] = {}
    for name, gguf in files:
        count = _split_value(gguf, "split.count")
        if count is None or count <= 1:
            groups[f"\0{len(groups)}"] = [(0, name, gguf)]
            continue
        prefix, index = _check_name(name, gguf, count)
        groups.setdefault(f"{prefix}\0{count}", []).append((index, name, gguf))
    return [_checked(group) for group in groups.values()]


def _split_value(gguf: GGUFFile, key: str) -> int | None:
    """A number about the split, with or without the architecture as prefix."""
    value = gguf.metadata.get(key, gguf.get_arch(key))
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _check_name(name: str, gguf: GGUFFile, count: int) -> tuple[str, int]:
    """The model's prefix and the part's index (from 0), from the name of a part."""
    match = _SPLIT_NAME.fullmatch(name)
    if match is None:
        raise GGUFError(f"split GGUF {quoted(name)} must use llama.cpp split filename pattern")
    if int(match["count"]) != count:
        raise GGUFError(
            f"split GGUF {quoted(name)} filename count {int(match['count'])} does not match metadata count {count}"
        )
    index = _split_value(gguf, "split.no")
    if index is None:
        raise GGUFError(f"split GGUF {quoted(name)} is missing split.no metadata")
    if int(match["no"]) - 1 != index:
        raise GGUFError(
            f"split GGUF {quoted(name)} filename index {int(match['no']) - 1} does not match metadata index {index}"
        )
    return match["prefix"], index


def _checked(group: list[tuple[int, str, GGUFFile]]) -> list[tuple[str, GGUFFile]]:
    """Parts in order; raises if one is missing or duplicate."""
    name = group[0][1]
    count = _split_value(group[0][2], "split.count") or 1
    if count <= 1:
        return [(name, group[0][2])]
    by_index: dict[int, tuple[str, GGUFFile]] = {}
    if len(group) != count:
        raise GGUFError(f"split GGUF {quoted(name)} has {len(group)} shards, expected {count}")
    for index, part_name, gguf in group:
        if not 0 <= index < count:
            raise GGUFError(f"split GGUF {quoted(part_name)} has invalid shard index {index}")
        if index in by_index:
            raise GGUFError(f"split GGUF has duplicate shard index {index}")
        by_index[index] = (part_name, gguf)
    if 0 not in by_index:
        raise GGUFError("split GGUF is missing first shard")
    for index in range(count):
        if index not in by_index:
            raise GGUFError(f"split GGUF {quoted(name)} is missing shard {index}")
    return [by_index[index] for index in range(count)]


def merge_splits(
    parts: Sequence[Path],
    destination: Path,
    *,
    names: Sequence[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Merge the parts of a model, given in any order, into one file.

    `names`: the user's names of the parts, if they differ from the paths. Values are those of the first part; tensors
    are in llama.cpp's order. `on_progress(done, total)` counts bytes; an exception in it aborts the work. Nothing is
    left at `destination` after a failure.

    Raises:
        GGUFError: the parts are not one model.
        StoreError: no space.
        OSError
    """
    named = list(zip(names or [path.name for path in parts], map(GGUFFile.open, parts), strict=True))
    groups = group_splits(named)
    if len(groups) != 1:
        raise GGUFError(
            f"{len(parts)} files are not parts of one model: {', '.join(name for name, _ in named)}"
        )
    files = [gguf for _, gguf in groups[0]]
    sources: dict[str, tuple[GGUFFile, TensorInfo]] = {}
    for gguf in files:
        for tensor in gguf.tensors:
            if tensor.name in sources:
                raise GGUFError(f"tensor {tensor.name!r} is in two of the parts")
            sources[tensor.name] = (gguf, tensor)
    expected = _split_value(files[0], "split.tensors.count")
    if expected is not None and expected != len(sources):
        raise GGUFError(f"the parts have {len(sources)} tensors, but {expected} are expected")
    values = llama_values(files[0], files[0].metadata.get("general.file_type"))
    architecture = files[0].architecture
    for key in _SPLIT_KEYS:
        values.pop(key, None)
        values.pop(f"{architecture}.{key}", None)
    order = in_model_order(sources)
    tensors = [NewTensor(name, sources[name][1].shape, sources[name][1].type_name) for name in order]
    header = build_header(values, tensors)
    check_space(destination, header.file_bytes)
    try:
        with destination.open("wb") as out:
            out.write(header.data)
            out.flush()
            _copy_tensors(out, [sources[name] for name in order], header.offsets, on_progress)
            write_padding(out, header.file_bytes)
    except BaseException:
        destination.unlink(missing_ok=True)
        raise


def _copy_tensors(
    out: BinaryIO,
    sources: Sequence[tuple[GGUFFile, TensorInfo]],
    offsets: Sequence[int],
    on_progress: Callable[[int, int], None] | None,
) -> None:
    total = sum(tensor.size_bytes for _, tensor in sources)
    done = 0
    handles: dict[Path, int] = {}
    try:
        for (gguf, tensor), offset in zip(sources, offsets, strict=True):
            if gguf.path not in handles:
                handles[gguf.path] = os.open(gguf.path, os.O_RDONLY)
            start = gguf.data_offset + tensor.offset
            for part in range(0, tensor.size_bytes, _COPY_BYTES):
                size = min(_COPY_BYTES, tensor.size_bytes - part)
                copy_range(handles[gguf.path], start + part, out.fileno(), offset + part, size)
                done += size
                if on_progress is not None:
                    on_progress(done, total)
    finally:
        for handle in handles.values():
            os.close(handle)
