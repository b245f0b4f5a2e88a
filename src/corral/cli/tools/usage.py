"""`usage`: how much was used, by day, API key, model and API, as a table with bars."""

from __future__ import annotations

import datetime
import sys
from urllib.parse import quote

from corral.cli.frame.flags import Arguments, UsageError
from corral.cli.http.client import APIError, Client
from corral.cli.terminal.formatting import display_width
from corral.cli.terminal.screen import is_terminal, safe, terminal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_HEADINGS = {"day": "DAY", "key": "KEY", "model": "MODEL", "surface": "API"}
# Members of a row, their headings, and which columns go first where there is no room for all.
_FIGURES = {
    "requests": "REQUESTS",
    "errors": "ERRORS",
    "cancelled": "CANCELLED",
    "prompt_tokens": "PROMPT",
    "cached_tokens": "CACHED",
    "generated_tokens": "GENERATED",
    "drafted_tokens": "DRAFTED",
    "ms": "TIME",
}
_DISPENSABLE = ("drafted_tokens", "cancelled", "ms", "cached_tokens", "errors")
# Left out where nobody has any.
_RARE = ("errors", "cancelled", "drafted_tokens")
_BLOCKS = "▏▎▍▌▋▊▉█"
_GAP = "  "
# Columns go until there is room for a bar that shows something; the least that is drawn where none is left to go.
_GOOD_BAR, _MIN_BAR, _MAX_BAR = 12, 6, 40
_MAX_GAP_DAYS = 100
_WHOLE_BELOW = 100_000


def usage(client: Client, arguments: Arguments) -> None:
    """A table on a terminal and in a pipe, or what the API answers. The server must be Corral."""
    if arguments.has("json") and arguments.has("csv"):
        raise UsageError("--json and --csv exclude each other")
    wanted = {"by": "day", "since": "7d", "until": "", "key": "", "model": ""}
    given = ((name, arguments.get(name, default)) for name, default in wanted.items())
    words = [f"{name}={quote(text, safe='')}" for name, text in given if text]
    path = f"/api/usage?{'&'.join(words)}"
    try:
        if arguments.has("csv"):
            sys.stdout.write(client.text(f"{path}&format=csv"))
            return
        answer = client.call("GET", f"{path}&format=json")
    except APIError as error:
        if error.status == 404:
            raise APIError(
                "the server does not record usage (CORRAL_USAGE=0), or is too old to", 404
            ) from None
        raise
    if arguments.has("json"):
        from corral.cli.terminal.json_output import print_json

        print_json(answer)
        return
    is_screen = is_terminal(sys.stdout)
    width = terminal_size(sys.stdout)[0] if is_screen else 0
    has_blocks = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(table_of(answer, width, has_blocks=has_blocks))


def table_of(answer: dict[str, Any], width: int, *, has_blocks: bool = True) -> str:
    """What the API answered as a table, with bars on a screen of a width (0: not a screen)."""
    rows = answer["usage"] or []
    span = f"{answer['since'] or 'everything'} to {answer['until'] or 'today'}"
    if not rows:
        return f"nothing was used: {span}, days in UTC\n"
    by = answer["by"]
    if by == ["day"]:
        rows = _with_gaps(rows, answer["since"], answer["until"])
    elif by[0] != "day":
        rows = sorted(rows, key=_tokens, reverse=True)
    table = _Table(by, rows, answer["total"] if len(rows) > 1 else None)
    head = f"{span}, days in UTC\n\n" if width else ""
    return head + table.text(width, has_blocks=has_blocks)


def _tokens(row: dict[str, Any]) -> int:
    return int(row["prompt_tokens"] + row["generated_tokens"])


def _with_gaps(rows: list[dict[str, Any]], since: str, until: str) -> list[dict[str, Any]]:
    """Days without use have a line too, so that the bars are a chart over time."""
    first = datetime.date.fromisoformat(since or rows[0]["day"])
    last = datetime.date.fromisoformat(until) if until else datetime.datetime.now(datetime.UTC).date()
    last = max(last, datetime.date.fromisoformat(rows[-1]["day"]))
    count = (last - first).days + 1
    if not 0 < count <= _MAX_GAP_DAYS:
        return rows
    found = {row["day"]: row for row in rows}
    days = [(first + datetime.timedelta(days=i)).isoformat() for i in range(count)]
    return [found.get(day) or {"day": day, **dict.fromkeys(_FIGURES, 0)} for day in days]


class _Table:
    """Rows, fitted to a width: columns go, then the groups stand in a line of their own."""

    def __init__(self, by: Sequence[str], rows: list[dict[str, Any]], total: dict[str, Any] | None) -> None:
        self._rows = rows
        self._names = [name for name in _FIGURES if name not in _RARE or any(row[name] for row in rows)]
        lines = [[_group(row, name) for name in by] for row in rows]
        if total is not None:
            lines.append(["TOTAL", *("" for _ in by[1:])])
        self._groups = [[_HEADINGS[name] for name in by], *lines]
        self._figures = [*rows, total] if total is not None else [*rows]

    def text(self, width: int, *, has_blocks: bool) -> str:
        """All lines."""
        heads = _justified(self._groups, is_right=False)
        names = [*self._names]
        droppable = [name for name in _DISPENSABLE if name in names]
        while width and droppable and self._width(heads, names) + len(_GAP) + _GOOD_BAR > width:
            names.remove(droppable.pop(0))
        if width and self._width(heads, names) > width:
            above = [_GAP.join(cells).rstrip() for cells in self._groups]
            return "".join(
                f"{head}\n  {line.rstrip()}\n" for head, line in zip(above, self._columns(names), strict=True)
            )
        lines = [_GAP.join(pair) for pair in zip(heads, self._columns(names), strict=True)]
        room = min(width - self._width(heads, names) - len(_GAP), _MAX_BAR) if width else 0
        if room >= _MIN_BAR:
            lines = [
                f"{line}{_GAP}{bar}" for line, bar in zip(lines, self._bars(room, has_blocks), strict=True)
            ]
        return "".join(f"{line.rstrip()}\n" for line in lines)

    def _columns(self, names: list[str]) -> list[str]:
        head = [_FIGURES[name] for name in names]
        return _justified(
            [head, *([_figure(row, name) for name in names] for row in self._figures)], is_right=True
        )

    def _width(self, heads: list[str], names: list[str]) -> int:
        return display_width(heads[0]) + len(_GAP) + display_width(self._columns(names)[0])

    def _bars(self, room: int, has_blocks: bool) -> list[str]:
        """A bar for each row, by its tokens; the total has none."""
        most = max(map(_tokens, self._rows))
        bars = [
            _bar(_tokens(row) / most * room if most else 0.0, has_blocks=has_blocks) for row in self._rows
        ]
        return ["TOKENS", *bars, *([""] * (len(self._figures) - len(self._rows)))]


def _group(row: dict[str, Any], name: str) -> str:
    value = str(row[name])
    if name == "key" and value:
        value = f"{value} {row.get('key_name', '')}"
    return safe(value.strip()) or "-"


def _figure(row: dict[str, Any], name: str) -> str:
    return duration(row[name]) if name == "ms" else count(row[name])


def _justified(lines: list[list[str]], *, is_right: bool) -> list[str]:
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    return [
        _GAP.join(
            " " * (width - display_width(cell)) + cell
            if is_right
            else cell + " " * (width - display_width(cell))
            for cell, width in zip(line, widths, strict=True)
        )
        for line in lines
    ]


def _bar(length: float, *, has_blocks: bool) -> str:
    """A bar of so many columns; the least that can be seen for what is not nothing."""
    if not has_blocks:
        return "#" * max(round(length), length > 0)
    eighths = max(round(length * 8), length > 0)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_BLOCKS[rest - 1] if rest else "")


def count(value: float) -> str:
    """A number of tokens or requests: 99999, 100K, 1.23M, 12.3M."""
    whole = int(value)
    if whole < _WHOLE_BELOW:
        return str(whole)
    for size, unit in ((1e9, "B"), (1e6, "M")):
        if whole >= size:
            return f"{whole / size:.{2 if whole < 10 * size else 1}f}{unit}"
    return f"{whole // 1000}K"


def duration(ms: float) -> str:
    """A time: 450ms, 12.3s, 3m05s, 1h02m."""
    seconds = ms / 1000
    if not ms:
        return "0s"
    if seconds < 1:
        return f"{ms:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"
