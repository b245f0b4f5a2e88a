"""Tables, JSON and the plot of a benchmark."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench.duel.contest import Results
from bench.duel.figures import Figure
from bench.duel.plot import svg
from bench.duel.report import as_json, load_line, markdown, number, table, terminal

FIRST = Figure("first", "first token <new>", "ms", is_lower_better=True)
DECODE = Figure("decode", "decode", "tokens/s", is_lower_better=False)
SHOW = Figure("show", "`/api/show`", "ms", is_lower_better=True)
NOBODY = Figure("nobody", "what nobody has", "ms", is_lower_better=True)


@pytest.fixture
def results() -> Results:
    return Results(
        [FIRST, DECODE, SHOW, NOBODY],
        ["old", "new"],
        {
            ("first", "old"): [100.0, 200.0, 300.0],
            ("first", "new"): [50.0, 100.0, 1500.0],
            ("decode", "old"): [20.0],
            ("show", "old"): [0.123],
        },
        {("decode", "new"): "out\nof memory", ("first", "new"): "out\nof memory"},
    )


def test_rows(results: Results) -> None:
    content = table(results)
    assert content.head[3:] == ["old", "new", "new / old"]
    assert content.rows == [
        ["first token <new>", "ms", "lower", "200 (300)", "100 (1,500) [1]", "0.50"],
        ["decode", "tokens/s", "higher", "20.0", "failed [1]", "-"],
        ["`/api/show`", "ms", "lower", "0.12", "-", "-"],
    ]


def test_markdown(results: Results) -> None:
    lines = markdown(table(results)).splitlines()
    assert lines[0] == "| figure (median, p95) | unit | better | old | new | new / old |"
    assert lines[1] == "| --- | --- | --- | ---: | ---: | ---: |"
    assert lines[-2:] == ["", "- [1] new: out of memory"]


def test_terminal_columns_line_up(results: Results) -> None:
    lines = terminal(table(results)).splitlines()
    ends = {len(line) for line in lines[:5]}
    assert len(ends) == 1


def test_one_peer_has_no_ratios(results: Results) -> None:
    alone = Results(results.figures, ["old"], results.samples)
    assert table(alone).rows[1] == ["decode", "tokens/s", "higher", "20.0"]
    with pytest.raises(ValueError, match="no two peers"):
        svg(alone)


def test_json_has_every_sample(results: Results) -> None:
    first = as_json(results)[0]["peers"]["new"]
    assert first == {
        "median": 100.0,
        "p95": 1500.0,
        "ratio": 0.5,
        "samples": [50.0, 100.0, 1500.0],
        "error": "out\nof memory",
    }
    assert as_json(results)[3]["peers"]["old"]["median"] is None


def test_plot_shows_what_is_better_to_the_right(results: Results) -> None:
    results.samples["decode", "new"] = [10.0]
    root = ElementTree.fromstring(svg(results))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "first token <new>" in texts
    assert "what nobody has" not in texts
    labels = [e for e in root.iter("{http://www.w3.org/2000/svg}text") if e.text in {"2.00", "0.50"}]
    assert [(e.text, e.get("text-anchor")) for e in labels] == [("2.00", "start"), ("0.50", "end")]


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (99.96, "100.0"), (9.876, "9.88"), (0.0, "0.00")]
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_busy_machine_is_said() -> None:
    assert "WARNING" not in load_line("start", 0.9, 2)
    assert "not to be trusted" in load_line("start", 1.1, 2)
    assert "its share" in load_line("end", 1.1, 2)
