"""Sizes, counts, times and tables as Ollama prints them. Ollama: format/, tablewriter settings."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from corral.cli.terminal.screen import safe

_UNITS = ("B", "KB", "MB", "GB", "TB")
CELL_WIDTH = 30
_GAP = "    "


def format_bytes(size_bytes: int) -> str:
    """Decimal units: truncated to a whole number from 10 on, else with one decimal unless it is zero."""
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
    days = hours // 24
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


def display_width(text: str) -> int:
    """The width of a text in terminal columns."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    width = wcswidth(text)
    return width if width >= 0 else len(text)


def format_table(
    rows: Sequence[Sequence[str]],
    *,
    header: Sequence[str] = (),
    indent: str = "",
    cell_width: int = CELL_WIDTH,
) -> str:
    """Columns four blanks apart, wide cells wrapped at blanks; ends with a newline unless there is nothing.

    Control characters become visible symbols: cells hold text from servers and model files.
    """
    lines = [([*header], False)] if header else []
    for row in rows:
        lines += _wrap_row(row, cell_width)
    if not lines:
        return ""
    count = max(len(cells) for cells, _ in lines)
    widths = [
        max(display_width(cells[i]) if i < len(cells) else 0 for cells, _ in lines) for i in range(count)
    ]
    out = []
    for number, (cells, is_continued) in enumerate(lines):
        cells += [""] * (count - len(cells))
        padded = [_pad(cell, width) + _GAP for cell, width in zip(cells, widths, strict=True)]
        if header and number == 0:  # Ollama cuts the padding of its last heading
            padded[-1] = _pad(cells[-1], widths[-1]) + " "
        out.append(indent + ("  " if is_continued else "") + "".join(padded))
    return "\n".join(out) + "\n"


def _pad(cell: str, width: int) -> str:
    return cell + " " * (width - display_width(cell))


def _wrap_row(row: Sequence[str], cell_width: int) -> list[tuple[list[str], bool]]:
    """One row as lines, each with whether it continues the line above."""
    columns = [wrap_words(cell, cell_width) for cell in row]
    height = max(map(len, columns), default=1)
    return [([column[i] if i < len(column) else "" for column in columns], i > 0) for i in range(height)]


def wrap_words(cell: str, limit: int) -> list[str]:
    """Lines no wider than the limit (or the widest word), with the least squared slack in all but the last line."""
    words = safe(cell).split()  # Ollama collapses white space in cells too
    joined = " ".join(words)
    if display_width(joined) <= limit:
        return [joined]
    sizes = [display_width(word) for word in words]
    limit = max(limit, *sizes)
    count = len(words)
    # cost[i]: least cost of the words from i on; cut[i]: where the line that begins at i ends.
    cost, cut = [0] * (count + 1), [count] * (count + 1)
    for start in range(count - 1, -1, -1):
        best, width = None, -1
        for end in range(start + 1, count + 1):
            width += sizes[end - 1] + 1
            if width > limit:
                break
            total = 0 if end == count else (limit - width) ** 2 + cost[end]
            if best is None or total < best or end == count:
                best, cut[start] = total, end
        cost[start] = best or 0
    lines, start = [], 0
    while start < count:
        lines.append(" ".join(words[start : cut[start]]))
        start = cut[start]
    return lines
