"""The GGUF reader on real files, on files made to harm, and on random bytes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf as reference
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corral.errors import GGUFError
from corral.weights.gguf import GGUFArray, GGUFFile, check_loadable, format_parameter_count

FIXTURES = Path(__file__).parents[2] / "fixtures"


def write(path: Path, values: dict[str, Any], tensors: dict[str, tuple[int, ...]] | None = None) -> Path:
    """A small llama file with some values replaced (None: left out)."""
    import numpy as np

    merged: dict[str, Any] = {
        "llama.block_count": 1,
        "llama.context_length": 64,
        "llama.embedding_length": 8,
        "llama.attention.head_count": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.tokens": ["a", "b", "c"],
        **values,
    }
    writer = reference.GGUFWriter(path, "llama")
    for key, value in merged.items():
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif value is not None:
            writer.add_uint32(key, value)
    for name, shape in (tensors or {"blk.0.attn_norm.weight": (8,), "token_embd.weight": (3, 8)}).items():
        writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_reads_what_the_reference_reads() -> None:
    """Values, arrays and the tensor table agree with the gguf package."""
    path = FIXTURES / "tiny.gguf"
    ours, theirs = GGUFFile.open(path), reference.GGUFReader(path)
    assert {name for name in theirs.fields if not name.startswith("GGUF.")} == set(ours.metadata)
    for name, value in ours.metadata.items():
        expected = theirs.fields[name].contents()
        got = value.values() if isinstance(value, GGUFArray) else value
        assert got == pytest.approx(expected) if isinstance(got, float) else got == expected
    for mine, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert (mine.name, list(mine.shape), mine.n_elements) == (
            other.name,
            other.shape.tolist(),
            int(other.n_elements),
        )
        assert ours.data_offset + mine.offset == other.data_offset
        assert mine.size_bytes == int(other.n_bytes)


@pytest.mark.parametrize("name", ["say", "tiny", "tiny-notmpl", "embed"])
def test_sound_models_pass(name: str) -> None:
    """What the engine loads is not refused."""
    check_loadable(GGUFFile.open(FIXTURES / f"{name}.gguf"))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"llama.block_count": 0}, "block_count is 0"),
        ({"llama.block_count": 100_000}, "block_count is 100000"),
        ({"llama.block_count": 400}, "but the file has tensors of 1 blocks"),
        ({"llama.context_length": 0}, "context_length is 0"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "must be a number"),
        ({"llama.attention.layer_norm_rms_epsilon": -1.0}, "must be a number"),
        ({"llama.attention.head_count": 0}, "head_count is 0"),
        ({"llama.attention.head_count": 3}, "not a multiple of 3 attention heads"),
        ({"tokenizer.ggml.tokens": ["a", "b", "a"]}, "token b'a' twice"),
        ({"tokenizer.ggml.scores": [1.0]}, "has 1 entries for 3 tokens"),
    ],
)
def test_hostile_values_are_refused(tmp_path: Path, values: dict[str, Any], reason: str) -> None:
    """Each of these makes the engine abort; we say why before a child starts."""
    with pytest.raises(GGUFError, match=reason):
        check_loadable(GGUFFile.open(write(tmp_path / "x.gguf", values)))


def test_truncated_files(tmp_path: Path) -> None:
    """Wherever a file ends, it is refused: in the header, and in the data."""
    data = (FIXTURES / "tiny.gguf").read_bytes()
    path = tmp_path / "x.gguf"
    for size in (0, 3, 10, 24, 100, 5000, len(data) // 2, len(data) - 100):
        path.write_bytes(data[:size])
        with pytest.raises(GGUFError):
            GGUFFile.open(path)


@pytest.mark.parametrize(
    "data",
    [
        b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60),
        b"GGUF" + struct.pack("<IQQ", 9, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**62),
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1)
        + struct.pack("<Q", 1)
        + b"a"
        + struct.pack("<IIQ", 9, 8, 2**61),
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1)
        + struct.pack("<Q", 1)
        + b"a"
        + struct.pack("<IIQ", 9, 4, 2**61),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a" + struct.pack("<I", 99),
    ],
)
def test_counts_beyond_the_file(tmp_path: Path, data: bytes) -> None:
    """A header that claims more than there is costs nothing."""
    path = tmp_path / "x.gguf"
    path.write_bytes(data + b"\0" * 64)
    with pytest.raises(GGUFError):
        GGUFFile.open(path)


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bytes_never_crash(tmp_path: Path, data: st.DataObject) -> None:
    """A damaged header is read or refused, never anything else."""
    content = bytearray((FIXTURES / "embed.gguf").read_bytes()[:20_000])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(4, 6000))] = data.draw(st.integers(0, 255))
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    try:
        file = GGUFFile.open(path)
        check_loadable(file)
    except GGUFError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (7_000_000_000, "7B"),
        (1_234_567_890, "1.2B"),
        (20_690_000, "20.69M"),
        (135_000_000, "135M"),
        (500_000, "500K"),
        (999, "999"),
    ],
)  # fmt: skip
def test_parameter_counts(count: int, text: str) -> None:
    """One decimal for billions, two for millions, none when whole."""
    assert format_parameter_count(count) == text
