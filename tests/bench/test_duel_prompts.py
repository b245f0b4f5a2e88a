"""Prompts are the same for all peers and never the same twice."""

from __future__ import annotations

import pytest

from bench.duel.prompts import PromptMaker, Scale


def test_the_same_seed_makes_the_same_prompts() -> None:
    one, two = PromptMaker("1 0 first", Scale()), PromptMaker("1 0 first", Scale())
    assert [one.tokens(400), one.story()] == [two.tokens(400), two.story()]


def test_no_two_prompts_begin_alike() -> None:
    makers = [PromptMaker(f"1 {number} first", Scale()) for number in range(20)]
    openings = [" ".join(maker.text(30).split()[:4]) for maker in makers for _ in range(20)]
    assert len(set(openings)) == len(openings)


def test_length_by_what_the_server_counted() -> None:
    scale = Scale.measured((20, 50), (120, 250))
    assert (scale.fixed, scale.per_word) == (10, 2)
    assert len(PromptMaker("x", scale).tokens(400).split()) == 195
    assert PromptMaker("x", scale).tokens(3)


def test_counts_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="120 words have 0 tokens"):
        Scale.measured((20, 0), (120, 0))
