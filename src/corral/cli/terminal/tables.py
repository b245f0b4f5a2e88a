"""Tables fitted to narrow terminals; Ollama's break in the middle of words there."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from corral.cli.terminal.formatting import display_width, format_table, wrap_words
from corral.cli.terminal.screen import is_terminal, terminal_size

_GAPS = (4, 3, 2, 1)
_TIGHT = 2


def screen_table(
    rows: Sequence[Sequence[str]], *, header: Sequence[str], dispensable: Sequence[str] = ()
) -> str:
    """A table for stdout: at full width in a pipe, fitted to the screen on a terminal."""
    if not is_terminal(sys.stdout):
        return format_table(rows, header=header)
    return fit_table(rows, header=header, width=terminal_size(sys.stdout)[0], dispensable=dispensable)


def screen_text(text: str) -> str:
    """A paragraph for stdout, wrapped on a terminal."""
    if not is_terminal(sys.stdout):
        return text
    return "\n".join(wrap_words(text, max(terminal_size(sys.stdout)[0] - 1, 1)))


def fit_table(
    rows: Sequence[Sequence[str]], *, header: Sequence[str], width: int, dispensable: Sequence[str] = ()
) -> str:
    """A table that fits into `width` columns of the screen.

    To fit, it gives up in this order: trailing blanks, wide gaps between columns, headings on one line, rows on one
    line, and whole columns (`dispensable` names them, the first one is dropped first). Names are never cut.
    """
    text = format_table(rows, header=header)
    if _width(text) <= width:
        return text
    names = list(header)
    for gap in _GAPS:
        text = _layout(rows, [[name] for name in names], gap)
        if _width(text) <= width:
            return text
    text = _layout(rows, _wrapped(rows, names), _TIGHT)
    for dropped in ("", *dispensable):
        if dropped:
            place = names.index(dropped)
            names.pop(place)
            rows = [[*row[:place], *row[place + 1 :]] for row in rows]
        elif _width(text) <= width:
            break
        text, needed = _in_two_lines(rows, names)
        if needed <= width:
            break
    return text


def _width(text: str) -> int:
    return max(map(display_width, text.split("\n")))


def _column_width(rows: Sequence[Sequence[str]], place: int) -> int:
    return max((display_width(row[place]) for row in rows), default=0)


def _wrapped(rows: Sequence[Sequence[str]], names: list[str]) -> list[list[str]]:
    """Headings wrapped to the width of the cells below them."""
    return [wrap_words(name, max(_column_width(rows, i), 1)) for i, name in enumerate(names)]


def _layout(rows: Sequence[Sequence[str]], headings: list[list[str]], gap: int) -> str:
    """Lines without trailing blanks."""
    height = max(map(len, headings))
    head = [[(cell[i] if i < len(cell) else "") for cell in headings] for i in range(height)]
    lines = [*head, *map(list, rows)]
    widths = [_column_width(lines, i) for i in range(len(headings))]
    out = [
        (" " * gap)
        .join(cell + " " * (wide - display_width(cell)) for cell, wide in zip(line, widths, strict=True))
        .rstrip()
        for line in lines
    ]
    return "\n".join(out) + "\n"


def _in_two_lines(rows: Sequence[Sequence[str]], names: list[str]) -> tuple[str, int]:
    """The first column on its own line and the others below it; also the width of these."""
    below = [row[1:] for row in rows]
    text = _layout(below, _wrapped(below, names[1:]), _TIGHT)
    rest = text.removesuffix("\n").split("\n")
    height = len(rest) - len(rows)
    out = [names[0], *(f"  {line}".rstrip() for line in rest[:height])]
    for row, line in zip(rows, rest[height:], strict=True):
        out += [row[0], f"  {line}"]
    return "\n".join(out) + "\n", _width(text) + 2
