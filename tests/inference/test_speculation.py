"""What headers say about guessing tokens."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from corral.inference.speculation import GuessFacts, draft_kind_of, guess_facts
from corral.weights.gguf import GGUFFile
from tests.doubles.mtp_model import write_mtp_model


def small(path: Path, architecture: str, *keys: str) -> GGUFFile:
    writer = gguf.GGUFWriter(path, architecture)
    for key in keys:
        writer.add_uint32(key, 1)
    writer.add_tensor("blk.0.attn_norm.weight", np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return GGUFFile.open(path)


@pytest.mark.parametrize(("heads", "expected"), [(0, False), (1, True), (2, False)])
def test_heads(tmp_path: Path, heads: int, expected: bool) -> None:
    """One is what the engine can use; with more it would abort."""
    found = guess_facts(GGUFFile.open(write_mtp_model(tmp_path / "m", heads=heads)), None)
    assert found == GuessFacts(has_heads=expected, can_rewind=True)


def test_heads_that_are_announced_and_missing(tmp_path: Path) -> None:
    """As in a file of which somebody cut them off: the engine would abort."""
    file = small(tmp_path / "m", "glm4moe", "glm4moe.block_count", "glm4moe.nextn_predict_layers")
    assert not guess_facts(file, None).has_heads


@pytest.mark.parametrize(
    ("architecture", "key", "expected"),
    [
        ("llama", "llama.block_count", True),
        ("mamba", "mamba.ssm.state_size", False),
        ("qwen35", "qwen35.ssm.conv_kernel", False),
        ("lfm2", "lfm2.shortconv.l_cache", False),
        ("rwkv7", "rwkv7.wkv.head_size", False),
        ("llama", "other.ssm.state_size", True),
    ],
)
def test_which_models_can_go_back(tmp_path: Path, architecture: str, key: str, expected: bool) -> None:
    assert guess_facts(small(tmp_path / "m", architecture, key), None).can_rewind is expected


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [("eagle3", "draft-eagle3"), ("dflash", "draft-dflash"), ("llama", "draft-simple")],
)
def test_kinds_of_draft_models(tmp_path: Path, architecture: str, expected: str) -> None:
    model = small(tmp_path / "m", "llama")
    assert guess_facts(model, small(tmp_path / "d", architecture)).draft_kind == expected
    assert guess_facts(model, None).draft_kind == "draft-simple"
    assert guess_facts(None, None) == GuessFacts()
    assert draft_kind_of(tmp_path / "d") == expected
    assert draft_kind_of(tmp_path / "missing") == "draft-simple"
