"""Write the trained model as GGUF (Q8_0): `python -m tiny.export --run FOLDER --out FILE`.

Invariant: the file holds everything that an engine needs: sizes, tokenizer, special tokens and the chat template.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from tiny.chat import load_template
from tiny.model import Llama, ModelConfig
from tiny.tokenizer import CONTROL_TOKENS, MARKER_TOKENS

__all__ = ["load_model"]


def load_model(run: Path) -> Llama:
    """Load the checkpoint of a training run."""
    stored = torch.load(run / "model.pt", map_location="cpu", weights_only=True)
    model = Llama(ModelConfig(**stored["config"]))
    model.load_state_dict(stored["weights"])
    return model.eval()


def _write_metadata(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    writer.add_name("corral-tiny")
    writer.add_description("Corral's built-in model: a small world for trying things out and for tests")
    writer.add_license("mit")
    writer.add_size_label("2M")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.hidden)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.heads)
    writer.add_rope_dimension_count(config.width // config.heads)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_vocab_size(config.vocab)


def _write_tokenizer(writer: gguf.GGUFWriter, path: Path) -> None:
    model: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["model"]
    ids: dict[str, int] = model["vocab"]
    tokens = sorted(ids, key=lambda token: ids[token])
    kinds = [
        gguf.TokenType.CONTROL if token in CONTROL_TOKENS
        else gguf.TokenType.USER_DEFINED if token in MARKER_TOKENS
        else gguf.TokenType.NORMAL
        for token in tokens
    ]  # fmt: skip
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(ids["<|endoftext|>"])
    writer.add_eos_token_id(ids["<|im_end|>"])
    writer.add_eot_token_id(ids["<|im_end|>"])
    writer.add_pad_token_id(ids["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(load_template())


def _tensors(model: Llama) -> dict[str, np.ndarray[Any, Any]]:
    """Map torch names to GGUF names, splitting what training kept together."""
    tensors = {"token_embd.weight": model.token_embd.weight, "output_norm.weight": model.output_norm}
    for index, block in enumerate(model.blocks):
        query, key, value = block.attn_qkv.weight.chunk(3)
        gate, up = block.ffn_gate_up.weight.chunk(2)
        named = {"attn_norm": block.attn_norm, "attn_q": query, "attn_k": key, "attn_v": value, "attn_output": block.attn_output.weight,
                 "ffn_norm": block.ffn_norm, "ffn_gate": gate, "ffn_up": up, "ffn_down": block.ffn_down.weight}  # fmt: skip
        tensors.update({f"blk.{index}.{name}.weight": weight for name, weight in named.items()})
    return {name: weight.detach().float().contiguous().numpy() for name, weight in tensors.items()}


def _write_tensors(writer: gguf.GGUFWriter, model: Llama) -> None:
    for name, values in _tensors(model).items():
        if values.ndim == 1:
            writer.add_tensor(name, values)
            continue
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)


def main() -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model = load_model(args.run)
    writer = gguf.GGUFWriter(args.out, "llama")
    _write_metadata(writer, model.config)
    _write_tokenizer(writer, args.run / "tokenizer.json")
    _write_tensors(writer, model)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
