"""The page on the command line says what the command table says."""

from __future__ import annotations

from corral.cli.conversation.slash import COMPLETIONS
from corral.cli.frame.manpage import manual_page
from scripts.cli_reference import MANUAL, PAGE, page_with


def test_the_reference_is_up_to_date() -> None:
    """`python -m scripts.cli_reference` makes it so."""
    text = PAGE.read_text()
    assert text == page_with(text)
    assert MANUAL.read_text() == manual_page()


def test_every_slash_command_is_described() -> None:
    """What Tab offers is on the page."""
    text = PAGE.read_text()
    for line in COMPLETIONS:
        assert line.split()[-1].removeprefix("/") in text, line
