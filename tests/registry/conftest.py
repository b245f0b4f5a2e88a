"""A real registry for the tests of this folder, and models to put into it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.conftest import FIXTURES
from tests.doubles.real_registry import BINARY, RealRegistry

CONFIG = (
    b'{"model_format":"gguf","model_family":"llama","model_families":["llama"],"model_type":"1K","file_type":"F32",'
    b'"architecture":"amd64","os":"linux"}\n'
)


def say_layers() -> dict[str, bytes]:
    """A small model that answers from a script."""
    return {
        "model": (FIXTURES / "say.gguf").read_bytes(),
        "template": b"{{ .System }}|{{ .Prompt }}",
        "params": b'{"temperature":0}\n',
    }


def noise(size_bytes: int, seed: int = 1) -> bytes:
    """Random bytes; after the first megabyte the same ones again, but for a number before each megabyte."""
    block = random.Random(seed).randbytes(min(size_bytes, 1 << 20))
    blocks = range(-(-size_bytes // (1 << 20)))
    return b"".join(number.to_bytes(8, "big") + block[8:] if number else block for number in blocks)[
        :size_bytes
    ]


@pytest.fixture
def registry(process: None) -> Iterator[RealRegistry]:
    """A registry of the test's own, since some are stopped."""
    if BINARY is None:
        pytest.skip("docker-registry is not installed (Debian: apt install docker-registry)")
    registry = RealRegistry()
    yield registry
    registry.close()
