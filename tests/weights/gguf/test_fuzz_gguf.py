"""A share of scripts/fuzz_gguf.py, and files made to cost time or memory."""

from __future__ import annotations

import struct
import time
import tracemalloc
from pathlib import Path

import pytest

from corral.errors import GGUFError
from corral.weights.gguf import GGUFFile
from scripts.fuzz_gguf import run


@pytest.mark.slow
def test_mutated_files() -> None:
    """Read or refused, never anything else; see the script for what is counted as a failure."""
    failures, headers_read, _ = run(1500, seed=20)
    assert failures == 0
    assert headers_read > 100, "the mutations break everything: nothing is tested"


def _head(values: int, tensors: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, values)


def _key(name: str, kind: int) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind)


@pytest.mark.parametrize(
    "head",
    [
        _head(1) + _key("a", 9) + struct.pack("<IQ", 8, 30_000_000),  # strings without end, all empty
        _head(1) + _key("a", 9) + struct.pack("<IQ", 0, 200_000_000),  # an array of bytes
        _head(1) + _key("a", 8) + struct.pack("<Q", 200_000_000),  # a text
        _head(1) + struct.pack("<Q", 200_000_000),  # a key
        _head(10_000_000),  # values without end
        _head(0, 8_000_000),  # tensors without end
    ],
    ids=["strings", "bytes", "text", "key", "values", "tensors"],
)
def test_large_files_that_lie(tmp_path: Path, head: bytes) -> None:
    """A sparse file of 300 MB whose header really fits is refused at once and in little memory."""
    path = tmp_path / "x.gguf"
    with path.open("wb") as file:
        file.write(head)
        file.truncate(300_000_000)
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(GGUFError):
            GGUFFile.open(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20
    assert time.process_time() - started < 20


def test_a_file_that_shrinks(tmp_path: Path) -> None:
    """An array is read later than its header: what is gone by then is an error, not a crash."""
    path = tmp_path / "x.gguf"
    path.write_bytes(_head(1) + _key("a", 9) + struct.pack("<IQ", 4, 1000) + bytes(4000))
    gguf = GGUFFile.open(path)
    with path.open("r+b") as file:
        file.truncate(100)
    with pytest.raises(GGUFError, match="became shorter"):
        gguf.metadata["a"].values()
    with pytest.raises(GGUFError, match="became shorter"):
        gguf.raw_values()
