"""Tiny models with random weights, one for each family, as their users would find them in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers

from tests.parity import tokenizers_zoo as zoo

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}


@dataclass(frozen=True)
class Case:
    """`config` and `model` are names of transformers classes; `special` names special tokens."""

    config: str
    model: str
    tokenizer: Callable[[], Tokenizer]
    settings: Mapping[str, Any] = field(default_factory=dict)
    special: Mapping[str, str] = field(default_factory=dict)
    sentencepiece: bytes | None = None

    def save(self, folder: Path) -> Any:
        """Make the model and write its folder; returns the model, in evaluation mode."""
        tokenizer = self.tokenizer()
        settings = {**SMALL, **self.settings, "vocab_size": tokenizer.get_vocab_size()}
        for name in ("bos", "eos", "pad"):
            text = self.special.get(f"{name}_token")
            settings[f"{name}_token_id"] = tokenizer.token_to_id(text) if text else None
        config = getattr(transformers, self.config)(**settings)
        torch.manual_seed(7)
        model = getattr(transformers, self.model)(config).eval().float()
        randomize(model)
        model.save_pretrained(folder)
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **self.special)
        fast.save_pretrained(folder)
        return model


def randomize(model: Any) -> None:
    """Weights that matter: norms away from 1, biases away from 0, logits of a few units."""
    generator = torch.Generator().manual_seed(11)
    for name, values in model.named_parameters():
        noise = torch.randn(values.shape, generator=generator)
        with torch.no_grad():
            if values.ndim == 1:
                values.add_(noise * 0.2)
            elif "embed" in name or "lm_head" in name:
                values.copy_(noise * 0.5)
            else:
                values.copy_(noise * 0.15)


BYTE_SPECIAL = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
SP_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def llama3_tokenizer() -> Tokenizer:
    return zoo.surrounded(zoo.byte_level(zoo.LLAMA3, ignore_merges=True), "<|begin|>")


def sp_tokenizer(*, prefix: bool) -> Callable[[], Tokenizer]:
    return lambda: zoo.surrounded(zoo.sentencepiece_bpe(prefix=prefix), "<s>")


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

DECODERS: dict[str, Case] = {
    "llama2": Case("LlamaConfig", "LlamaForCausalLM", sp_tokenizer(prefix=True), special=SP_SPECIAL),
    "llama3.1": Case(
        "LlamaConfig",
        "LlamaForCausalLM",
        llama3_tokenizer,
        {"rope_parameters": LLAMA3_ROPE, "tie_word_embeddings": True, "head_dim": 32},
        BYTE_SPECIAL,
    ),
    "mistral-nemo": Case(
        "MistralConfig",
        "MistralForCausalLM",
        lambda: zoo.surrounded(zoo.byte_level(zoo.TEKKEN, ignore_merges=True), "<|begin|>"),
        {"sliding_window": None},
        BYTE_SPECIAL,
    ),
    "mixtral": Case(
        "MixtralConfig",
        "MixtralForCausalLM",
        sp_tokenizer(prefix=True),
        {"num_local_experts": 4, "num_experts_per_tok": 2},
        SP_SPECIAL,
    ),
}
