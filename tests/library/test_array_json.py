"""`show` with `verbose`: arrays of a model file as JSON, equal to what they are as a whole, in bounded pieces."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import GGUFError, InvalidRequestError
from corral.golang.json import Float32, encode
from corral.library import array_json
from corral.library.array_json import answer_pieces
from corral.weights.gguf import GGUFArray, GGUFFile
from tests.conftest import FIXTURES
from tests.weights.gguf.edit import edited


def _array(folder: Path, values: list[Any], kind: str) -> GGUFArray:
    path = edited(FIXTURES / "tiny.gguf", folder / "a.gguf", {"x.array": (values, kind)})
    array = GGUFFile.open(path).metadata["x.array"]
    assert isinstance(array, GGUFArray)
    return array


def _json(value: Any) -> bytes:
    return b"".join(answer_pieces({"a": {"x": value}}))


_LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int64": (-(2**63), 2**63 - 1)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", _LIMITS)
@given(data=st.data())
def test_whole_numbers(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject) -> None:
    low, high = _LIMITS[kind]
    values = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=20))
    array = _array(tmp_path_factory.mktemp("a"), values, kind)
    wanted: Any = values
    if kind == "uint8":
        import base64

        wanted = base64.b64encode(bytes(values)).decode()
    assert _json(array) == encode({"a": {"x": wanted}})


@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_floats_have_the_digits_of_their_width(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("a")
    assert _json(_array(folder, values, "float32")) == encode({"a": {"x": [Float32(v) for v in values]}})
    assert _json(_array(folder, values, "float64")) == encode({"a": {"x": values}})


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_numbers_that_json_does_not_have_go_by_their_names(tmp_path: Path, kind: str) -> None:
    array = _array(tmp_path, [1.5, math.nan, math.inf, -math.inf], kind)
    assert json.loads(_json(array)) == {"a": {"x": [1.5, "NaN", "+Inf", "-Inf"]}}


@given(values=st.lists(st.text(max_size=5), min_size=1, max_size=20))
def test_texts(tmp_path_factory: pytest.TempPathFactory, values: list[str]) -> None:
    array = _array(tmp_path_factory.mktemp("a"), values, "string")
    assert _json(array) == encode({"a": {"x": array.values()}})


def test_long_texts_arrays_of_every_length_and_other_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_json, "_PIECE_BYTES", 10)
    monkeypatch.setattr(array_json, "_PIECE_ELEMENTS", 3)
    texts = ["", "é" * 9, "<" * 100, "a\u2028" * 50, "short", "\U0001f600" * 31]
    array = _array(tmp_path, texts, "string")
    for count in range(1, 8):
        numbers = _array(tmp_path, list(range(count)), "int32")
        answer = {"b": [1, {"c": None}], "a": {"x": numbers, "y": 1}, "d": {}, "e": "é"}
        wanted = {**answer, "a": {"x": list(range(count)), "y": 1}}
        assert b"".join(answer_pieces(answer)) == encode(wanted)
        floats = _array(tmp_path, [0.5] * count, "float32")
        assert _json(floats) == encode({"a": {"x": [0.5] * count}})
        data = _array(tmp_path, [7] * count, "uint8")
        assert json.loads(_json(data))["a"]["x"].rstrip("=")
    array = _array(tmp_path, texts, "string")
    assert _json(array) == encode({"a": {"x": texts}})


@pytest.mark.slow
def test_pieces_and_memory_are_bounded(tmp_path: Path) -> None:
    """A vocabulary of 200,000 words, with one of 4 MiB."""
    array = _array(tmp_path, [f"word {i}" for i in range(200_000)] + ["long " * 800_000], "string")
    tracemalloc.start()
    try:
        size = largest = 0
        for piece in answer_pieces({"x": array}):
            size += len(piece)
            largest = max(largest, len(piece))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 6_000_000
    assert largest < 1 << 19
    assert peak < 3 << 20


def test_arrays_that_are_too_large_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = _array(tmp_path, list(range(1000)), "int32")
    monkeypatch.setattr(array_json, "MAX_ARRAY_BYTES", 6000)
    assert _json(array)
    with pytest.raises(InvalidRequestError, match="too large to be shown"):
        answer_pieces({"a": array, "b": array})


def test_a_file_that_became_shorter_is_reported(tmp_path: Path) -> None:
    array = _array(tmp_path, list(range(1000)), "int32")
    (tmp_path / "a.gguf").write_bytes((tmp_path / "a.gguf").read_bytes()[:100])
    with pytest.raises(GGUFError, match="shorter"):
        _json(array)
