"""Reads SentencePiece's tokenizer.model, a protocol buffer of which a dozen fields are needed.

Fields: google/sentencepiece, src/sentencepiece_model.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import isfinite

from corral.errors import ConversionError
from corral.weights.convert.tokenizer.vocabulary import MAX_TOKENS, TokenType, Vocabulary

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_UNIGRAM, _BPE = 1, 2
# ModelProto.SentencePiece.Type
_TYPES = {
    1: TokenType.NORMAL,
    2: TokenType.UNKNOWN,
    3: TokenType.CONTROL,
    4: TokenType.USER_DEFINED,
    5: TokenType.UNUSED,
    6: TokenType.BYTE,
}


def parse_model(data: bytes, name: str) -> Vocabulary:
    """The vocabulary of a SentencePiece model.

    Raises:
        ConversionError: not a SentencePiece model, or a kind that the engine does not support.
    """
    tokens: list[str] = []
    scores: list[float] = []
    types: list[int] = []
    model_type, normalizer = _UNIGRAM, b""
    try:
        for number, value in _fields(data):
            if number == _PIECES and isinstance(value, bytes):
                text, score, kind = _piece(value)
                tokens.append(text)
                scores.append(score)
                types.append(kind)
            elif number == _TRAINER and isinstance(value, bytes):
                model_type = next((v for n, v in _fields(value) if n == 3 and isinstance(v, int)), _UNIGRAM)
            elif number == _NORMALIZER and isinstance(value, bytes):
                normalizer = value
            if len(tokens) > MAX_TOKENS:
                raise ConversionError(f"{name}: more tokens than any model has")
        charsmap, adds_prefix, removes_spaces = _normalizer(normalizer)
    except (ValueError, IndexError, struct.error) as exc:
        raise ConversionError(f"{name}: not a SentencePiece model ({exc})") from exc
    if not tokens:
        raise ConversionError(f"{name}: not a SentencePiece model, or one without tokens")
    flags = {"add_space_prefix": adds_prefix}
    if model_type == _BPE:
        return Vocabulary("llama", "default", tokens, types, scores=scores, flags=flags)
    if model_type == _UNIGRAM:
        flags["remove_extra_whitespaces"] = removes_spaces
        return Vocabulary("t5", "default", tokens, types, scores=scores, flags=flags, charsmap=charsmap)
    raise ConversionError(f"{name}: SentencePiece models by word or character cannot be converted")


def _piece(data: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, 1
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            text = value.decode("utf-8", "replace")
        elif number == 2 and isinstance(value, float):
            score = value if isfinite(value) else 0.0
        elif number == 3 and isinstance(value, int):
            kind = value
    return text, score, int(_TYPES.get(kind, TokenType.NORMAL))


def _normalizer(data: bytes) -> tuple[bytes, bool, bool]:
    charsmap, adds_prefix, removes_spaces = b"", True, True
    for number, value in _fields(data):
        if number == 2 and isinstance(value, bytes):
            charsmap = value
        elif number == 3:
            adds_prefix = bool(value)
        elif number == 4:
            removes_spaces = bool(value)
    return charsmap, adds_prefix, removes_spaces


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Field numbers and values of one message.

    Raises:
        ValueError, IndexError, struct.error: the bytes are not a message.
    """
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise ValueError("field number 0")
        if wire_type == _VARINT:
            value, position = _varint(data, position)
            yield number, value
        elif wire_type == _BYTES:
            length, position = _varint(data, position)
            if length > len(data) - position:
                raise ValueError("it ends inside a field")
            yield number, data[position : position + length]
            position += length
        elif wire_type == _FIXED32:
            yield number, struct.unpack_from("<f", data, position)[0]
            position += 4
        elif wire_type == _FIXED64:
            yield number, struct.unpack_from("<d", data, position)[0]
            position += 8
        else:
            raise ValueError(f"wire type {wire_type}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number that is too long")
