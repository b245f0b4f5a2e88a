"""Texts in turns: none is lost, none is out of order, and long ones are not computed together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from corral.inference.embedding import turns


def runner(*, slots: int = 8, turn_bytes: int = 16_384, num_ctx: int = 8192) -> Any:
    return SimpleNamespace(
        spec=SimpleNamespace(num_parallel=slots),
        facts=SimpleNamespace(num_ctx=num_ctx),
        turn_bytes=turn_bytes,
    )


def sizes(engine: Any, texts: list[str]) -> list[int]:
    return [len(turn) for turn in turns(engine, texts)]


def test_short_texts_go_together() -> None:
    assert sizes(runner(), ["a short one"] * 64) == [64]


def test_a_turn_is_bounded() -> None:
    """By what takes half a second, and by its number."""
    assert sizes(runner(turn_bytes=1024), ["x" * 100] * 25) == [11, 11, 3]
    assert sizes(runner(), ["x"] * 600) == [256, 256, 88]


def test_long_texts_are_not_computed_together() -> None:
    """One slot computes one at a time, whatever a call holds; several would take all of it in one step."""
    texts = ["x" * 1500] * 6
    assert sizes(runner(), texts) == [1] * 6
    assert sizes(runner(slots=1), texts) == [6]
    assert sizes(runner(turn_bytes=10_000), ["x" * 500] * 6) == [2, 2, 2]
    assert sizes(runner(turn_bytes=1 << 20), texts) == [6]  # a fast engine


@given(
    st.lists(st.integers(0, 4000), max_size=60),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([1024, 16_384, 1 << 20]),
)
def test_nothing_is_lost(lengths: list[int], slots: int, turn_bytes: int) -> None:
    texts = ["x" * length + str(i) for i, length in enumerate(lengths)]
    found = list(turns(runner(slots=slots, turn_bytes=turn_bytes), texts))
    assert [text for turn in found for text in turn] == texts
    assert all(found)
