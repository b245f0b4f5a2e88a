"""Responses that contain arrays of model files, as JSON in pieces, so that no vocabulary is in memory as a whole."""

from __future__ import annotations

import base64
import codecs
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import orjson

from corral.errors import GGUFError, InvalidRequestError
from corral.golang.json import Float32, encode, encode_float32_list, escape_string, finite_or_text
from corral.weights.gguf import GGUFArray

# Of all arrays in one response, as stored in the files. The largest vocabularies in use have 20 MiB.
MAX_ARRAY_BYTES = 256 << 20
_PIECE_BYTES = 1 << 16
# Elements per piece; divisible by three, so that pieces of base64 can be concatenated.
_PIECE_ELEMENTS = 3 * 4096
_U64 = struct.Struct("<Q").unpack


def answer_pieces(answer: Mapping[str, Any]) -> Iterator[bytes]:
    """The JSON of a response in pieces of about 64 KiB. Everything but the arrays is encoded before the first piece.

    Raises:
        InvalidRequestError: the arrays are too large.
        ValueError: NaN or infinity.
        GGUFError: while iterating: the file became shorter.
    """
    parts = _joined(list(_parts(answer)))
    size_bytes = sum(part.size_bytes for part in parts if isinstance(part, GGUFArray))
    if size_bytes > MAX_ARRAY_BYTES:
        raise InvalidRequestError(
            f"the arrays of this model are too large to be shown: {size_bytes >> 20} MiB"
            f" (at most {MAX_ARRAY_BYTES >> 20} MiB)",
            hint='omit "verbose"',
        )
    return _pieces(parts)


def _parts(value: Any) -> Iterator[bytes | GGUFArray]:
    """JSON, with the arrays in between."""
    if isinstance(value, GGUFArray):
        yield value
    elif isinstance(value, Mapping):
        before = b"{"
        for name, member in value.items():
            yield before + escape_string(name) + b":"
            yield from _parts(member)
            before = b","
        yield b"}" if value else b"{}"
    else:
        yield encode(value)


def _joined(parts: list[bytes | GGUFArray]) -> list[bytes | GGUFArray]:
    joined: list[bytes | GGUFArray] = []
    run: list[bytes] = []
    for part in parts:
        if isinstance(part, bytes):
            run.append(part)
        else:
            joined += [b"".join(run), part]
            run = []
    return [*joined, b"".join(run)]


def _pieces(parts: list[bytes | GGUFArray]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    for part in parts:
        for piece in (part,) if isinstance(part, bytes) else _array(part):
            waiting.append(piece)
            size += len(piece)
            if size >= _PIECE_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
    yield b"".join(waiting)


def _array(array: GGUFArray) -> Iterator[bytes]:
    with array.open() as file:
        if array.element_type == "uint8":
            yield b'"'
            for data in _chunks(file, len(array), 1):
                yield base64.b64encode(data)
            yield b'"'
            return
        yield b"["
        yield from _strings(file, len(array)) if array.element_type == "string" else _numbers(file, array)
        yield b"]"


def _numbers(file: BinaryIO, array: GGUFArray) -> Iterator[bytes]:
    code = array.struct_code
    size = struct.calcsize("<" + code)
    before = b""
    for data in _chunks(file, len(array), size):
        values = struct.unpack(f"<{len(data) // size}{code}", data)
        if code == "f" and all(map(math.isfinite, values)):
            text = encode_float32_list(values)
        elif code in "fd":
            number = Float32 if code == "f" else float
            text = encode([finite_or_text(number(value)) for value in values])
        else:
            text = orjson.dumps(values)
        yield before + text[1:-1]
        before = b","


def _chunks(file: BinaryIO, count: int, size: int) -> Iterator[bytes]:
    """The bytes of `count` elements of `size` bytes."""
    for first in range(0, count, _PIECE_ELEMENTS):
        yield _exactly(file, min(_PIECE_ELEMENTS, count - first) * size)


def _strings(file: BinaryIO, count: int) -> Iterator[bytes]:
    before = b""
    for _ in range(count):
        (length,) = _U64(_exactly(file, 8))
        if length <= _PIECE_BYTES:
            yield before + escape_string(_exactly(file, length).decode("utf-8", "replace"))
        else:
            yield before
            yield from _long_string(file, length)
        before = b","


def _long_string(file: BinaryIO, length: int) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    yield b'"'
    for position in range(0, length, _PIECE_BYTES):
        data = _exactly(file, min(_PIECE_BYTES, length - position))
        yield escape_string(decoder.decode(data, position + len(data) == length))[1:-1]
    yield b'"'


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise GGUFError("file became shorter after its header was read")
    return data
