"""Tables of a live view: columns that give way one after the other where the screen is narrow, and cut names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from corral.cli.terminal.formatting import display_width
from corral.cli.terminal.screen import safe

_GAP = 2
_ELLIPSIS = "…"
# Cells that may be cut are not made narrower than this.
_LEAST_WIDTH = 10


@dataclass(frozen=True, slots=True)
class Column:
    """`weight`: those of the least weight are left out first; the first column always stays.

    `is_cut`: its cells may be cut before a column is left out.
    """

    title: str
    weight: int
    is_number: bool = False
    is_cut: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The heading and a line for each row, none of them wider than `width`."""
    cells = [[column.title for column in columns], *([plain(cell) for cell in row] for row in rows)]
    wanted = [max(display_width(row[i]) for row in cells) for i in range(len(columns))]
    widths = _widths(columns, wanted, width)
    return [
        fit(
            (" " * _GAP).join(
                _padded(row[i], size, is_right=columns[i].is_number) for i, size in widths.items()
            ),
            width,
        )
        for row in cells
    ]


def _widths(columns: Sequence[Column], wanted: Sequence[int], width: int) -> dict[int, int]:
    """The columns that there is room for, with their widths."""
    sizes = {
        i: min(wanted[i], _LEAST_WIDTH) if column.is_cut else wanted[i] for i, column in enumerate(columns)
    }

    def spare() -> int:
        return width - sum(sizes.values()) - _GAP * (len(sizes) - 1)

    while len(sizes) > 1 and spare() < 0:
        del sizes[min((i for i in sizes if i), key=lambda i: columns[i].weight)]
    for i in sizes:
        sizes[i] += min(max(spare(), 0), wanted[i] - sizes[i])
    return sizes


def plain(text: str) -> str:
    """Text from the server on one line."""
    return safe(text).replace("\n", " ").replace("\t", " ")


def _padded(cell: str, width: int, *, is_right: bool) -> str:
    cell = fit(cell, width)
    blanks = " " * (width - display_width(cell))
    return blanks + cell if is_right else cell + blanks


def fit(text: str, width: int) -> str:
    """A text without blanks at its end, cut to this many columns."""
    text = text.rstrip()
    if display_width(text) <= width:
        return text
    text = text[: max(width, 0)]  # no character is narrower than a column
    while text and display_width(text) > width - 1:
        text = text[:-1]
    return text + _ELLIPSIS if width > 0 else ""
