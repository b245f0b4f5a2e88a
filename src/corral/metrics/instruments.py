"""Counters and histograms that cost a microsecond, and gauges that are asked for when somebody looks.

`prometheus_client` costs ten times as much an observation, and holds the event loop for a tenth of a second at a look
(docs/decisions/0070-metrics-of-our-own.md). Everything here belongs to the event loop: nothing is locked.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Protocol

Labels = tuple[str, ...]
Sample = tuple[Labels, float]
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Family(Protocol):
    """Series of one name. `lines` are those of the text formats, without HELP and TYPE."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def meaning(self) -> str: ...
    def lines(self) -> Iterable[str]: ...


class Counter:
    """`name` ends in `_total`."""

    kind = "counter"

    def __init__(self, name: str, meaning: str, *labels: str) -> None:
        self.name, self.meaning = name, meaning
        self._labels = labels
        self._values: dict[Labels, float] = {}
        self._heads: dict[Labels, str] = {}

    def add(self, amount: float, *values: str) -> None:
        """`values` are those of the labels, in their order."""
        self._values[values] = self._values.get(values, 0) + amount

    def value(self, *values: str) -> float:
        return self._values.get(values, 0)

    def lines(self) -> Iterable[str]:
        for values, amount in self._values.items():
            if (head := self._heads.get(values)) is None:
                head = self._heads[values] = self.name + label_text(self._labels, values)
            yield f"{head} {number(amount)}\n"


class Gauge:
    """`read` gives the series when somebody looks."""

    kind = "gauge"

    def __init__(
        self,
        name: str,
        meaning: str,
        labels: Labels,
        read: Callable[[], Iterable[Sample]],
        kind: str = "gauge",
    ) -> None:
        self.name, self.meaning, self.kind = name, meaning, kind
        self._labels = labels
        self._read = read
        # Of the series that were there at the last look.
        self._heads: dict[Labels, str] = {}

    def lines(self) -> Iterable[str]:
        known, self._heads = self._heads, {}
        for values, value in self._read():
            head = known.get(values) or self.name + label_text(self._labels, values)
            self._heads[values] = head
            yield f"{head} {number(value)}\n"


class _Series:
    """`counts` has one for each bound, and one for what is larger than all."""

    __slots__ = ("counts", "template", "total")

    def __init__(self, template: str, bound_count: int) -> None:
        self.template = template
        self.counts = [0] * (bound_count + 1)
        self.total = 0.0


class Histogram:
    """`bounds` are upper bounds, ascending."""

    kind = "histogram"

    def __init__(self, name: str, meaning: str, bounds: Sequence[float], *labels: str) -> None:
        self.name, self.meaning = name, meaning
        self.bounds = tuple(map(float, bounds))
        self._labels = labels
        self._series: dict[Labels, _Series] = {}

    def observe(self, value: float, *values: str) -> None:
        series = self._series.get(values) or self._begin(values)
        series.counts[bisect_left(self.bounds, value)] += 1
        series.total += value

    def merge(self, counts: Sequence[int], total: float, *values: str) -> None:
        """Add observations that were counted elsewhere with the same bounds."""
        series = self._series.get(values) or self._begin(values)
        series.counts = [a + b for a, b in zip(series.counts, counts, strict=True)]
        series.total += total

    def count(self, *values: str) -> int:
        series = self._series.get(values)
        return sum(series.counts) if series else 0

    def lines(self) -> Iterable[str]:
        for series in self._series.values():
            counts = tuple(accumulate(series.counts))
            yield series.template % (*counts, counts[-1], number(series.total))

    def _begin(self, values: Labels) -> _Series:
        """A series with its text made beforehand: only the numbers are missing."""
        names = (*self._labels, "le")
        parts = []
        for bound in (*self.bounds, math.inf):
            labels = label_text(names, (*values, "+Inf" if bound == math.inf else repr(bound)))
            parts.append(f"{self.name}_bucket{labels}".replace("%", "%%") + " %d\n")
        rest = label_text(self._labels, values).replace("%", "%%")
        parts += [f"{self.name}_count{rest} %d\n", f"{self.name}_sum{rest} %s\n"]
        series = self._series[values] = _Series("".join(parts), len(self.bounds))
        return series


def label_text(names: Sequence[str], values: Sequence[str]) -> str:
    """Labels in braces, escaped; empty without any."""
    if not names:
        return ""
    pairs = (f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(names, values, strict=True))
    return f"{{{','.join(pairs)}}}"


def number(value: float) -> str:
    """A value as both text formats read it."""
    if isinstance(value, int):
        return str(value)
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
