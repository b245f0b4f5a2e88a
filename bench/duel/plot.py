"""Ratios as horizontal bars in an SVG file."""

from __future__ import annotations

import math
from html import escape

from bench.duel.contest import Results
from bench.duel.stats import ratio

_LABEL = 380  # pixels for the names of figures
_BARS = 420  # pixels for bars, the line of "equal" in their middle
_BAR = 14
_GAP = 8
_TOP = 56
_COLOURS = ("#2f7ed8", "#e08214", "#4d9221", "#9e5fb5", "#c0392b")


def svg(results: Results) -> str:
    """Each further peer against the first one, on a logarithmic scale: bars to the right are better.

    Times are turned round, so that 2 means twice as good for every figure. Raises ValueError if there are no two
    peers with a figure in common.
    """
    first, *others = results.peers
    rows = []
    for figure in results.figures:
        gains = [ratio(results.of(figure, first), results.of(figure, peer)) for peer in others]
        if figure.is_lower_better:
            gains = [1 / gain if gain else None for gain in gains]
        if any(gains):
            rows.append((figure.title, gains))
    if not rows:
        raise ValueError("no two peers have a figure in common")
    span = max(1.0, *(abs(math.log2(gain)) for _, gains in rows for gain in gains if gain))
    step = _BAR * len(others) + _GAP
    middle = _LABEL + _BARS / 2
    width, height = _LABEL + _BARS + 60, _TOP + step * len(rows) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="20" font-weight="bold">{escape(f"Times as good as {first}")}</text>',
    ]
    for i, peer in enumerate(others):
        x = _LABEL + i * 140
        lines.append(f'<rect x="{x}" y="28" width="12" height="12" fill="{_colour(i)}"/>')
        lines.append(f'<text x="{x + 17}" y="38">{escape(peer)}</text>')
    for number, (title, gains) in enumerate(rows):
        top = _TOP + number * step
        lines.append(
            f'<text x="{_LABEL - 8}" y="{top + step / 2}" text-anchor="end">{escape(title.replace("`", ""))}</text>'
        )
        for i, gain in enumerate(gains):
            if gain:
                lines += _bar(middle, top + i * _BAR, gain, span, _colour(i))
    lines.append(f'<line x1="{middle}" x2="{middle}" y1="{_TOP - 6}" y2="{height - 6}" stroke="#333"/>')
    return "\n".join([*lines, "</svg>", ""])


def _bar(middle: float, top: float, gain: float, span: float, colour: str) -> list[str]:
    length = abs(math.log2(gain)) / span * (_BARS / 2 - 44)
    left = middle if gain >= 1 else middle - length
    text_x, anchor = (middle + length + 4, "start") if gain >= 1 else (middle - length - 4, "end")
    return [
        f'<rect x="{left:.1f}" y="{top}" width="{length:.1f}" height="{_BAR - 2}" fill="{colour}"/>',
        f'<text x="{text_x:.1f}" y="{top + _BAR - 4}" text-anchor="{anchor}" font-size="11">{gain:.2f}</text>',
    ]


def _colour(i: int) -> str:
    return _COLOURS[i % len(_COLOURS)]
