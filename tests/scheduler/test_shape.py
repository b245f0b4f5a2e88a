"""What a model file says about its memory, read from made-up and from real files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.scheduler.shape import read_memory_shape
from corral.weights.gguf import GGUFFile

FIXTURES = Path(__file__).parent.parent / "fixtures"


@dataclass
class FakeTensor:
    name: str
    type_name: str
    size_bytes: int
    shape: tuple[int, ...]


@dataclass
class FakeFile:
    architecture: str = "llama"
    values: dict[str, Any] = field(default_factory=dict)
    tensors: list[FakeTensor] = field(default_factory=list)

    def get_arch(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)


BASE = {"block_count": 4, "embedding_length": 64, "attention.head_count": 8, "context_length": 2048}


def elements(architecture: str = "llama", **values: Any) -> tuple[int, int]:
    file = FakeFile(architecture, {**BASE, **{k.replace("__", "."): v for k, v in values.items()}})
    shape = read_memory_shape(file, file_bytes=0)
    return shape.kv_elements_per_token, shape.window_elements_per_token


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, 4 * 8 * 16),  # every head has its own keys and values
        ({"attention__head_count_kv": 2}, 4 * 2 * 16),
        ({"attention__head_count_kv": [2, 0, 2, 0]}, 4 * 16),  # layers without attention cache nothing
        ({"attention__head_count_kv": [2]}, 2 * 16),  # a list too short: the rest counts as none
        ({"attention__key_length": 32, "attention__value_length": 8}, 4 * 8 * 40),
        (
            {
                "attention__kv_lora_rank": 512,
                "attention__key_length_mla": 192,
                "rope__dimension_count": 64,
            },
            4 * 576,
        ),
        ({"block_count": 0}, 0),
        ({"attention__head_count": 0}, 0),
        ({"attention__head_count": "eight"}, 0),
        ({"embedding_length": -64}, 0),
    ],
)
def test_kv_elements(values: dict[str, Any], expected: int) -> None:
    """Keys and values of one token, by the kinds of attention."""
    assert elements(**values) == (expected, 0)


@pytest.mark.parametrize(
    ("architecture", "values", "expected"),
    [
        ("gemma3", {"attention__sliding_window": 512, "block_count": 6}, (128, 5 * 128)),
        ("gemma2", {"attention__sliding_window": 512}, (2 * 128, 2 * 128)),
        (
            "new",
            {
                "attention__sliding_window": 512,
                "attention__sliding_window_pattern": [True, True, True, False],
            },
            (128, 3 * 128),
        ),
        (
            "new",
            {"attention__sliding_window": 512, "attention__sliding_window_pattern": 4},
            (128, 3 * 128),
        ),
        ("mistral", {"attention__sliding_window": 512}, (4 * 128, 0)),  # a window that the engine ignores
        ("gemma3", {}, (4 * 128, 0)),
    ],
)
def test_sliding_windows(architecture: str, values: dict[str, Any], expected: tuple[int, int]) -> None:
    """Which layers keep only a window: from the file, or from what the engine does with the family."""
    assert elements(architecture, **values) == expected


def test_repackable_weights() -> None:
    """Matrices of the types that the CPU engine copies; vectors and other types stay single."""
    tensors = [
        FakeTensor("blk.0.attn_q.weight", "Q4_K", 1000, (64, 64)),
        FakeTensor("blk.0.ffn_down.weight", "Q6_K", 500, (64, 64)),
        FakeTensor("blk.0.attn_norm.weight", "F32", 10, (64,)),
        FakeTensor("token_embd.weight", "Q6_K", 700, (64, 3000)),
    ]
    shape = read_memory_shape(FakeFile(values=BASE, tensors=tensors), file_bytes=2210, extra_bytes=5)
    assert shape.repackable_bytes == 1000
    assert shape.n_vocab == 3000
    assert (shape.file_bytes, shape.extra_bytes, shape.n_ctx_train) == (2210, 5, 2048)


def test_real_file() -> None:
    """A real completion model: its own metadata, its own tensors."""
    path = FIXTURES / "say.gguf"
    gguf = GGUFFile.open(path)
    shape = read_memory_shape(gguf, file_bytes=path.stat().st_size)
    heads = gguf.get_arch("attention.head_count_kv", gguf.get_arch("attention.head_count"))
    width = gguf.get_arch("embedding_length") // gguf.get_arch("attention.head_count")
    assert shape.n_layer == gguf.get_arch("block_count") > 0
    assert shape.kv_elements_per_token == shape.n_layer * heads * 2 * width > 0
    assert shape.n_vocab == len(gguf.metadata["tokenizer.ggml.tokens"]) > 0
    assert shape.n_ctx_train == 2048


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(-(1 << 70), 1 << 70) | st.text(max_size=3) | st.booleans(), max_size=10),
)
KEYS = [
    "block_count",
    "embedding_length",
    "feed_forward_length",
    "context_length",
    "vocab_size",
    "rope.dimension_count",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.kv_lora_rank",
    "attention.key_length_mla",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
]


@given(st.dictionaries(st.sampled_from(KEYS), anything), st.sampled_from(["llama", "gemma3", ""]))
def test_hostile_metadata_gives_some_shape(values: dict[str, Any], architecture: str) -> None:
    """No value makes the reader fail, take long, or predict less than nothing."""
    shape = read_memory_shape(FakeFile(architecture, values), file_bytes=1)
    assert 0 <= shape.n_layer <= 4096
    assert shape.kv_elements_per_token >= 0
    assert shape.window_elements_per_token >= 0
    assert shape.n_ctx_train >= 0
