"""Results as a table for terminals, as Markdown, and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.duel.contest import Results
from bench.duel.figures import Figure
from bench.duel.stats import is_busy, median, ratio, tail


@dataclass(frozen=True, slots=True)
class Table:
    """`rows`: as many cells as `head`, the first one being text and the others numbers or marks."""

    head: list[str]
    rows: list[list[str]]
    notes: list[str]


def number(value: float) -> str:
    """Three digits that say something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(results: Results) -> Table:
    """A row for each figure that any peer has or failed at. Ratios are those of medians to the first peer's."""
    first, *others = results.peers
    head = [
        "figure (median, p95)",
        "unit",
        "better",
        *results.peers,
        *(f"{name} / {first}" for name in others),
    ]
    notes: list[str] = []
    rows = []
    for figure in results.figures:
        cells = [_cell(results, figure, peer, notes) for peer in results.peers]
        if all(cell == "-" for cell in cells):
            continue
        ratios = [ratio(results.of(figure, first), results.of(figure, peer)) for peer in others]
        shown = ["-" if value is None else f"{value:.2f}" for value in ratios]
        better = "lower" if figure.is_lower_better else "higher"
        rows.append([figure.title, figure.unit, better, *cells, *shown])
    return Table(head, rows, notes)


def _cell(results: Results, figure: Figure, peer: str, notes: list[str]) -> str:
    samples = results.of(figure, peer)
    text = "-"
    if samples:
        far = tail(samples, is_lower_better=figure.is_lower_better)
        text = number(median(samples)) if len(samples) == 1 else f"{number(median(samples))} ({number(far)})"
    error = results.errors.get((figure.key, peer))
    if error is None:
        return text
    note = f"{peer}: {error}"
    if note not in notes:
        notes.append(note)
    return f"{text if samples else 'failed'} [{notes.index(note) + 1}]"


def markdown(content: Table) -> str:
    def row(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    marks = ["---", "---", "---", *("---:" for _ in content.head[3:])]
    lines = [row(content.head), row(marks), *(row(cells) for cells in content.rows)]
    notes = [f"- {line}" if line else "" for line in _notes(content)]
    return "\n".join([*lines, *notes])


def terminal(content: Table) -> str:
    widths = [max(len(row[i]) for row in [content.head, *content.rows]) for i in range(len(content.head))]

    def row(cells: list[str]) -> str:
        padded = (
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    lines = [row(content.head), "  ".join("-" * width for width in widths), *(row(c) for c in content.rows)]
    return "\n".join([*lines, *_notes(content)])


def _notes(content: Table) -> list[str]:
    # Errors are what servers wrote: one line each.
    notes = [f"[{i}] {' '.join(note.split())}" for i, note in enumerate(content.notes, 1)]
    return ["", *notes] if notes else []


def load_line(when: str, load: float, core_count: int) -> str:
    """The load average, with a warning if it is high."""
    line = f"load average at the {when}: {load:.2f} on {core_count} cores"
    if not is_busy(load, core_count):
        return line
    if when == "start":
        return f"{line}. WARNING: the machine is busy, the figures are not to be trusted"
    return f"{line}. WARNING: above 0.5 a core; the benchmark itself has its share in it"


def as_json(results: Results) -> list[dict[str, Any]]:
    """All figures, with every sample."""
    return [
        {
            "key": figure.key,
            "title": figure.title,
            "unit": figure.unit,
            "better": "lower" if figure.is_lower_better else "higher",
            "peers": {peer: _peer_json(results, figure, peer) for peer in results.peers},
        }
        for figure in results.figures
    ]


def _peer_json(results: Results, figure: Figure, peer: str) -> dict[str, Any]:
    samples = results.of(figure, peer)
    base = results.of(figure, results.peers[0])
    return {
        "median": median(samples) if samples else None,
        "p95": tail(samples, is_lower_better=figure.is_lower_better) if samples else None,
        "ratio": ratio(base, samples),
        "samples": samples,
        "error": results.errors.get((figure.key, peer)),
    }
