"""Tables on narrow screens: nothing wraps in a word, and what a person needs stays."""

from __future__ import annotations

import pytest

from corral.cli.conversation.spinner import _fitting
from corral.cli.terminal.formatting import display_width, format_table
from corral.cli.terminal.progress import Progress
from corral.cli.terminal.tables import fit_table

HEADER = ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL")
DISPENSABLE = ("ID", "CONTEXT", "PROCESSOR")
ROW = ("corral-tiny:latest", "79568d9cfb19", "127 MB", "100% CPU", "2048", "59 minutes from now")
LONG = ("hf.co/someone/A-Model-8B-GGUF:Q4_K_M", *ROW[1:])


@pytest.mark.parametrize("width", [38, 40, 60, 80, 92, 120])
@pytest.mark.parametrize("row", [ROW, LONG], ids=["short", "long"])
def test_it_fits(row: tuple[str, ...], width: int) -> None:
    """No line is wider than the screen, the name and until when it stays are whole."""
    text = fit_table([row], header=HEADER, width=width, dispensable=DISPENSABLE)
    assert all(display_width(line) <= width for line in text.split("\n"))
    assert {row[0], "NAME"} <= {line.split()[0] for line in text.splitlines()}
    assert row[-1] in text


def test_eighty_columns_lose_nothing() -> None:
    """Every column of `ps` is there."""
    text = fit_table([ROW], header=HEADER, width=80, dispensable=DISPENSABLE)
    assert all(cell in text for cell in (*ROW, *HEADER))


def test_where_there_is_room() -> None:
    """A table that fits is the one that a pipe gets."""
    assert fit_table([ROW], header=HEADER, width=120) == format_table([ROW], header=HEADER)


def test_headings_break_at_blanks() -> None:
    """The columns of `bench` at 40 columns."""
    header = ("CONCURRENT", "PROMPT TOK/S", "FIRST TOKEN", "TOK/S EACH", "TOK/S ALL")
    text = fit_table([("1", "2021", "19 ms", "286.2", "286.2")], header=header, width=40)
    words = {word for name in header for word in name.split()}
    assert words == set(text.split()) - {"1", "2021", "19", "ms", "286.2"}
    assert all(len(line) <= 40 for line in text.splitlines())


def test_no_rows() -> None:
    """Headings alone."""
    assert set(fit_table([], header=HEADER, width=20).split()) == set(HEADER)


def test_the_line_of_a_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name gives way to the share, and a line never reaches the end of the screen."""
    for width, shown in ((80, "loading some-model 45% "), (20, "loading 45% "), (9, "45%")):
        monkeypatch.setattr("corral.cli.conversation.spinner.terminal_size", lambda _stream, w=width: (w, 24))
        assert _fitting("some-model", "45%") == shown


def test_a_step_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Its beginning and its end are told, and an empty file has an end."""
    with Progress() as progress:
        for done in (0, 400, 1000):
            progress.share("copying file sha256:ab", done, 1000)
        progress.share("copying file sha256:cd", 0, 0)
    assert capsys.readouterr().err.splitlines() == [
        "copying file sha256:ab 0% of 1 KB",
        "copying file sha256:ab 1 KB",
        "copying file sha256:cd 100%",
    ]
