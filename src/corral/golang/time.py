"""Go's formats of times and durations: RFC 3339 with nanoseconds, `1h2m3s`, keep_alive values."""

from __future__ import annotations

import datetime
import re
import time
from typing import Any

from corral.errors import InvalidRequestError

# Go's longest duration, about 292 years: "never" on the wire.
# Python refuses to parse numbers of thousands of digits; durations are much shorter.
_MAX_CHARS = 400
FOREVER_NS = 2**63 - 1
_SECOND_NS = 1_000_000_000
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": _SECOND_NS,
    "m": 60 * _SECOND_NS,
    "h": 3600 * _SECOND_NS,
}
_NUMBER = re.compile(r"([0-9]*)(?:\.([0-9]*))?")
_UNIT = re.compile(r"[^0-9.]+")
_SECONDS = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?")

_cached_second = (-1, "")


def format_utc_now() -> str:
    """The current time in UTC, with up to nine fractional digits."""
    global _cached_second
    second, nanosecond = divmod(time.time_ns(), _SECOND_NS)
    cached, prefix = _cached_second
    if cached != second:
        prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _cached_second = (second, prefix)
    return f"{prefix}.{nanosecond:09d}".rstrip("0").rstrip(".") + "Z"


def format_local_time(epoch_ns: int) -> str:
    """A time in this machine's time zone; `Z` for UTC."""
    second, nanosecond = divmod(epoch_ns, _SECOND_NS)
    try:
        moment = datetime.datetime.fromtimestamp(second, datetime.UTC).astimezone()
        offset = moment.strftime("%z")
    except (OverflowError, ValueError, OSError):
        moment, offset = datetime.datetime.max, "+0000"
    digits = f".{nanosecond:09d}".rstrip("0").rstrip(".")
    zone = "Z" if offset in ("", "+0000") else f"{offset[:3]}:{offset[3:5]}"
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + digits + zone


def parse_duration_ns(text: str) -> int:
    """Read a duration like `1h30m` or `-1.5s`.

    Raises:
        InvalidRequestError: with Go's message.
    """
    invalid = InvalidRequestError(f"time: invalid duration {_quoted(text)}")
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest or len(rest) > _MAX_CHARS:
        raise invalid
    total = 0
    while rest:
        number = _NUMBER.match(rest)
        if number is None or not (number[1] or number[2]):
            raise invalid
        rest = rest[number.end() :]
        unit = _UNIT.match(rest)
        if unit is None:
            raise InvalidRequestError(f"time: missing unit in duration {_quoted(text)}")
        if unit[0] not in _UNITS_NS:
            raise InvalidRequestError(f"time: unknown unit {_quoted(unit[0])} in duration {_quoted(text)}")
        rest = rest[unit.end() :]
        scale = _UNITS_NS[unit[0]]
        total += int(number[1] or "0") * scale
        if fraction := number[2]:
            total += int(fraction) * scale // 10 ** len(fraction)
        if total > FOREVER_NS:
            raise invalid
    return -total if text.startswith("-") else total


def _quoted(text: str) -> str:
    """A quoted text as Go's time package writes it: non-ASCII characters as bytes."""
    shown = "".join(
        "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "replace"))
        if character < " " or character > "\x7f"
        else f"\\{character}"
        if character in '"\\'
        else character
        for character in text
    )
    return f'"{shown}"'


def parse_keep_alive(value: Any) -> int | None:
    """A request's `keep_alive` in nanoseconds: None if absent, FOREVER_NS for any negative value.

    Numbers are seconds. So are numbers in strings, which Ollama refuses because the unit is missing. In Ollama, a
    number that overflows Go's durations becomes negative after the check for negative ones, and the model is unloaded
    as soon as it is idle.

    Raises:
        InvalidRequestError
    """
    if value is None:
        return None
    if isinstance(value, bool):
        raise InvalidRequestError("Unsupported type: 'bool'")
    if isinstance(value, int | float):
        if value < 0:
            return FOREVER_NS
        # 1 ns: expires at once, but is not the explicit zero that means "unload now".
        return int(value * _SECOND_NS) if value <= FOREVER_NS // _SECOND_NS else 1
    if isinstance(value, str):
        if _SECONDS.fullmatch(value):
            return parse_keep_alive(float(value) if "." in value else int(value))
        nanoseconds = parse_duration_ns(value)
        return FOREVER_NS if nanoseconds < 0 else nanoseconds
    kind = "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"
    raise InvalidRequestError(f"Unsupported type: '{kind}'")


def format_duration(duration_ns: int) -> str:
    """A duration in Go's format: `1.5s`, `987.654µs`, `1h2m3s`."""
    if duration_ns == 0:
        return "0s"
    sign, left = ("-", -duration_ns) if duration_ns < 0 else ("", duration_ns)
    for limit, scale, unit in ((1_000, 1, "ns"), (1_000_000, 1_000, "µs"), (_SECOND_NS, 1_000_000, "ms")):
        if left < limit:
            return sign + _decimal(left, scale) + unit
    minutes, nanoseconds = divmod(left, 60 * _SECOND_NS)
    text = _decimal(nanoseconds, _SECOND_NS) + "s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = (f"{hours}h" if hours else "") + f"{minutes}m{text}"
    return sign + text


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    if not rest:
        return str(whole)
    digits = len(str(scale)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")
