"""Directives that are printed read back as they were, whatever their texts are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.modelfile import Directive, format_modelfile, parse_modelfile

# Pieces that quoting has trouble with, between texts of any kind.
HARD = st.sampled_from(
    ['"', '""', '"""', "\n", "\r", "\r\n", " ", "\t", "\u00a0", "\u200d", "\x00", "\x1c", "\x85", "#", "'",
     "FROM x", "PARAMETER stop a", '"""<<END', 'END"""', "END", "\ufeff"]
)  # fmt: skip
TEXTS = (
    st.lists(HARD | st.text(max_size=5), max_size=12)
    .map("".join)
    .filter(lambda text: not _has_surrogates(text))
)
DIRECTIVES = st.lists(
    st.builds(
        Directive,
        st.sampled_from(["license", "template", "system", "adapter", "draft", "renderer", "parser", "from"]),
        TEXTS,
    )
    | st.builds(Directive, st.just("message"), TEXTS, st.sampled_from(["system", "user", "assistant"]))
    | st.builds(Directive, st.just("parameter"), TEXTS, st.sampled_from(["stop", "num_ctx", "a_b1"])),
    max_size=6,
)


def _has_surrogates(text: str) -> bool:
    return any(0xD800 <= ord(char) < 0xE000 for char in text)


@given(DIRECTIVES)
def test_round_trip(directives: list[Directive]) -> None:
    """Printing loses nothing."""
    directives = [Directive("from", "base"), *directives]
    assert parse_modelfile(format_modelfile(directives).encode()) == directives


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a # b", "a # b"),
        (" sp", '" sp"'),
        ("sp ", '"sp "'),
        ("x\ny", '"x\ny"'),
        ('x "y" z\nw', '"""x "y" z\nw"""'),
        ('say "hi"', 'say "hi"'),
        ('"hi" she said', '""""hi" she said"""'),
        ("\ttab", '"""\ttab"""'),
        ('a"""\nb"\nc', '"""<<END\na"""\nb"\nc\nEND"""'),
    ],
)
def test_quotes_only_where_needed(value: str, text: str) -> None:
    """As the original writes it wherever that reads back."""
    assert format_modelfile([Directive("system", value)]) == f"SYSTEM {text}\n"
