"""`corral usage`: its table at any width, on terminals and in pipes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from corral.cli.tools.usage import count, duration, table_of
from tests.cli.conftest import terminal
from tests.cli.screen import Screen
from tests.conftest import Server

__all__ = ["terminal"]
FIGURES = {"requests": 0, "errors": 0, "cancelled": 0, "prompt_tokens": 0, "cached_tokens": 0,
           "generated_tokens": 0, "drafted_tokens": 0, "ms": 0.0}  # fmt: skip


def row(prompt: int = 0, generated: int = 0, **members: Any) -> dict[str, Any]:
    return FIGURES | {"prompt_tokens": prompt, "generated_tokens": generated, "requests": 1} | members


def answer(by: str, *rows: dict[str, Any], since: str = "", until: str = "") -> dict[str, Any]:
    total = {name: sum(each[name] for each in rows) for name in FIGURES}
    return {"since": since, "until": until, "by": by.split(","), "usage": [*rows], "total": total}


DAYS = answer(
    "day",
    row(100, 20, day="2026-11-26", ms=1000),
    row(50, 10, day="2026-11-28", ms=90_000),
    since="2026-11-25",
    until="2026-11-29",
)
MODELS = answer(
    "key,model",
    row(10, 2, key="", model="small:latest"),
    row(4_000_000, 0, key="ab12cd34", key_name="note\x1b[31mbook", model="hf.co/a/b:Q4", errors=1),
)


def test_days_without_use_have_a_line_and_bars_are_to_scale() -> None:
    assert table_of(DAYS, 80).splitlines() == [
        "2026-11-25 to 2026-11-29, days in UTC",
        "",
        "DAY         REQUESTS  PROMPT  CACHED  GENERATED   TIME  TOKENS",
        "2026-11-25         0       0       0          0     0s",
        "2026-11-26         1     100       0         20   1.0s  " + "█" * 24,
        "2026-11-27         0       0       0          0     0s",
        "2026-11-28         1      50       0         10  1m30s  " + "█" * 12,
        "2026-11-29         0       0       0          0     0s",
        "TOTAL              2     150       0         30  1m31s",
    ]


def test_a_pipe_gets_columns_alone() -> None:
    assert table_of(MODELS, 0).splitlines() == [
        "KEY                     MODEL         REQUESTS  ERRORS  PROMPT  CACHED  GENERATED  TIME",
        "ab12cd34 note␛[31mbook  hf.co/a/b:Q4         1       1   4.00M       0          0    0s",
        "-                       small:latest         1       0      10       0          2    0s",
        "TOTAL                                        2       1   4.00M       0          2    0s",
    ]


@pytest.mark.parametrize("width", range(20, 161))
@pytest.mark.parametrize(("found", "has_bars_from"), [(DAYS, 47), (MODELS, 73)])
def test_nothing_is_wider_than_the_screen(found: dict[str, Any], has_bars_from: int, width: int) -> None:
    """Unless a name alone is."""
    text = table_of(found, width)
    heading, _, table = text.partition("\n\n")
    longest = max(map(len, ("ab12cd34 note␛[31mbook  hf.co/a/b:Q4", "  REQUESTS  PROMPT  GENERATED")))
    assert max(map(len, table.splitlines())) <= max(width, longest)
    assert ("█" in table) == (width >= has_bars_from)
    assert heading


def test_the_smallest_amount_can_be_seen() -> None:
    found = answer("model", row(10**6, 0, model="a"), row(1, 0, model="b"), row(model="c"))
    bars = [line.rpartition("  ")[2] for line in table_of(found, 120).splitlines()[3:6]]
    assert bars[0] == "█" * 40 and bars[1] == "▏" and "█" not in bars[2] and "▏" not in bars[2]
    plain = table_of(found, 120, has_blocks=False)
    assert plain.isascii() and "#" * 40 in plain


def test_nothing_used() -> None:
    assert (
        table_of(answer("day", since="2026-11-24"), 80)
        == "nothing was used: 2026-11-24 to today, days in UTC\n"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (99_999, "99999"), (100_000, "100K"), (999_999, "999K"), (1_234_567, "1.23M"),
     (12_345_678, "12.3M"), (1_234_567_890, "1.23B"), (12_345_678_901, "12.3B")],
)  # fmt: skip
def test_counts(value: int, text: str) -> None:
    assert count(value) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0s"), (0.4, "0ms"), (999, "999ms"), (1000, "1.0s"), (59_940, "59.9s"), (59_960, "1m00s"),
     (3_599_000, "59m59s"), (3_600_000, "1h00m"), (360_000_000, "100h00m")],
)  # fmt: skip
def test_durations(ms: float, text: str) -> None:
    assert duration(ms) == text


@pytest.fixture(scope="module")
def used(process: None) -> Iterator[Server]:
    server = Server()
    try:
        server.create("embed", "embed")
        for _ in range(3):
            server.post("/api/embed", {"model": "embed", "input": "one two three"})
        server.request("POST", "/api/generate", {"model": "none"})
        yield server
    finally:
        server.close()


def run(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "corral.cli.main", "usage", *words]
    return subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=300, check=False)


def test_the_command(used: Server) -> None:
    done = run(used, "--by", "model", "--since", "today")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        ["MODEL", "REQUESTS"], ["embed:latest", "3"], ["-", "1"], ["TOTAL", "4"]
    ]  # fmt: skip
    assert run(used, "--csv", "--by", "model").stdout.startswith("model,requests,errors,")
    assert '"generated_tokens": 0' in run(used, "--json").stdout
    assert run(used, "--model", "embed").stdout.splitlines()[-1].split()[:2] == ["TOTAL", "3"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--by", "hours"), "usage cannot be shown by 'hours'"),
        (("--since", "x"), "'x' is not a day"),
        (("--json", "--csv"), "--json and --csv exclude each other"),
    ],
)
def test_wrong_words(used: Server, words: tuple[str, ...], error: str) -> None:
    done = run(used, *words)
    assert done.returncode == 1 and error in done.stderr


@pytest.mark.parametrize("columns", [36, 80, 140])
def test_on_a_terminal(used: Server, terminal: Callable[..., Screen], columns: int) -> None:
    screen = terminal(used.env, "usage", "--by", "model", columns=columns, lines=20)
    assert screen.wait_for_end() == 0
    assert "days in UTC" in screen.text and "embed:latest" in screen.text
    assert ("█" in screen.text) == (columns > 36)
