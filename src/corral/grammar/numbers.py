"""Integers between bounds as a grammar: every number in the range and no other."""

from __future__ import annotations

__all__ = ["integer_range"]

_MAX_DIGITS = 16


def integer_range(least: int | None, most: int | None) -> str:
    """GBNF alternatives for `least <= n <= most`; None leaves a side open (to sixteen digits)."""
    limit = 10**_MAX_DIGITS - 1
    low = -limit if least is None else max(least, -limit)
    high = limit if most is None else min(most, limit)
    parts = []
    if low < 0:
        top = min(high, -1)
        parts += [f'"-" {part}' for part in _positive(-top, -low)]
    if high >= 0:
        parts += _positive(max(low, 0), high)
    return " | ".join(parts)


def _positive(low: int, high: int) -> list[str]:
    """Alternatives for numbers without a sign, split by their count of digits."""
    parts = []
    for digits in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 0 if digits == 1 else 10 ** (digits - 1))
        last = min(high, 10**digits - 1)
        if first <= last:
            parts += _same_length(str(first), str(last))
    return parts


def _same_length(low: str, high: str) -> list[str]:
    """Alternatives for digit strings of one length between two others."""
    if low == high:
        return [f'"{low}"']
    if set(low) == {"0"} and set(high) == {"9"}:
        return [_digits(len(low))]
    if len(low) == 1:
        return [f"[{low}-{high}]"]
    head_low, head_high = low[0], high[0]
    rest = len(low) - 1
    if head_low == head_high:
        return [f'"{head_low}" ({" | ".join(_same_length(low[1:], high[1:]))})']
    parts = []
    first, last = int(head_low), int(head_high)
    if low[1:] != "0" * rest:
        parts.append(f'"{first}" ({" | ".join(_same_length(low[1:], "9" * rest))})')
        first += 1
    if high[1:] != "9" * rest:
        tail = f'"{last}" ({" | ".join(_same_length("0" * rest, high[1:]))})'
        last -= 1
    else:
        tail = ""
    if first <= last:
        head = f'"{first}"' if first == last else f"[{first}-{last}]"
        parts.append(f"{head} {_digits(rest)}")
    return [*parts, tail] if tail else parts


def _digits(count: int) -> str:
    return "[0-9]" if count == 1 else f"[0-9]{{{count}}}"
