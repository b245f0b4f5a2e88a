"""JSON as Go's encoder writes it: compact, with `<`, `>` and `&` escaped, and Go's number formats.

Digests of stored blobs depend on these bytes. On the hot path, one string is encoded per token.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from corral.golang.time import format_local_time, format_utc_now

__all__ = [
    "Float32",
    "encode",
    "encode_float32_list",
    "encode_float64_list",
    "encode_plain",
    "encode_sorted",
    "escape_string",
    "finite_or_text",
    "format_local_time",
    "format_utc_now",
    "shorten_float32",
]

_pack = struct.Struct("<f").pack
_unpack = struct.Struct("<f").unpack


class Float32(float):
    """A number that Go stores in 32 bits; it is printed with only as many digits as these need."""

    __slots__ = ()


def escape_string(text: str) -> bytes:
    """A JSON string with its quotes."""
    try:
        data = orjson.dumps(text)
    except orjson.JSONEncodeError:  # a lone surrogate
        data = orjson.dumps(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return _with_escapes(data)


def encode_plain(value: Any) -> bytes:
    """A value that consists of lists, integers and strings as JSON, at the speed of orjson."""
    return _with_escapes(orjson.dumps(value))


def _with_escapes(data: bytes) -> bytes:
    """JSON with Go's additional escapes; these characters only occur in strings."""
    if b"<" in data:
        data = data.replace(b"<", b"\\u003c")
    if b">" in data:
        data = data.replace(b">", b"\\u003e")
    if b"&" in data:
        data = data.replace(b"&", b"\\u0026")
    if b"\xe2\x80" in data:
        data = data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return data


def encode(value: Any) -> bytes:
    """A value as JSON; objects keep the order of their members."""
    parts: list[bytes] = []
    _append(parts, value, is_sorted=False)
    return b"".join(parts)


def encode_sorted(value: Any) -> bytes:
    """A value as JSON; members of objects sorted by their UTF-8 names, as Go writes maps."""
    parts: list[bytes] = []
    _append(parts, value, is_sorted=True)
    return b"".join(parts)


def _append(parts: list[bytes], value: Any, *, is_sorted: bool) -> None:
    if value is None:
        parts.append(b"null")
    elif isinstance(value, bool):
        parts.append(b"true" if value else b"false")
    elif isinstance(value, str):
        parts.append(escape_string(value))
    elif isinstance(value, int):
        parts.append(b"%d" % value)
    elif isinstance(value, float):
        parts.append(_number(value).encode("ascii"))
    elif isinstance(value, Mapping):
        items = list(value.items())
        if is_sorted:
            items.sort(key=_utf8_name)
        parts.append(b"{")
        for i, (name, member) in enumerate(items):
            parts.append((b"," if i else b"") + escape_string(str(name)) + b":")
            _append(parts, member, is_sorted=is_sorted)
        parts.append(b"}")
    elif isinstance(value, Sequence):
        parts.append(b"[")
        for i, element in enumerate(value):
            if i:
                parts.append(b",")
            _append(parts, element, is_sorted=is_sorted)
        parts.append(b"]")
    else:
        raise TypeError(f"{type(value).__name__} has no JSON form")


def finite_or_text(value: float) -> float | str:
    """A number, or Go's name for one that JSON does not have (NaN, infinities)."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _utf8_name(item: tuple[Any, Any]) -> bytes:
    return str(item[0]).encode("utf-8", "surrogatepass")


def _number(value: float) -> str:
    """A float in Go's format: exponents only below 1e-6 and from 1e21 on, integers without a point.

    Raises:
        ValueError: NaN or infinity, which JSON does not have.
    """
    if not math.isfinite(value):
        raise ValueError(f"json: unsupported value: {value}")
    text = _shortest32(value) if isinstance(value, Float32) else repr(float(value))
    mantissa, _, exponent = text.partition("e")
    magnitude = abs(float(text))
    if magnitude != 0 and (magnitude < 1e-6 or magnitude >= 1e21):
        if not exponent:
            mantissa, exponent = f"{float(text):e}".split("e")
            mantissa = mantissa.rstrip("0")
        return f"{mantissa.removesuffix('.0').rstrip('.')}e{'-' if int(exponent) < 0 else '+'}{abs(int(exponent))}"
    if exponent:
        text = _positional(mantissa, int(exponent))
    return text.removesuffix(".0")


def _positional(mantissa: str, exponent: int) -> str:
    """Digits without an exponent."""
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = whole + fraction
    point = len(whole) + exponent
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}".rstrip("0")
    if point >= len(digits):
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}".rstrip("0").rstrip(".")


def _shortest32(value: float) -> str:
    """The shortest decimal that is the same 32-bit number."""
    wanted = _unpack(_pack(value))[0]
    for digits in (6, 7, 8):
        text = f"{wanted:.{digits}g}"
        if _unpack(_pack(float(text)))[0] == wanted:
            break
    else:
        text = f"{wanted:.9g}"
    return repr(float(text))


def encode_float32_list(values: Sequence[float]) -> bytes:
    """A list of 32-bit numbers, each with as few digits as possible, at the speed of orjson.

    Only numbers that Go formats differently are rewritten.
    """
    import numpy

    data = orjson.dumps(numpy.asarray(values, dtype=numpy.float32), option=orjson.OPT_SERIALIZE_NUMPY)
    if b"e" in data or b".0," in data or b".0]" in data:
        return _OTHER_FORM.sub(_shorten_match, data)
    return data


def encode_float64_list(values: Sequence[float]) -> bytes:
    """The same for 64-bit numbers: as `encode` writes them, at the speed of orjson."""
    import numpy

    data = orjson.dumps(numpy.asarray(values, dtype=numpy.float64), option=orjson.OPT_SERIALIZE_NUMPY)
    if b"e" in data or b".0," in data or b".0]" in data:
        return _OTHER_FORM.sub(_other_form, data)
    return data


# Exponents and whole numbers.
_OTHER_FORM = re.compile(rb"-?[\d.]+e[-+]?\d+|-?\d+\.0(?=[,\]])")


def shorten_float32(value: float) -> float:
    """The shortest decimal text of a 32-bit number."""
    return float(_shortest32(value))


def _other_form(match: re.Match[bytes]) -> bytes:
    return _number(float(match[0])).encode("ascii")


def _shorten_match(match: re.Match[bytes]) -> bytes:
    return _number(Float32(float(match[0]))).encode("ascii")
