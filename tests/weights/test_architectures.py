"""The table of architectures."""

from __future__ import annotations

import pytest

from corral.weights.architectures import Architecture, architecture

ONE_SLOT = (
    "mllama qwen3vl qwen3vlmoe qwen35 qwen35moe qwen3next "
    "lfm2 lfm2moe nemotron_h nemotron_h_moe nemotron_h_omni"
)


@pytest.mark.parametrize("name", ["", "llama", "qwen2", "LFM2"])
def test_most_are_usual(name: str) -> None:
    """Names are matched exactly."""
    assert architecture(name) == Architecture()


@pytest.mark.parametrize("name", ONE_SLOT.split())
def test_states_that_cannot_be_split(name: str) -> None:
    """As in Ollama's scheduler."""
    assert not architecture(name).splits_over_slots


def test_single_facts() -> None:
    """One of each kind."""
    assert not architecture("deepseek2").shifts
    assert architecture("gemma3").window_period == 6
    assert architecture("gpt-oss") == architecture("gptoss")
    assert architecture("qwen3").reranks_by_answer and architecture("qwen3").splits_over_slots
    assert architecture("mllama").takes_one_image
    assert not architecture("nemotron_h_omni").can_hear
