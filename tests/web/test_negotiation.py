"""Which form of a file a browser gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.api.ui.negotiation import choose_coding, is_known

ALL = ("identity", "gzip", "br")


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", "identity"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("br;q=0.5, gzip;q=1.0", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("br; q=0 , gzip ;q = 0", "identity"),
        ("*", "br"),
        ("*;q=0.1, br;q=0", "gzip"),
        ("identity, gzip;q=0.5", "identity"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0", "identity"),
        ("deflate, zstd", "identity"),
        ("gzip;q=nonsense", "identity"),
        (",,;q=1", "identity"),
    ],
)
def test_choice(header: str, coding: str) -> None:
    """By weight, then by size; what is not named is not sent."""
    assert choose_coding(header, ALL) == coding


def test_only_what_there_is() -> None:
    """A small file has no packed form."""
    assert choose_coding("br, gzip", ("identity",)) == "identity"
    assert choose_coding("br, gzip", ("identity", "gzip")) == "gzip"


@given(st.text())
def test_any_header(header: str) -> None:
    """Whatever a client sends, there is an answer."""
    assert choose_coding(header, ALL) in ALL


@pytest.mark.parametrize(
    ("header", "known"),
    [
        ("", False),
        ('"a-br"', True),
        ('W/"a-br"', True),
        ('"x", "a-br"', True),
        ("*", True),
        ('"a-gzip"', False),
    ],
)
def test_entity_tags(header: str, known: bool) -> None:
    """Each form has its own tag; a weak comparison is enough."""
    assert is_known(header, '"a-br"') is known
