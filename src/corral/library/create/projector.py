"""Old projector files without a projector type. Ollama: server/create.go, projector metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from corral.disk import check_space, copy_range
from corral.weights.gguf import GGUFFile, NewTensor, build_header, encode_value

_KEY = "clip.projector_type"
_COPY_BYTES = 64 << 20


def lacks_projector_type(gguf: GGUFFile) -> bool:
    """Whether a vision projector has no type, which the engine needs."""
    return (
        gguf.architecture == "clip"
        and gguf.metadata.get("clip.has_vision_encoder") is True
        and not gguf.metadata.get(_KEY)
        and not gguf.metadata.get("clip.vision.projector_type")
    )


def set_projector_type(
    source: Path, destination: Path, *, on_progress: Callable[[int, int], None], kind: str = "mlp"
) -> None:
    """Copy a file and add its projector type. Raises GGUFError, StoreError, OSError."""
    gguf = GGUFFile.open(source)
    values = gguf.raw_values() | {_KEY: encode_value(kind, "string")}
    header = build_header(values, [NewTensor(t.name, t.shape, t.type_name) for t in gguf.tensors])
    check_space(destination, header.file_bytes)
    total_bytes = sum(tensor.size_bytes for tensor in gguf.tensors)
    done_bytes = 0
    with source.open("rb") as old, destination.open("wb") as new:
        new.write(header.data)
        new.flush()
        new.truncate(header.file_bytes)
        for tensor, offset in zip(gguf.tensors, header.offsets, strict=True):
            start = gguf.data_offset + tensor.offset
            for part in range(0, tensor.size_bytes, _COPY_BYTES):
                size = min(_COPY_BYTES, tensor.size_bytes - part)
                copy_range(old.fileno(), start + part, new.fileno(), offset + part, size)
                done_bytes += size
                on_progress(done_bytes, total_bytes)
