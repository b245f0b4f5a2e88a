"""Quantises a model file: rows are streamed through a pool of threads, each with its own buffers.

The place of every tensor is known before the first is read. So threads read, convert and write without waiting for
each other, and need a few MB of memory each, whatever the model. llama.cpp: src/llama-quant.cpp.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from corral.disk import check_space, write_all
from corral.errors import QuantizeError
from corral.weights.gguf import GGUFFile, NewTensor, TensorInfo, build_header, encode_value
from corral.weights.gguf.names import FILE_TYPE_NUMBERS, row_bytes
from corral.weights.quantize import kernels
from corral.weights.quantize.file_types import FLOAT_TYPES, parse_file_type
from corral.weights.quantize.imatrix import Imatrix
from corral.weights.quantize.output import in_model_order, llama_values
from corral.weights.quantize.rules import ModelFacts, TypeChooser, needs_importance

# Takes the processed and the total bytes of the source.
Progress = Callable[[int, int], None]

_CHUNK_ELEMENTS = 1 << 19
_COPY_BYTES = 4 << 20
# Parts for other loaders in the same file: they are not changed. Ollama: server/create.go.
_EMBEDDED_PREFIXES = ("a.", "mm.", "mtp.", "s.", "v.")
_TEXT_BYTES = 127


@dataclass(frozen=True, slots=True)
class _Plan:
    """The new type and place of a tensor. Offsets are absolute in their files."""

    tensor: TensorInfo
    new_type: str
    source_offset: int
    target_offset: int

    @property
    def row_elements(self) -> int:
        return self.tensor.shape[0]

    @property
    def n_rows(self) -> int:
        return self.tensor.n_elements // self.row_elements


@dataclass(frozen=True, slots=True)
class _Job:
    """Rows of a tensor for one thread; with an importance matrix, all are of the same expert."""

    plan: _Plan
    first_row: int
    n_rows: int
    importance: array[float] | None


def quantize_file(
    source: Path,
    destination: Path,
    file_type: str,
    *,
    imatrix: Path | None = None,
    n_threads: int = 0,
    on_progress: Progress | None = None,
    allow_requantize: bool = False,
    tensor_types: Mapping[str, str] | None = None,
) -> None:
    """Write a model with its weights in another type. The data is byte for byte that of llama-quantize.

    `file_type` is in any letter case, such as `Q4_K_M`. `n_threads` 0: one per core. `tensor_types` maps patterns of
    tensor names to types that override the mix; by default those that Ollama uses for some architectures.
    `on_progress` is called in the calling thread; an exception in it aborts the work. Nothing is left at
    `destination` after a failure. Blocks: call it in a thread.

    Raises:
        QuantizeError: an unknown type, one that needs an importance matrix, weights that are already quantised
            (unless `allow_requantize`), or values that are not finite numbers.
        GGUFError: the source is invalid.
        StoreError: not enough space.
        OSError
    """
    file_type = parse_file_type(file_type)
    gguf = GGUFFile.open(source)
    matrix = Imatrix.open(imatrix) if imatrix is not None else None
    plans, header_bytes, file_bytes = _plan(gguf, file_type, matrix, allow_requantize, tensor_types)
    check_space(destination, file_bytes)
    kernels.load()
    try:
        with source.open("rb") as source_file, destination.open("wb") as target_file:
            target_file.write(header_bytes)
            target_file.flush()
            os.truncate(target_file.fileno(), file_bytes)
            worker = _Worker(source_file.fileno(), target_file.fileno())
            total_bytes = sum(plan.tensor.size_bytes for plan in plans)
            threads = n_threads if n_threads > 0 else _usable_cores()
            _run(worker, _jobs(plans, matrix), threads, total_bytes, on_progress)
    except BaseException:
        destination.unlink(missing_ok=True)
        raise


def _plan(
    gguf: GGUFFile,
    file_type: str,
    matrix: Imatrix | None,
    allow_requantize: bool,
    tensor_types: Mapping[str, str] | None,
) -> tuple[list[_Plan], bytes, int]:
    """The type and place of every tensor. What cannot be done is refused here, before anything is written."""
    by_name = {tensor.name: tensor for tensor in gguf.tensors}
    order = [by_name[name] for name in in_model_order(by_name)]
    is_text = gguf.architecture != "clip"
    chosen = [tensor for tensor in order if not (is_text and tensor.name.startswith(_EMBEDDED_PREFIXES))]
    chooser = TypeChooser(
        ModelFacts.of(gguf),
        file_type,
        [tensor.name for tensor in chosen],
        has_imatrix=matrix is not None,
        tensor_types=tensor_types,
    )
    kinds = {tensor.name: chooser.choose(tensor) for tensor in chosen}
    for tensor in chosen:
        _check(tensor, kinds[tensor.name], file_type, matrix, allow_requantize)
    values = llama_values(gguf, FILE_TYPE_NUMBERS[file_type])
    for key in ("split.no", "split.count", "split.tensors.count"):
        values.pop(key, None)
    if matrix is not None:
        values |= _imatrix_values(matrix)
    tensors = [NewTensor(t.name, t.shape, kinds.get(t.name, t.type_name)) for t in order]
    header = build_header(values, tensors)
    plans = [
        _Plan(tensor, new.type_name, gguf.data_offset + tensor.offset, offset)
        for tensor, new, offset in zip(order, tensors, header.offsets, strict=True)
    ]
    return plans, header.data, header.file_bytes


def _check(
    tensor: TensorInfo, new_type: str, file_type: str, matrix: Imatrix | None, allow_requantize: bool
) -> None:
    if new_type == tensor.type_name:
        return
    if needs_importance(tensor.name, new_type, file_type) and (
        matrix is None or matrix.length(tensor.name) is None
    ):
        if matrix is None:
            raise QuantizeError(
                f"quantizing to {file_type} requires an importance matrix (tensor {tensor.name} becomes {new_type})",
                hint="create one with llama-imatrix and pass it as imatrix, or choose Q2_K or a larger type",
            )
        raise QuantizeError(
            f"the importance matrix has no values for tensor {tensor.name}, which {new_type} needs"
        )
    if tensor.type_name not in FLOAT_TYPES and not allow_requantize:
        raise QuantizeError(
            f"tensor {tensor.name} is of type {tensor.type_name}: quantization is only supported for "
            "F16, BF16 and F32 weights",
            hint="quantize from the original weights: every further step loses precision",
        )


def _imatrix_values(matrix: Imatrix) -> dict[str, bytes]:
    """The values that llama-quantize records; the file without its path, which is private."""
    values = {"quantize.imatrix.file": encode_value(matrix.path.name[:_TEXT_BYTES], "string")}
    if matrix.dataset:
        values["quantize.imatrix.dataset"] = encode_value(matrix.dataset[:_TEXT_BYTES], "string")
    values["quantize.imatrix.entries_count"] = encode_value(len(matrix), "uint32")
    if matrix.chunk_count > 0:
        values["quantize.imatrix.chunks_count"] = encode_value(matrix.chunk_count, "uint32")
    return values


def _jobs(plans: list[_Plan], matrix: Imatrix | None) -> Iterator[_Job]:
    for plan in plans:
        tensor = plan.tensor
        is_copy = plan.new_type == tensor.type_name
        importance = None if is_copy or matrix is None else _importance(matrix, tensor)
        rows_a_job = max(1, (_COPY_BYTES // 4 if is_copy else _CHUNK_ELEMENTS) // plan.row_elements)
        # Rows per expert: each expert has its own importance values.
        group = tensor.shape[1] if importance is not None and len(tensor.shape) > 2 else plan.n_rows
        for start in range(0, plan.n_rows, group):
            expert = start // group
            part = importance
            if importance is not None and group != plan.n_rows:
                part = importance[expert * plan.row_elements : (expert + 1) * plan.row_elements]
            for row in range(start, start + group, rows_a_job):
                yield _Job(plan, row, min(rows_a_job, start + group - row), part)


def _importance(matrix: Imatrix, tensor: TensorInfo) -> array[float] | None:
    """A tensor's importance values, if the matrix has them.

    Raises:
        QuantizeError: their number does not fit the tensor.
    """
    length = matrix.length(tensor.name)
    if length is None:
        return None
    expected = tensor.shape[0] * (tensor.shape[2] if len(tensor.shape) > 2 else 1)
    if length == expected:
        return matrix.values(tensor.name)
    if tensor.name in ("token_embd.weight", "per_layer_token_embd.weight"):
        return None
    raise QuantizeError(
        f"imatrix size {length} is different from tensor size {expected} for {tensor.name}: "
        "the importance matrix belongs to another model"
    )


class _Worker:
    """Runs jobs; usable from any number of threads."""

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._local = threading.local()

    def __call__(self, job: _Job) -> int:
        """Run a job; returns the bytes of the source that it processed.

        Raises:
            QuantizeError, OSError
        """
        plan = job.plan
        old_type, new_type = plan.tensor.type_name, plan.new_type
        n_elements = job.n_rows * plan.row_elements
        old_bytes = row_bytes(old_type, n_elements)
        new_bytes = row_bytes(new_type, n_elements)
        source = self._buffer("source", old_bytes)
        self._read(
            source, plan.source_offset + row_bytes(old_type, job.first_row * plan.row_elements), old_bytes
        )
        address = _address(source)
        if not kernels.is_valid(old_type, address, old_bytes):
            raise QuantizeError(f"tensor '{plan.tensor.name}' has invalid data")
        result = source
        if old_type != new_type:
            if old_type != "F32":
                floats = _address(self._buffer("floats", 4 * n_elements))
                kernels.to_float32(old_type, address, floats, n_elements)
                address = floats
            result = self._buffer("target", new_bytes)
            importance = job.importance.buffer_info()[0] if job.importance is not None else None
            written = kernels.quantize_rows(
                new_type, address, _address(result), job.n_rows, plan.row_elements, importance
            )
            if written != new_bytes or not kernels.is_valid(new_type, _address(result), new_bytes):
                raise QuantizeError(f"tensor '{plan.tensor.name}': quantized data validation failed")
        offset = plan.target_offset + row_bytes(new_type, job.first_row * plan.row_elements)
        write_all(self._target, memoryview(result)[:new_bytes], offset)
        return old_bytes

    def _buffer(self, name: str, size: int) -> bytearray:
        """This thread's buffer of a name, at least of this size."""
        buffer: bytearray | None = getattr(self._local, name, None)
        if buffer is None or len(buffer) < size:
            buffer = bytearray(size)
            setattr(self._local, name, buffer)
        return buffer

    def _read(self, buffer: bytearray, offset: int, count: int) -> None:
        view = memoryview(buffer)[:count]
        while view:
            n_read = _read_into(self._source, view, offset)
            if n_read == 0:
                raise QuantizeError("the model file became shorter while it was read")
            view, offset = view[n_read:], offset + n_read


def _usable_cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read_into(handle: int, view: memoryview, offset: int) -> int:
    """Read from an offset of a file into a buffer; returns the bytes read."""
    if sys.platform == "linux":
        return os.preadv(handle, [view], offset)
    data = os.pread(handle, len(view), offset)
    view[: len(data)] = data
    return len(data)


def _address(buffer: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def _run(
    worker: Callable[[_Job], int],
    jobs: Iterator[_Job],
    n_threads: int,
    total_bytes: int,
    on_progress: Progress | None,
) -> None:
    """Run jobs in a pool, with a few more queued than there are threads; stops at the first failure."""
    done_bytes = 0
    waiting: deque[Future[int]] = deque()
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="quantize")
    try:
        for job in jobs:
            if len(waiting) >= 2 * n_threads + 2:
                done_bytes += waiting.popleft().result()
                if on_progress is not None:
                    on_progress(done_bytes, total_bytes)
            waiting.append(pool.submit(worker, job))
        while waiting:
            done_bytes += waiting.popleft().result()
            if on_progress is not None:
                on_progress(done_bytes, total_bytes)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
