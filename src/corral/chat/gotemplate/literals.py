"""Go's constants as written in templates, and Go's quoting for messages and `%q`.

Text values are `str`; a byte that is not UTF-8 (from `\\xff`, or from cutting inside a character) is a lone surrogate
U+DC80..U+DCFF, as Python's `surrogateescape` has it. Source of behaviour: Go's strconv and text/template/parse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SIMPLE_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
}
_NAMED = {char: "\\" + name for name, char in _SIMPLE_ESCAPES.items()}
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(?s:.)?)"
)
_UINT64_MAX = (1 << 64) - 1
_INT64_MAX = (1 << 63) - 1


def to_bytes(text: str) -> bytes:
    """Encode a template string as Go holds it."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # A surrogate that stands for no byte: Go reads such JSON as the replacement character.
        return re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", text).encode("utf-8", "surrogateescape")


def to_text(data: bytes) -> str:
    """Decode bytes of a Go string; `to_bytes` gives them back unchanged."""
    return data.decode("utf-8", "surrogateescape")


def is_print(char: str) -> bool:
    """Whether Go prints a character as itself in quotes (unicode.IsPrint)."""
    return char.isprintable()


def unicode_name(char: str) -> str:
    """Format a character like Go's `%#U`."""
    name = f"U+{ord(char):04X}"
    return f"{name} '{char}'" if is_print(char) else name


def _escape_char(char: str, mark: str) -> str:
    code = ord(char)
    if char == mark:
        return "\\" + char
    if char in _NAMED:
        return _NAMED[char]
    if is_print(char):
        return char
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quote(text: str) -> str:
    """Quote a string like Go's strconv.Quote."""
    return '"' + "".join(_escape_char(char, '"') for char in text) + '"'


def quote_char(code: int) -> str:
    """Quote a code point like Go's strconv.QuoteRune; what is not a character becomes U+FFFD."""
    char = chr(code) if 0 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else "\ufffd"
    return "'" + _escape_char(char, "'") + "'"


def _unescape(body: str, mark: str) -> str:
    """Replace the escapes of an interpreted literal. Raises ValueError as strconv.Unquote fails."""

    def replaced(match: re.Match[str]) -> str:
        simple, byte, short, long, octal = match.groups()
        if simple is not None:
            if simple in "'\"" and simple != mark:
                raise ValueError("invalid syntax")
            return _SIMPLE_ESCAPES.get(simple, simple)
        if byte is not None or octal is not None:
            code = int(byte, 16) if byte is not None else int(octal, 8)
            if code > 0xFF:
                raise ValueError("invalid syntax")
            return chr(code) if code < 0x80 else chr(0xDC00 + code)
        if short is None and long is None:
            raise ValueError("invalid syntax")
        code = int(short or long, 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise ValueError("invalid syntax")
        return chr(code)

    text = _ESCAPE.sub(replaced, body)
    # Bytes written one by one may make up whole characters.
    return to_text(to_bytes(text)) if mark == '"' and _SURROGATE.search(text) else text


def unquote(literal: str) -> str:
    """Read a quoted or raw string literal.

    Raises:
        ValueError: with Go's text.
    """
    if literal[0] == "`":
        return literal[1:-1].replace("\r", "")
    return _unescape(literal[1:-1], '"')


def parse_char_constant(literal: str) -> int:
    """Read `'a'` as its code point.

    Raises:
        ValueError: with Go's text.
    """
    body = literal[1:-1]
    if not body:
        raise ValueError("invalid syntax")
    first = _ESCAPE.match(body) if body[0] == "\\" else None
    end = first.end() if first else 1
    char = _unescape(body[:end], "'")
    if end != len(body):
        raise ValueError(f"malformed character constant: {literal}")
    code = ord(char)
    return code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code


@dataclass(frozen=True, slots=True)
class Number:
    """A numeric constant. `value` is what it is as an untyped constant; None when it overflows an int."""

    value: int | float | complex | None


_DECIMAL_INT = re.compile(r"[+-]?(?:0|[1-9](?:_?[0-9])*)")
_PREFIXED_INT = re.compile(r"[+-]?0(?:[xX](?:_?[0-9a-fA-F])+|[oO](?:_?[0-7])+|[bB](?:_?[01])+|(?:_?[0-7])+)")
_DECIMAL_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEX_FLOAT = re.compile(r"[+-]?0[xX](?:_?[0-9a-fA-F])*(?:\.[0-9a-fA-F_]*)?[pP][+-]?[0-9]+")


def _parse_int(text: str) -> int | None:
    """Read an integer constant of any base that Go infers from its prefix."""
    if _DECIMAL_INT.fullmatch(text):
        return int(text) if len(text) < 100 else None
    if not _PREFIXED_INT.fullmatch(text):
        return None
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.lstrip("+"))
    digits = digits.replace("_", "").lower()
    if digits[1] in "xob":
        return sign * int(digits, 0)
    return sign * int(digits, 8)


def _parse_float(text: str) -> float | None:
    """Read a float constant; None when it is none or too large."""
    if _HEX_FLOAT.fullmatch(text):
        try:
            return float.fromhex(text.replace("_", ""))
        except (ValueError, OverflowError):
            return None
    if not _DECIMAL_FLOAT.fullmatch(text):
        return None
    value = float(text)
    return None if value in (float("inf"), float("-inf")) else value


def _parse_imaginary(text: str) -> complex | None:
    if not text.endswith("i"):
        return None
    imaginary = _parse_float(text[:-1])
    return None if imaginary is None else complex(0, imaginary)


def parse_number(text: str, *, is_complex: bool) -> Number:
    """Read an int, float or complex constant.

    Raises:
        ValueError: with Go's text.
    """
    if is_complex:
        split = max(text.rfind("+"), text.rfind("-"))
        if text[split - 1] in "eEpP":
            split = max(text.rfind("+", 0, split - 1), text.rfind("-", 0, split - 1))
        real, imaginary = _parse_float(text[:split]), _parse_imaginary(text[split:])
        if real is None or imaginary is None:
            raise ValueError("syntax error scanning complex number")
        return Number(real + imaginary)
    imaginary = _parse_imaginary(text)
    if imaginary is not None:
        return Number(imaginary)
    integer = _parse_int(text)
    if integer is not None:
        if -_INT64_MAX - 1 <= integer <= _INT64_MAX:
            return Number(integer)
        if 0 <= integer <= _UINT64_MAX and text[0] not in "+-":
            return Number(None)
    value = _parse_float(text)
    if value is None:
        raise ValueError(f"illegal number syntax: {quote(text)}")
    if not any(char in ".eEpP" for char in text):
        raise ValueError(f"integer overflow: {quote(text)}")
    return Number(value)
