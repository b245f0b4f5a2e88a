"""The text formats, as Prometheus' own parsers read them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from corral.metrics.instruments import Counter, Gauge, Histogram
from corral.metrics.text import OPEN, PLAIN, content_type, render

PARSERS: dict[str, Any] = {PLAIN: parse_plain, OPEN: parse_open}
LABEL = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def samples(text: str, kind: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in PARSERS[kind](text)
        for sample in family.samples
    }


@pytest.mark.parametrize("kind", [PLAIN, OPEN])
@given(label=LABEL, amounts=st.lists(st.floats(0, 1e9), min_size=1, max_size=5))
def test_counters_are_read_as_written(kind: str, label: str, amounts: list[float]) -> None:
    counter = Counter("a_total", 'What\nit "is" \\.', "x", "y")
    for amount in amounts:
        counter.add(amount, label, "%d %s")
    found = samples(render([counter], kind).decode(), kind)
    assert found[("a_total", (("x", label), ("y", "%d %s")))] == pytest.approx(math.fsum(amounts))
    assert counter.value(label, "%d %s") == pytest.approx(math.fsum(amounts))


@pytest.mark.parametrize("kind", [PLAIN, OPEN])
@given(label=LABEL, values=st.lists(st.floats(0, 20), min_size=1, max_size=30))
def test_histograms_are_read_as_written(kind: str, label: str, values: list[float]) -> None:
    bounds = (0.5, 1, 10)
    histogram = Histogram("h_seconds", "Times.", bounds, "x")
    for value in values:
        histogram.observe(value, label)
    found = samples(render([histogram], kind).decode(), kind)
    for bound in bounds:
        below = sum(value <= bound for value in values)
        assert found[("h_seconds_bucket", (("le", repr(float(bound))), ("x", label)))] == below
    assert found[("h_seconds_bucket", (("le", "+Inf"), ("x", label)))] == len(values)
    assert found[("h_seconds_count", (("x", label),))] == len(values)
    assert found[("h_seconds_sum", (("x", label),))] == pytest.approx(math.fsum(values))


def test_observations_from_elsewhere_are_added() -> None:
    histogram = Histogram("h", "Times.", (1, 2))
    histogram.observe(0.5)
    histogram.merge([1, 2, 3], 9.5)
    found = samples(render([histogram], PLAIN).decode(), PLAIN)
    assert found[("h_count", ())] == histogram.count() == 7
    assert found[("h_sum", ())] == 10
    assert found[("h_bucket", (("le", "1.0"),))] == 2


def test_gauges_are_read_when_somebody_looks() -> None:
    values = [1.5]
    gauge = Gauge("g", "Now.", ("x",), lambda: [(("a",), values[0])])
    assert samples(render([gauge], PLAIN).decode(), PLAIN)[("g", (("x", "a"),))] == 1.5
    for value, shown in ((math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (3, "3")):
        values[0] = value
        assert render([gauge], PLAIN).decode().endswith(f'g{{x="a"}} {shown}\n')


def test_a_family_without_series_is_left_out() -> None:
    assert render([Counter("a_total", "A.", "x")], PLAIN).decode() == ""
    assert render([], OPEN).decode() == "# EOF\n"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/html", PLAIN),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1", OPEN),
    ],
)
def test_the_format_that_the_client_accepts(accept: str, kind: str) -> None:
    assert content_type(accept) == kind


def test_a_gauge_forgets_what_is_gone() -> None:
    """A server that loads one model after the other keeps the text of those that it has."""
    names = iter(f"m{number}" for number in range(50))
    gauge = Gauge("g", "A gauge.", ("model",), lambda: [((next(names),), 1), (("stays",), 2)])
    for number in range(50):
        assert [*gauge.lines()] == [f'g{{model="m{number}"}} 1\n', 'g{model="stays"} 2\n']
    assert len(gauge._heads) == 2
