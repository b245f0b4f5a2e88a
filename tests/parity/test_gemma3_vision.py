"""The part of a Gemma 3 that reads text, out of a folder that also has one that sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers

from corral.weights.convert import convert_model
from corral.weights.gguf import GGUFFile
from tests.parity.families import DECODERS, SMALL, randomize
from tests.parity.test_decoders import PROMPTS, reference_logprobs
from tests.plain_engine import Engine


def test_text_part(tmp_path: Path) -> None:
    """Log-probabilities on text within 0.01 of the whole model; linear scaling where layers see everything."""
    tokenizer = DECODERS["gemma3"].tokenizer()
    text = {
        **SMALL,
        "head_dim": 32,
        "query_pre_attn_scalar": 32,
        "sliding_window": 8,
        "num_hidden_layers": 7,
        "vocab_size": tokenizer.get_vocab_size(),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    torch.manual_seed(7)
    model = transformers.Gemma3ForConditionalGeneration(config).eval().float()
    randomize(model)
    model.save_pretrained(tmp_path)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **DECODERS["gemma3"].special)
    fast.save_pretrained(tmp_path)
    path = tmp_path / "model.gguf"
    convert_model(DECODERS["gemma3"].files(tmp_path), path, keep_float32=True)
    assert not [
        tensor.name
        for tensor in GGUFFile.open(path).tensors
        if not tensor.name.startswith(("blk.", "o", "t"))
    ]
    with Engine(path) as engine:
        for prompt in PROMPTS:
            tokens = fast.encode(prompt)
            expected = reference_logprobs(model, tokens)
            assert np.abs(engine.logprobs(tokens, len(expected)) - expected).max() < 0.01
