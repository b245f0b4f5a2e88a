"""Draws deploy/grafana/corral.json without Grafana: every panel's queries, asked of a Prometheus, in one image.

    pip install matplotlib
    python -m scripts.grafana_picture http://127.0.0.1:9090 board.png [--minutes 15] [--step 5]

A panel without data says so. The status is 1 if a query is refused.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import math
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.grafana_board import BOARD

# Grafana's grid: 24 columns; a row of it is 30 pixels high.
_COLUMNS, _INCHES_OF_A_COLUMN, _INCHES_OF_A_ROW = 24, 0.85, 0.42
_SCALES: dict[str, tuple[float, tuple[str, ...]]] = {
    "bytes": (1024, ("B", "KiB", "MiB", "GiB", "TiB")),
    "Bps": (1000, ("B/s", "kB/s", "MB/s", "GB/s")),
    "short": (1000, ("", "K", "M", "B")),
    "reqps": (1000, ("/s", "K/s", "M/s")),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A series: its legend, and values by Unix time; NaN where there is none."""

    legend: str
    times: list[float]
    values: list[float]


class Source:
    """A Prometheus, and the time that is looked at."""

    def __init__(self, address: str, minutes: float, step_s: float) -> None:
        self._address = address
        self._step_s = step_s
        self.end_s = time.time()
        self.start_s = self.end_s - minutes * 60
        self.refused: list[str] = []

    def lines(self, target: dict[str, Any], longest_gap_s: float) -> list[Line]:
        """The series of a query, with Grafana's variables in it. Longer gaps are not drawn over."""
        expression = target["expr"]
        for name, value in (
            ("$__rate_interval", f"{max(4 * self._step_s, 15):g}s"), ("$instance", ".*"), ("$model", ".*")
        ):  # fmt: skip
            expression = expression.replace(name, value)
        words = {"query": expression, "start": self.start_s, "end": self.end_s, "step": self._step_s}
        try:
            with urllib.request.urlopen(
                f"{self._address}/api/v1/query_range?{urllib.parse.urlencode(words)}", timeout=60
            ) as response:
                found = json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            self.refused.append(f"{expression}: {error.read().decode()}")
            return []
        return [_line(series, target["legendFormat"], longest_gap_s) for series in found]


def _line(series: dict[str, Any], legend: str, longest_gap_s: float) -> Line:
    text = re.sub(r"{{\s*(\w+)\s*}}", lambda match: series["metric"].get(match[1], ""), legend)
    pairs: list[tuple[float, float]] = []
    for at, value in series["values"]:
        if pairs and at - pairs[-1][0] > longest_gap_s:
            pairs.append((at - longest_gap_s, math.nan))
        pairs.append((float(at), float(value)))
    return Line(text, [at for at, _ in pairs], [value for _, value in pairs])


def shown(value: float, unit: str) -> str:
    """A number on an axis."""
    if unit == "percentunit":
        return f"{value * 100:.0f} %"
    if unit == "s":
        return f"{value:.3g} s" if value >= 1 or not value else f"{value * 1000:.3g} ms"
    base, names = _SCALES[unit]
    place = 0
    while abs(value) >= base and place < len(names) - 1:
        value, place = value / base, place + 1
    return f"{value:.3g} {names[place]}".strip()


def _matplotlib(part: str) -> Any:
    """A module of matplotlib, which is not a dependency: only who draws needs it."""
    return importlib.import_module(f"matplotlib{part}")


def draw(board: dict[str, Any], source: Source, path: Path) -> int:
    """Write the image; returns how many panels have no data."""
    _matplotlib("").use("Agg")
    pyplot = _matplotlib(".pyplot")
    panels = board["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = pyplot.figure(figsize=(_COLUMNS * _INCHES_OF_A_COLUMN, height * _INCHES_OF_A_ROW), dpi=80)
    empty = 0
    for panel in panels:
        place = panel["gridPos"]
        left, top = place["x"] / _COLUMNS, 1 - place["y"] / height
        if panel["type"] == "row":
            figure.text(
                left + 0.005, top - 0.7 / height, panel["title"], fontsize=13, weight="bold", va="center"
            )
            continue
        width = place["w"] / _COLUMNS
        bottom = 1 - (place["y"] + place["h"]) / height
        box = (left + 0.035, bottom + 2.6 / height, width - 0.045, (place["h"] - 3.8) / height)
        empty += not _draw_panel(figure.add_axes(box), panel, source)
    figure.savefig(path)
    return empty


def _draw_panel(axes: Any, panel: dict[str, Any], source: Source) -> bool:
    """False if there is nothing to see."""
    defaults = panel["fieldConfig"]["defaults"]
    gap_s = defaults["custom"]["spanNulls"] / 1000
    lines = [line for target in panel["targets"] for line in source.lines(target, gap_s)]
    axes.set_title(panel["title"], fontsize=10, loc="left")
    axes.set_xlim(*(datetime.datetime.fromtimestamp(at) for at in (source.start_s, source.end_s)))
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, alpha=0.3)
    if not lines:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="gray")
        return False
    if "stacking" in defaults["custom"]:
        _stack(axes, lines)
    else:
        for line in lines:
            axes.plot(
                [datetime.datetime.fromtimestamp(at) for at in line.times],
                line.values,
                ".-",  # a value by itself, between two gaps, is a point
                ms=1.5,
                lw=1,
                label=line.legend,
            )
    axes.set_ylim(bottom=defaults.get("min", 0))
    if defaults["unit"] == "bytes":
        step = 2 ** math.ceil(math.log2(max(axes.get_ylim()[1] / 6, 1)))
        axes.yaxis.set_major_locator(_matplotlib(".ticker").MultipleLocator(step))
    axes.xaxis.set_major_formatter(_matplotlib(".dates").DateFormatter("%H:%M"))
    axes.yaxis.set_major_formatter(lambda value, _place: shown(value, defaults["unit"]))
    axes.legend(
        fontsize=6.5, ncols=2, loc="upper left", bbox_to_anchor=(0, -0.1), frameon=False, borderaxespad=0.2
    )
    return True


def _stack(axes: Any, lines: list[Line]) -> None:
    times = sorted({at for line in lines for at in line.times})
    rows = []
    for line in lines:
        known = dict(zip(line.times, line.values, strict=True))
        rows.append([0.0 if math.isnan(value := known.get(at, 0.0)) else value for at in times])
    moments = [datetime.datetime.fromtimestamp(at) for at in times]
    axes.stackplot(moments, rows, labels=[line.legend for line in lines], alpha=0.6)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address")
    parser.add_argument("image", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--step", type=float, default=5, help="seconds between two points")
    arguments = parser.parse_args()
    source = Source(arguments.address, arguments.minutes, arguments.step)
    empty = draw(json.loads(BOARD.read_text()), source, arguments.image)
    print(f"{arguments.image}: {empty} panels without data")
    for line in source.refused:
        print(f"refused: {line}", file=sys.stderr)
    return 1 if source.refused else 0


if __name__ == "__main__":
    sys.exit(main())
