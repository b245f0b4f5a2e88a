"""Word wrap: any cut of the text prints the same screen."""

from __future__ import annotations

import io
import itertools

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cli.terminal.wrap import WordWrap

TEXTS = st.text("ab \n\t日é\u0301", max_size=120)


def shown(pieces: list[str], width: int) -> list[str]:
    """The lines of a terminal after the pieces were written."""
    stream = io.StringIO()
    wrap = WordWrap(stream, is_on=True, width=width)
    for piece in pieces:
        wrap.write(piece)
    screen = pyte.Screen(width, 200)
    screen.set_mode(pyte.modes.LNM)
    pyte.Stream(screen).feed(stream.getvalue())
    return [line.rstrip() for line in screen.display]


@pytest.mark.slow
@given(TEXTS, st.lists(st.integers(0, 120), max_size=5), st.integers(12, 60))
def test_any_cut_prints_the_same(text: str, cuts: list[int], width: int) -> None:
    """Pieces are an accident of the network."""
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    assert shown(pieces, width) == shown([text], width)


@pytest.mark.slow
@given(st.lists(st.text("abc", min_size=1, max_size=9), max_size=30), st.integers(24, 60))
def test_words_stay_whole(words: list[str], width: int) -> None:
    """Words that fit a line are never cut, and no line passes the edge less five."""
    lines = shown([" ".join(words)], width)
    assert " ".join(lines).split() == words
    assert max(map(len, lines)) <= width - 5


def test_words_too_long_for_a_line() -> None:
    """They are broken where the line ends, and nothing is lost."""
    lines = shown(["x " + "y" * 100], 40)
    assert "".join(lines) == "x " + "y" * 100 or "".join(lines).replace(" ", "") == "x" + "y" * 100
    assert max(map(len, lines)) <= 35


def test_emoji_stay_whole() -> None:
    """A skin tone or a joined part never begins a line."""
    stream = io.StringIO()
    WordWrap(stream, is_on=True, width=21).write("👍🏽" * 20 + "\n" + "👨\u200d👩\u200d👧" * 20)
    lines = stream.getvalue().split("\n")
    assert len(lines) == 6
    assert all(line.startswith(("👍🏽", "👨\u200d👩\u200d👧")) for line in lines)


def test_pipes_get_the_text() -> None:
    """No terminal, no wrapping."""
    stream = io.StringIO()
    WordWrap(stream, is_on=True).write("word " * 100)
    assert stream.getvalue() == "word " * 100
