"""Sizes, counts, times, tables and bars, character for character as Ollama prints them."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cli.models.listing import processor_of
from corral.cli.terminal.formatting import (
    display_width,
    format_age,
    format_bytes,
    format_count,
    format_table,
    parse_time,
)
from corral.cli.terminal.progress import Line


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 KB"), (1024, "1.0 KB"), (1500, "1.5 KB"), (9999, "10.0 KB"),
     (10500, "10 KB"), (999999, "999 KB"), (2019393189, "2.0 GB"), (39969745349, "39 GB")],
)  # fmt: skip
def test_sizes(size: int, text: str) -> None:
    """Ollama: format/bytes.go."""
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(999, "999"), (1500, "2K"), (999500, "1000K"), (1234567, "1.23M"), (999995000, "1000.00M"),
     (1000000000, "1B"), (3212749888, "3.2B"), (999999999999, "1000.0B")],
)  # fmt: skip
def test_counts(count: int, text: str) -> None:
    """Ollama: format/format.go."""
    assert format_count(count) == text


HOUR_S = 3600


@pytest.mark.parametrize(
    ("ago_s", "text"),
    [(0.5, "Less than a second ago"), (1.01, "1 second ago"), (59.5, "59 seconds ago"),
     (119, "About a minute ago"), (59 * 60 + 59, "59 minutes ago"), (89 * 60, "About an hour ago"),
     (90 * 60 + 1, "2 hours ago"), (47 * HOUR_S, "47 hours ago"), (47.52 * HOUR_S, "2 days ago"),
     (324 * HOUR_S, "13 days ago"), (336 * HOUR_S, "2 weeks ago"), (1416 * HOUR_S, "8 weeks ago"),
     (1440 * HOUR_S, "2 months ago"), (17496 * HOUR_S, "24 months ago"), (17520 * HOUR_S, "2 years ago"),
     (-299, "4 minutes from now"), (-HOUR_S, "About an hour from now"), (-21 * 366 * 24 * HOUR_S, "Forever")],
)  # fmt: skip
def test_ages(ago_s: float, text: str) -> None:
    """Ollama: format/time.go."""
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert format_age(now - datetime.timedelta(seconds=ago_s), now) == text


def test_odd_times() -> None:
    """Go's zero time, and one three hundred years ahead."""
    assert format_age(parse_time("0001-01-01T00:00:00Z")) == "Never"
    assert format_age(parse_time("2318-03-05T10:20:30.123456789+02:00")) == "Forever"


@pytest.mark.parametrize(
    ("size", "vram", "text"),
    [(100, 0, "100% CPU"), (100, 100, "100% GPU"), (100, 52, "48%/52% CPU/GPU"), (100, 101, "Unknown"),
     (1000, 995, "1%/99% CPU/GPU"), (1000, 999, "0%/100% CPU/GPU"), (3, 1, "67%/33% CPU/GPU"),
     (200, 99, "51%/49% CPU/GPU")],
)  # fmt: skip
def test_processors(size: int, vram: int, text: str) -> None:
    """Halves are rounded up, as Go rounds."""
    assert processor_of(size, vram) == text


def test_tables() -> None:
    """Four blanks behind every column, but the last heading."""
    header = ("NAME", "ID", "SIZE", "MODIFIED")
    assert format_table([], header=header) == "NAME    ID    SIZE    MODIFIED \n"
    rows = [
        ("llama3.2:latest", "a80c4f17acd5", "2.0 GB", "3 weeks ago"),
        ("gemma3:4b", "0123456789ab", "3.3 GB", "5 minutes ago"),
    ]
    assert format_table(rows, header=header) == (
        "NAME               ID              SIZE      MODIFIED      \n"
        "llama3.2:latest    a80c4f17acd5    2.0 GB    3 weeks ago      \n"
        "gemma3:4b          0123456789ab    3.3 GB    5 minutes ago    \n"
    )


def test_wrapped_cells() -> None:
    """Cells of more than thirty columns go on below, two blanks in."""
    rows = [
        ["architecture", "a very long value that exceeds thirty columns wide"],
        ["Remote URL", "https://ollama.com:443"],
    ]
    assert format_table(rows, indent="    ") == (
        "    architecture    a very long value that exceeds    \n"
        "                      thirty columns wide               \n"
        "    Remote URL      https://ollama.com:443            \n"
    )


@given(st.lists(st.text("ab 日", max_size=50), min_size=1, max_size=4))
def test_wrapping_keeps_every_word(cells: list[str]) -> None:
    """Whatever the cells hold: no word is lost, and all lines are equally wide but for the continuation's indent."""
    table = format_table([cells])
    assert sorted(table.split()) == sorted(" ".join(cells).split())
    widths = {display_width(line) for line in table.splitlines()}
    assert max(widths) - min(widths) in (0, 2)


def bar(width: int, completed: int, total: int, *, text: str, resumed: int = 0) -> Line:
    line = Line(text, 0.0)
    line.resumed_bytes = resumed
    line.advance(completed, total)
    return line


def test_bars() -> None:
    """Ollama: progress/bar.go, at eighty columns."""
    text = "pulling dde5aa3fc5ff:"
    done = bar(80, 2019393189, 2019393189, text=text).render(80, "", 0.0)
    assert done == "pulling dde5aa3fc5ff: 100% ▕██████████████████▏ 2.0 GB                         "
    half = bar(80, 1009696595, 2019393189, text=text).render(80, "", 0.0)
    assert half == "pulling dde5aa3fc5ff:  50% ▕█████████         ▏ 1.0 GB/2.0 GB                  "
    level = bar(80, 500, 1000, text="quantizing F16 model to Q4_K_M").render(80, "", 0.0)
    assert level == "quantizing F16 model to Q4_K_M  50% ▕████     ▏  500 B/  1 KB                  "
    line = bar(80, 1, 2019393189, text=text)
    line.render(80, "", 0.0)
    line.advance(100_000_000, 2019393189)
    assert line.render(80, "", 2.0) == (
        "pulling dde5aa3fc5ff:   5% ▕                  ▏ 100 MB/2.0 GB   50 MB/s     38s"
    )


def test_a_resumed_bar() -> None:
    """What was there before is drawn apart and does not count for the rate; a stall brings the rate to nothing."""
    line = bar(80, 500, 1000, text="pulling x:", resumed=400)
    line.render(80, "", 0.0)
    assert "▕▓▓▓▓▓▓▓▓▓▓▓███ " in line.render(80, "", 1.0)
    assert " 100 B/s" in line.render(80, "", 1.0)
    for second in range(2, 12):
        last = line.render(80, "", float(second))
    assert "B/s" not in last


@given(st.integers(1, 200), st.integers(0, 10**13), st.integers(0, 10**13), st.text("a日", max_size=60))
def test_lines_fit_any_terminal(width: int, completed: int, total: int, text: str) -> None:
    """No line is wider than the terminal."""
    line = bar(width, completed, total, text=text)
    assert display_width(line.render(width, "⠋", 5.0)) <= width
