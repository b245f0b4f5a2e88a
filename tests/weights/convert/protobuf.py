"""Writes SentencePiece model files by hand, after src/sentencepiece_model.proto of google/sentencepiece."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _bytes(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def model_file(
    pieces: Sequence[tuple[str, float, int]], *, model_type: int, prefix: bool = True, charsmap: bytes = b""
) -> bytes:
    """A ModelProto: pieces with scores and types, trainer_spec.model_type, normalizer_spec."""
    data = b""
    for text, score, kind in pieces:
        score_field = _varint(2 << 3 | 5) + struct.pack("<f", score)
        data += _bytes(1, _bytes(1, text.encode()) + score_field + _integer(3, kind))
    data += _bytes(2, _bytes(2, b"prefix") + _integer(3, model_type))
    return data + _bytes(
        3, _bytes(1, b"nmt_nfkc") + _bytes(2, charsmap) + _integer(3, prefix) + _integer(4, 0)
    )
