"""Headers of model files, each read and checked once for each change of the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corral.bounded import BoundedCache
from corral.errors import GGUFError
from corral.weights.gguf import GGUFFile, check_loadable

_MAX_HEADERS = 512
_MAX_BYTES = 64 << 20
_VALUE_BYTES = 400
_TENSOR_BYTES = 700


@dataclass(slots=True)
class Header:
    """`problem`: why the engine must not be given the file (empty: it may); None until somebody asks."""

    gguf: GGUFFile
    problem: str | None = None


_headers: BoundedCache[tuple[str, int, int, int], Header] = BoundedCache(
    max_entries=_MAX_HEADERS, max_bytes=_MAX_BYTES
)


def open_header(path: Path) -> GGUFFile:
    """Read the header of a file.

    Raises:
        GGUFError, OSError
    """
    return _open(path).gguf


def checked_header(path: Path, *, is_known_loadable: bool = False) -> tuple[GGUFFile, str]:
    """A header, and why the engine must not be given the file (empty: it may).

    The check looks at every token of the vocabulary. `is_known_loadable`: it was passed before, by this very file.

    Raises:
        GGUFError, OSError
    """
    header = _open(path)
    if header.problem is None:
        header.problem = "" if is_known_loadable else _problem(header.gguf)
    return header.gguf, header.problem


def header_bytes(gguf: GGUFFile) -> int:
    """About what a header takes in memory; arrays stay in the file."""
    texts = sum(len(value) for value in gguf.metadata.values() if isinstance(value, str))
    return texts + _VALUE_BYTES * len(gguf.metadata) + _TENSOR_BYTES * len(gguf.tensors)


def _open(path: Path) -> Header:
    info = path.stat()
    key = (str(path), info.st_size, info.st_mtime_ns, info.st_ino)
    header = _headers.get(key)
    if header is None:
        header = Header(GGUFFile.open(path))
        _headers.put(key, header, header_bytes(header.gguf))
    return header


def _problem(gguf: GGUFFile) -> str:
    try:
        check_loadable(gguf)
    except GGUFError as exc:
        return str(exc)
    return ""
