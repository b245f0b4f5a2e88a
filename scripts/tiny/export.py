"""Write a trained model as GGUF: `python -m scripts.tiny.export --model FOLDER --out corral-tiny.gguf`.

Matrices become Q8_0, norms stay F32. Names, tokenizer lists and the chat template are those that the engine expects
of a llama; no weight is permuted (see `model.py`).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from scripts.tiny.chat import load_template
from scripts.tiny.model import ModelConfig
from scripts.tiny.tokenizer import CONTROL_TOKENS, MARKER_TOKENS

_Q8_0_FILE_TYPE = 7
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4


def _add_tokenizer(writer: gguf.GGUFWriter, path: Path) -> None:
    model = json.loads(path.read_text(encoding="utf-8"))["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    types = [
        _CONTROL if token in CONTROL_TOKENS else _USER_DEFINED if token in MARKER_TOKENS else _NORMAL
        for token in tokens
    ]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    ids = model["vocab"]
    writer.add_bos_token_id(ids["<|endoftext|>"])
    writer.add_eos_token_id(ids["<|im_end|>"])
    writer.add_pad_token_id(ids["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(load_template())


def _tensors(weights: dict[str, Any], config: ModelConfig) -> dict[str, np.ndarray[Any, Any]]:
    """GGUF names and float32 arrays."""
    out = {
        "token_embd.weight": weights["token_embd.weight"],
        "output_norm.weight": weights["output_norm"],
    }
    for i in range(config.layers):
        query, key, value = weights[f"blocks.{i}.attn_qkv.weight"].split(config.width)
        gate, up = weights[f"blocks.{i}.ffn_gate_up.weight"].split(config.hidden)
        out |= {
            f"blk.{i}.attn_norm.weight": weights[f"blocks.{i}.attn_norm"],
            f"blk.{i}.attn_q.weight": query,
            f"blk.{i}.attn_k.weight": key,
            f"blk.{i}.attn_v.weight": value,
            f"blk.{i}.attn_output.weight": weights[f"blocks.{i}.attn_output.weight"],
            f"blk.{i}.ffn_norm.weight": weights[f"blocks.{i}.ffn_norm"],
            f"blk.{i}.ffn_gate.weight": gate,
            f"blk.{i}.ffn_up.weight": up,
            f"blk.{i}.ffn_down.weight": weights[f"blocks.{i}.ffn_down.weight"],
        }
    return {name: tensor.float().contiguous().numpy() for name, tensor in out.items()}


def export(folder: Path, out: Path) -> None:
    """Write the GGUF of the checkpoint in `folder`."""
    saved = torch.load(folder / "model.pt", map_location="cpu", weights_only=True)
    config = ModelConfig(**saved["config"])
    head = config.width // config.heads
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name("corral-tiny")
    writer.add_license("MIT")
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.hidden)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.heads)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_vocab_size(config.vocab)
    writer.add_file_type(_Q8_0_FILE_TYPE)
    writer.add_quantization_version(2)
    _add_tokenizer(writer, folder / "tokenizer.json")
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, array in _tensors(saved["weights"], config).items():
        if array.ndim == 1:
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", 1)[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    export(arguments.model, arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
