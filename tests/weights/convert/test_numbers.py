"""Arithmetic of conversion: permuted rows, bfloat16, rope factors."""

from __future__ import annotations

import numpy as np
import pytest

from corral.weights.convert.config import Config
from corral.weights.convert.families.rope import Rope, llama3_factors
from corral.weights.convert.lazy import DType, Lazy, constant, from_float32, to_float32


def test_permuted_rows() -> None:
    """One head of six rows (vector of the specification)."""
    rows = constant([0, 1, 2, 3, 4, 5]).reshaped(6, 1)
    assert rows.permuted(1).load().ravel().tolist() == [0, 3, 1, 4, 2, 5]


def test_llama3_factors() -> None:
    """Head of 128, base 500,000, the defaults (vector of the specification)."""
    section = {"rope_type": "llama3", "rope_theta": 500_000.0}
    factors = llama3_factors(Rope.of(Config({"rope_parameters": section}), 1e4), 128)
    assert factors[:29] == [1.0] * 29
    expected = [1.207484, 1.553415, 2.026313, 2.69453, 3.684253, 5.257327]
    assert factors[29:35] == pytest.approx(expected, rel=1e-6)
    assert factors[35:] == [8.0] * 29


@pytest.mark.parametrize("spelling", ["rope_scaling", "rope_parameters"])
def test_rope_spellings(spelling: str) -> None:
    """transformers 4 keeps the base outside, 5 inside."""
    values = {"rope_theta": 7.0, spelling: {"type": "linear", "factor": 2.0}}
    rope = Rope.of(Config(values), 1e4)
    assert (rope.theta, rope.kind) == (7.0, "linear")


def test_bfloat16_rounds_to_even() -> None:
    """Nearest, ties to even, NaN and infinity kept."""
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F800000, 0x7FC00001], np.uint32)
    rounded = from_float32(bits.view(np.float32), DType.BF16, "x")
    assert rounded[:4].tolist() == [0x3F80, 0x3F82, 0x3F81, 0x7F80]
    wide = to_float32(rounded, DType.BF16)
    assert np.isnan(wide[4])


def test_pieces_are_the_whole() -> None:
    """Stacking and joining read piece by piece what loading reads at once."""
    parts = [constant([1, 2]).reshaped(1, 2), constant([3, 4]).reshaped(1, 2)]
    assert Lazy.stacked(parts).load().tolist() == [[[1, 2]], [[3, 4]]]
    assert Lazy.joined(parts).load().tolist() == [[1, 2], [3, 4]]
    assert Lazy.joined(parts).rows(1, 2).load().tolist() == [[3, 4]]
