"""What is known about single architectures, where a model file does not say it. One row an architecture.

Names are those of `general.architecture`, and of `model_family` in a model's config.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Architecture:
    """`window_period`: every n-th layer keeps the whole context; 0: it is not known, or all do."""

    # Whether the state of sequences can be split over slots. Ollama: server/sched.go.
    splits_over_slots: bool = True
    # Whether the cache can be shifted, so that by default it is.
    shifts: bool = True
    # llama.cpp: per architecture, where the file does not say.
    window_period: int = 0
    # Whether a reranker is asked for yes or no; the engine makes a probability of the two.
    reranks_by_answer: bool = False
    # Whether a message may have one image only.
    takes_one_image: bool = False
    # Whether an audio encoder in the files is of use.
    can_hear: bool = True
    # Whether the engine guesses tokens with a head for the token after the next one.
    uses_heads: bool = False


_DEFAULT = Architecture()
_ARCHITECTURES = {
    "cohere2": Architecture(window_period=4),
    "deepseek2": Architecture(shifts=False),
    "gemma2": Architecture(window_period=2),
    "gemma3": Architecture(window_period=6),
    "gemma3n": Architecture(window_period=5),
    "glm4moe": Architecture(uses_heads=True),
    "gpt-oss": Architecture(window_period=2),
    "gptoss": Architecture(window_period=2),
    "lfm2": Architecture(splits_over_slots=False),
    "lfm2moe": Architecture(splits_over_slots=False),
    "mllama": Architecture(splits_over_slots=False, takes_one_image=True),
    "nemotron_h": Architecture(splits_over_slots=False),
    "nemotron_h_moe": Architecture(splits_over_slots=False),
    "nemotron_h_omni": Architecture(splits_over_slots=False, can_hear=False),
    "qwen3": Architecture(reranks_by_answer=True),
    "qwen3next": Architecture(splits_over_slots=False, uses_heads=True),
    "qwen3vl": Architecture(splits_over_slots=False, reranks_by_answer=True),
    "qwen3vlmoe": Architecture(splits_over_slots=False),
    "qwen35": Architecture(splits_over_slots=False, uses_heads=True),
    "qwen35moe": Architecture(splits_over_slots=False, uses_heads=True),
}


def architecture(name: str) -> Architecture:
    """The row of an architecture; one that is not listed has nothing unusual."""
    return _ARCHITECTURES.get(name, _DEFAULT)
