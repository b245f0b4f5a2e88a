"""A translated model file before it is written: values and tensors, changed by a family's module.

A tensor's data is either ranges of the source file, copied unchanged, or made from it by a function. The verbs are
those of Ollama's translation layer (llama/compat): `copy` and `inject` never overwrite, `put` does.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from corral.errors import GGUFError
from corral.weights.gguf import GGUFArray, GGUFFile, NewTensor, decode_value, encode_value
from corral.weights.gguf.names import row_bytes
from corral.weights.gguf.values import ValueKind
from corral.weights.quantize.kernels import float32_bytes

# Makes data; its argument reads a range of the source file.
Read = Callable[[int, int], bytes]
Maker = Callable[[Read], bytes]


@dataclass(frozen=True, slots=True)
class TranslatedTensor:
    """`shape` has the fastest dimension first. Either `ranges` (offset and size in the source) or `make` is set."""

    shape: tuple[int, ...]
    type_name: str
    ranges: tuple[tuple[int, int], ...] = ()
    make: Maker | None = None

    @property
    def size_bytes(self) -> int:
        return NewTensor("", self.shape, self.type_name).size_bytes

    @property
    def n_elements(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return count

    def data(self, read: Read) -> bytes:
        """All of the data; for tensors of vision towers, not for those of several gigabytes."""
        if self.make is not None:
            return self.make(read)
        return b"".join(read(offset, size) for offset, size in self.ranges)

    def floats(self, read: Read) -> bytes:
        """All of the data as float32."""
        data = self.data(read)
        return data if self.type_name == "F32" else float32_bytes(self.type_name, data, self.n_elements)


class TranslatedFile:
    """A translation under construction."""

    def __init__(self, gguf: GGUFFile) -> None:
        self.gguf = gguf
        self.architecture = gguf.architecture
        self.values: dict[str, bytes] = gguf.raw_values()
        self.tensors: dict[str, TranslatedTensor] = {
            tensor.name: TranslatedTensor(
                tensor.shape, tensor.type_name, ((gguf.data_offset + tensor.offset, tensor.size_bytes),)
            )
            for tensor in gguf.tensors
        }

    # Values

    def get(self, key: str, default: Any = None) -> Any:
        """A value as a Python object, with texts decoded and arrays as lists."""
        if key not in self.values:
            return default
        kind, value = decode_value(self.values[key])
        if kind != "string":
            return value
        if isinstance(value, list):
            return [text.decode("utf-8", "replace") for text in value]
        return value.decode("utf-8", "replace")

    def own(self, leaf: str, default: Any = None) -> Any:
        """A value of the source architecture."""
        return self.get(f"{self.architecture}.{leaf}", default)

    def own_number(self, leaf: str, default: int | None = None) -> int:
        """An integer value of the source architecture.

        Raises:
            GGUFError: it is missing without a default, or not an integer.
        """
        value = self.own(leaf, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise GGUFError(f"{self.architecture}.{leaf} is {value!r}, a number is needed")
        return value

    def put(self, key: str, value: Any, kind: ValueKind) -> None:
        self.values[key] = encode_value(value, kind)

    def inject(self, key: str, value: Any, kind: ValueKind) -> None:
        if key not in self.values:
            self.put(key, value, kind)

    def copy(self, old: str, new: str) -> None:
        if old in self.values and new not in self.values:
            self.values[new] = self.values[old]

    def copy_prefix(self, new: str) -> None:
        """Copy every value of the source architecture to a new one, which becomes the view's."""
        old = self.architecture + "."
        for key in list(self.values):
            if key.startswith(old):
                self.copy(key, f"{new}.{key.removeprefix(old)}")
        self.put("general.architecture", new, "string")

    def drop(self, *keys: str) -> None:
        for key in keys:
            self.values.pop(key, None)

    def tokens_cut_to(self, count: int) -> None:
        """Shorten the vocabulary to the number of rows of the embeddings."""
        for name in ("tokens", "scores", "token_type"):
            key = f"tokenizer.ggml.{name}"
            if key not in self.values or not isinstance(self.gguf.metadata.get(key), GGUFArray):
                continue
            kind, values = decode_value(self.values[key])
            if len(values) > count:
                self.put(key, values[:count], kind)

    # Tensors

    def has(self, *prefixes: str) -> bool:
        """Whether a tensor's name starts with this prefix."""
        return any(name.startswith(prefixes) for name in self.tensors)

    def rows(self, name: str) -> int:
        """The second dimension. Raises GGUFError: no such tensor."""
        shape = self._tensor(name).shape
        return shape[1] if len(shape) > 1 else 1

    def columns(self, name: str) -> int:
        """The first dimension. Raises GGUFError: no such tensor."""
        return self._tensor(name).shape[0]

    def _tensor(self, name: str) -> TranslatedTensor:
        if name not in self.tensors:
            raise GGUFError(f"the file has no tensor {name!r}")
        return self.tensors[name]

    def hide(self, *prefixes: str) -> None:
        self.tensors = {n: t for n, t in self.tensors.items() if not n.startswith(prefixes)}

    def keep(self, *prefixes: str) -> None:
        self.tensors = {n: t for n, t in self.tensors.items() if n.startswith(prefixes)}

    def rename(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Replace the first occurrence of each old part in each name, pair by pair.

        Raises:
            GGUFError: two tensors would get the same name.
        """
        rules = list(pairs)

        def renamed(name: str) -> str:
            for old, new in rules:
                name = name.replace(old, new, 1)
            return name

        self.map_names(renamed)

    def map_names(self, renamed: Callable[[str], str]) -> None:
        tensors: dict[str, TranslatedTensor] = {}
        for name, tensor in self.tensors.items():
            new = renamed(name)
            if new in tensors:
                raise GGUFError(f"two tensors would be named {new!r}")
            tensors[new] = tensor
        self.tensors = tensors

    def promote(self, *names: str) -> None:
        """Convert F16 to F32; other types and missing tensors are ignored."""
        for name in names:
            tensor = self.tensors.get(name)
            if tensor is not None and tensor.type_name == "F16":
                self.tensors[name] = TranslatedTensor(tensor.shape, "F32", make=tensor.floats)

    def join(self, new: str, parts: Sequence[str], shape: tuple[int, ...]) -> None:
        """Make a tensor from the concatenated data of others, which are removed.

        Raises:
            GGUFError: their types differ, or the shape does not fit.
        """
        joined = [self._tensor(name) for name in parts]
        if len({tensor.type_name for tensor in joined}) != 1:
            raise GGUFError(f"{', '.join(parts)} have different types")
        ranges = tuple(piece for tensor in joined for piece in tensor.ranges)
        made = TranslatedTensor(shape, joined[0].type_name, ranges)
        if any(tensor.make for tensor in joined):
            made = replace(made, ranges=(), make=lambda read: b"".join(t.data(read) for t in joined))
        if sum(tensor.size_bytes for tensor in joined) != made.size_bytes:
            raise GGUFError(f"{', '.join(parts)} do not make a tensor of shape {shape}")
        self._replace(parts, new, made)

    def join_floats(self, new: str, parts: Sequence[str], shape: tuple[int, ...]) -> None:
        """Like `join`, but everything is converted to float32 first."""
        joined = [self._tensor(name) for name in parts]
        if sum(tensor.n_elements for tensor in joined) != TranslatedTensor(shape, "F32").n_elements:
            raise GGUFError(f"{', '.join(parts)} do not make a tensor of shape {shape}")
        made = TranslatedTensor(shape, "F32", make=lambda read: b"".join(t.floats(read) for t in joined))
        self._replace(parts, new, made)

    def interleave(self, new: str, first: str, second: str, shape: tuple[int, ...], groups: int) -> None:
        """Make a tensor that interleaves the groups of two others, which are removed. Only for ranges."""
        a, b = self._tensor(first), self._tensor(second)
        if a.type_name != b.type_name or a.shape != b.shape or a.size_bytes % groups:
            raise GGUFError(f"{first} and {second} differ")
        (a_start, _), (b_start, _) = a.ranges[0], b.ranges[0]
        step = a.size_bytes // groups
        ranges = tuple(
            (start + group * step, step) for group in range(groups) for start in (a_start, b_start)
        )
        self._replace((first, second), new, TranslatedTensor(shape, a.type_name, ranges))

    def _replace(self, old: Sequence[str], new: str, tensor: TranslatedTensor) -> None:
        """Put a tensor in place of the first of others."""
        tensors: dict[str, TranslatedTensor] = {}
        for name, existing in self.tensors.items():
            if name == old[0]:
                tensors[new] = tensor
            elif name not in old:
                tensors[name] = existing
        self.tensors = tensors

    def permute_rows(self, name: str, heads: int) -> None:
        """Reorder the rows of each head from halves to pairs: new row 2d+s is old row s·n/2+d.

        Raises:
            GGUFError: the number of rows is not a multiple of the heads.
        """
        tensor = self._tensor(name)
        rows = tensor.shape[1] if len(tensor.shape) > 1 else 0
        if heads <= 0 or rows % (2 * heads) or not tensor.ranges:
            raise GGUFError(f"{name} has {rows} rows, which {heads} heads do not divide")
        order = paired_order(rows, heads)
        size = row_bytes(tensor.type_name, tensor.shape[0])

        def make(read: Read) -> bytes:
            data = tensor.data(read)
            return b"".join(data[row * size : (row + 1) * size] for row in order)

        self.tensors[name] = TranslatedTensor(tensor.shape, tensor.type_name, make=make)

    def zeros(self, name: str, shape: tuple[int, ...]) -> None:
        """Add a tensor of float32 zeros."""
        size = NewTensor("", shape, "F32").size_bytes
        self.tensors[name] = TranslatedTensor(shape, "F32", make=lambda _read: bytes(size))

    def add_one(self, name: str) -> None:
        """Convert to float32 and add 1: for norms stored as the difference to 1."""
        tensor = self._tensor(name)

        def make(read: Read) -> bytes:
            values = struct.unpack(f"<{tensor.n_elements}f", tensor.floats(read))
            return struct.pack(f"<{tensor.n_elements}f", *(value + 1.0 for value in values))

        self.tensors[name] = TranslatedTensor(tensor.shape, "F32", make=make)


def paired_order(rows: int, heads: int) -> list[int]:
    """The old row of each new one."""
    size = rows // heads
    half = size // 2
    return [head * size + s * half + d for head in range(heads) for d in range(half) for s in (0, 1)]


def reader_of(handle: int) -> Read:
    """Reads ranges of an open file.

    Returns:
        A function that raises GGUFError if the file has become shorter.
    """

    def read(offset: int, size: int) -> bytes:
        data = os.pread(handle, size, offset)
        while len(data) < size:
            more = os.pread(handle, size - len(data), offset + len(data))
            if not more:
                raise GGUFError("file became shorter after its header was read")
            data += more
        return data

    return read
