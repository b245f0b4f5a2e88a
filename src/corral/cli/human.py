"""Sizes, counts, times and tables as the original prints them. Ollama: format/, tablewriter settings."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

__all__ = ["format_age", "format_bytes", "format_count", "format_table", "parse_time"]

_UNITS = ("B", "KB", "MB", "GB", "TB")
_CELL_WIDTH = 30


def format_bytes(size_bytes: int) -> str:
    """Decimal units: whole from 10 on, else one decimal unless it is whole."""
    value, unit = float(size_bytes), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    if value >= 10 or value == int(value):
        return f"{int(value)} {_UNITS[unit]}"
    return f"{value:.1f} {_UNITS[unit]}"


def format_count(count: float) -> str:
    """Parameters and the like: 3.2B, 1.23M, 2K."""
    for limit, decimals, unit in ((1e9, 1, "B"), (1e6, 2, "M")):
        if count >= limit:
            value = count / limit
            return f"{value:.0f}{unit}" if value == int(value) else f"{value:.{decimals}f}{unit}"
    return f"{count / 1e3:.0f}K" if count >= 1e3 else str(int(count))


def parse_time(text: str) -> datetime.datetime | None:
    """An RFC 3339 time with up to nine digits of a second; None for Go's zero time."""
    if text.startswith("0001-01-01"):
        return None
    head, dot, tail = text.partition(".")
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"
    year = int(text[:4])
    if year > 9998:
        text = "9998" + text[4:]
    return datetime.datetime.fromisoformat(text)


def format_age(moment: datetime.datetime | None, now: datetime.datetime | None = None) -> str:
    """How long ago, or from now."""
    if moment is None:
        return "Never"
    now = now or datetime.datetime.now(datetime.UTC)
    seconds = (now - moment).total_seconds()
    if seconds < -20 * 365 * 86400:
        return "Forever"
    return _span(abs(seconds)) + (" ago" if seconds >= 0 else " from now")


def _span(seconds: float) -> str:
    hours = int(seconds / 3600 + 0.5)
    days = int(seconds // 86400)
    steps = (
        (seconds < 1, "Less than a second"),
        (seconds < 2, "1 second"),
        (seconds < 60, f"{int(seconds)} seconds"),
        (seconds < 120, "About a minute"),
        (seconds < 3600, f"{int(seconds // 60)} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (days < 14, f"{days} days"),
        (days < 60, f"{days // 7} weeks"),
        (days < 730, f"{days // 30} months"),
    )
    return next((text for holds, text in steps if holds), f"{days // 365} years")


def format_table(rows: Sequence[Sequence[str]], *, header: Sequence[str] = ()) -> str:
    """Columns four blanks apart, cells wrapped at 30 characters; ends with a newline unless there are no rows."""
    lines: list[list[str]] = [list(header)] if header else []
    for row in rows:
        lines += _wrap_row(row)
    if not lines:
        return ""
    column_count = max(map(len, lines))
    for line in lines:
        line += [""] * (column_count - len(line))
    widths = [max(len(line[i]) for line in lines) for i in range(column_count)]
    out = []
    for number, line in enumerate(lines):
        cells = [cell.ljust(width) + "    " for cell, width in zip(line, widths, strict=True)]
        if header and number == 0:
            cells[-1] = line[-1].ljust(widths[-1]) + " "
        out.append("".join(cells))
    return "\n".join(out) + "\n"


def _wrap_row(row: Sequence[str]) -> list[list[str]]:
    """One row as lines; what does not fit a cell goes on below, two blanks in."""
    columns = [_wrap(cell) for cell in row]
    height = max(map(len, columns), default=1)
    return [[column[i] if i < len(column) else "" for column in columns] for i in range(height)]


def _wrap(cell: str) -> list[str]:
    if len(cell) <= _CELL_WIDTH or " " not in cell:
        return [cell]
    lines, current = [], ""
    for word in cell.split(" "):
        if current and len(current) + 1 + len(word) > _CELL_WIDTH:
            lines.append(current)
            current = word
        else:
            current = f"{current} {word}" if current else word
    lines.append(current)
    return [lines[0], *("  " + line for line in lines[1:])]
