"""Bytes to text: UTF-8, UTF-16 and UTF-32, recognised by a byte-order mark or by their zero bytes.

Ollama replaces invalid bytes by U+FFFD, so text in Latin-1 silently loses its letters.
"""

from __future__ import annotations

# UTF-32's little-endian mark begins with that of UTF-16.
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


class EncodingError(ValueError):
    """Bytes that are invalid in their encoding. `line` counts from 1."""

    def __init__(self, message: str, *, line: int, detail: str) -> None:
        super().__init__(message)
        self.line = line
        self.detail = detail


def decode_text(data: bytes) -> str:
    """Raises EncodingError."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decode(data[len(mark) :], encoding)
    return _decode(data, _unmarked(data))


def _unmarked(data: bytes) -> str:
    """The encoding of a text without a byte-order mark: in UTF-16 every other byte of ASCII letters is zero."""
    if len(data) % 2 == 0 and b"\0" in data:
        even, odd = data[::2].count(0), data[1::2].count(0)
        for encoding, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
            if 4 * zeros > len(data) and 8 * others < zeros:
                return encoding
    return "utf-8"


def _decode(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(encoding, "replace").count("\n") + 1
        bad = data[error.start : error.start + 1]
        hint = ""
        if encoding == "utf-8":
            hint = f", which would be {bad.decode('latin-1')!r} in Latin-1"
        raise EncodingError(
            f"the Modelfile is not valid {encoding.upper()}: save it as UTF-8",
            line=line,
            detail=f"byte 0x{bad.hex()} is not {encoding.upper()}{hint}",
        ) from None
