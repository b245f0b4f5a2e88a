"""Small random models of many families, each in two layouts: the one that llama.cpp loads, written directly, and
the one that was published for Ollama's own engine. What the engine says of the first is what a translation of the
second has to say. Shapes are in numpy order, (out, in).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.weights.quantize.random_models import random_values

__all__ = ["TWINS", "Layout", "Twin"]

Array = np.ndarray[Any, Any]
_KINDS = gguf.GGUFValueType
E, HEADS, KV, HEAD, FF, LAYERS = 64, 4, 2, 16, 96, 2
N_VOCAB = 300


@dataclass
class Layout:
    """Values and tensors of a file. A list is an array; whole numbers are uint32, in arrays int32."""

    architecture: str
    values: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Array] = field(default_factory=dict)

    def own(self, **values: Any) -> None:
        """Values under the architecture's name; `__` stands for a dot."""
        self.values |= {
            f"{self.architecture}.{key.replace('__', '.')}": value for key, value in values.items()
        }

    def add(self, name: str, *shape: int, dtype: type = np.float32) -> None:
        """Random weights; a vector is a norm, around 1."""
        values = random_values(f"twin/{name}", shape) * np.float32(0.5)
        self.tensors[name] = (values + np.float32(len(shape) == 1)).astype(dtype)

    def move(self, old: str, new: str) -> None:
        """Rename tensors by a part of their names, values by their whole key."""
        self.tensors = {name.replace(old, new): data for name, data in self.tensors.items()}

    def rename_architecture(self, new: str) -> None:
        prefix = self.architecture + "."
        self.values = {
            f"{new}.{key.removeprefix(prefix)}" if key.startswith(prefix) else key: value
            for key, value in self.values.items()
        }
        self.architecture = new

    def copy(self) -> Layout:
        return Layout(self.architecture, dict(self.values), dict(self.tensors))

    def write(self, path: Path) -> Path:
        writer = gguf.GGUFWriter(path, self.architecture)
        for key, value in self.values.items():
            writer.add_key_value(key, value, *_kinds(value))
        for name, data in self.tensors.items():
            writer.add_tensor(name, data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path


def _kinds(value: Any) -> tuple[Any, ...]:
    if isinstance(value, list):
        return _KINDS.ARRAY, _kinds(value[0])[0] if not isinstance(value[0], int) or isinstance(
            value[0], bool
        ) else _KINDS.INT32
    for kind, number in (
        (bool, _KINDS.BOOL),
        (int, _KINDS.UINT32),
        (float, _KINDS.FLOAT32),
        (str, _KINDS.STRING),
    ):
        if isinstance(value, kind):
            return (number,)
    raise TypeError(value)


@dataclass(frozen=True)
class Twin:
    """A family. `to_ollama` changes a copy of what llama.cpp loads into what was published."""

    name: str
    make: Callable[[], Layout]
    to_ollama: Callable[[Layout], None]
    is_embedding: bool = False
    # The vision part as llama.cpp has it, made from the published file.
    projector: Callable[[Layout], Layout] | None = None
    # The engine loads the published file, and gets other numbers (or other tokens) from it.
    loads_anyway: bool = False


def sentencepiece(layout: Layout, count: int = N_VOCAB) -> None:
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{i:02X}>" for i in range(256)), "▁"]
    tokens += [f"w{i}" for i in range(count - len(tokens))]
    layout.values |= {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * count,
        "tokenizer.ggml.token_type": [3, 3, 3, 2] + [6] * 256 + [1] * (count - 260),
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.unknown_token_id": 3,
        "tokenizer.ggml.add_bos_token": True,
    }


def byte_pairs(layout: Layout, pre: str, count: int = N_VOCAB) -> None:
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    chars = {byte: chr(byte) for byte in keep}
    chars |= {byte: chr(256 + i) for i, byte in enumerate(b for b in range(256) if b not in chars)}
    tokens = ["<|end|>", *(chars[byte] for byte in range(256))]
    tokens += [f"<w{i}>" for i in range(count - len(tokens))]
    layout.values |= {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] + [1] * (count - 1),
        "tokenizer.ggml.merges": [f"{chars[104]} {chars[105]}"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
    }


def decoder(
    architecture: str, *, has_output: bool = False, layers: int = LAYERS, bias: bool = False
) -> Layout:
    """What most families share: attention with fewer key-value heads, a gated feed-forward layer."""
    layout = Layout(architecture)
    layout.own(
        block_count=layers,
        context_length=512,
        embedding_length=E,
        feed_forward_length=FF,
        attention__head_count=HEADS,
        attention__head_count_kv=KV,
        attention__key_length=HEAD,
        attention__value_length=HEAD,
        attention__layer_norm_rms_epsilon=1e-6,
        rope__freq_base=10000.0,
        rope__dimension_count=HEAD,
    )
    layout.add("token_embd.weight", N_VOCAB, E)
    layout.add("output_norm.weight", E)
    if has_output:
        layout.add("output.weight", N_VOCAB, E)
    for p in blocks(layers):
        layout.add(p + "attn_norm.weight", E)
        for role, rows in (("q", HEADS), ("k", KV), ("v", KV)):
            layout.add(f"{p}attn_{role}.weight", rows * HEAD, E)
            if bias:
                layout.add(f"{p}attn_{role}.bias", rows * HEAD)
        layout.add(p + "attn_output.weight", E, HEADS * HEAD)
        layout.add(p + "ffn_norm.weight", E)
        layout.add(p + "ffn_gate.weight", FF, E)
        layout.add(p + "ffn_up.weight", FF, E)
        layout.add(p + "ffn_down.weight", E, FF)
    return layout


def blocks(layers: int = LAYERS) -> Iterator[str]:
    return (f"blk.{i}." for i in range(layers))


def vision(layout: Layout, names: Mapping[str, tuple[int, ...]], dtype: type = np.float16) -> None:
    """Tensors of a tower in the same file."""
    for name, shape in names.items():
        layout.add(name, *shape, dtype=np.float32 if len(shape) == 1 else dtype)


def _tower(prefix: str, parts: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}{name}": shape for name, shape in parts.items()}


# Gemma 3


def _gemma3(layers: int = LAYERS) -> Layout:
    layout = decoder("gemma3", layers=layers)
    layout.own(attention__sliding_window=64, rope__freq_base=1e6, rope__freq_base_swa=1e4)
    for p in blocks(layers):
        layout.add(p + "post_attention_norm.weight", E)
        layout.add(p + "post_ffw_norm.weight", E)
        layout.add(p + "attn_q_norm.weight", HEAD)
        layout.add(p + "attn_k_norm.weight", HEAD)
    sentencepiece(layout)
    return layout


def _old_gemma3(layout: Layout) -> None:
    values = layout.values
    values["gemma3.rope.global.freq_base"] = values.pop("gemma3.rope.freq_base")
    values["gemma3.rope.local.freq_base"] = values.pop("gemma3.rope.freq_base_swa")
    del values["gemma3.attention.layer_norm_rms_epsilon"]
    for name, extra in (("tokens", "<image>"), ("scores", 0.0), ("token_type", 4)):
        values[f"tokenizer.ggml.{name}"] = [*values[f"tokenizer.ggml.{name}"], extra]
    layout.own(
        mm__tokens_per_image=4,
        vision__block_count=1,
        vision__embedding_length=32,
        vision__image_size=32,
        vision__feed_forward_length=48,
        vision__attention__head_count=2,
        vision__patch_size=8,
        vision__num_channels=3,
        vision__attention__layer_norm_epsilon=1e-6,
    )
    attention = {
        f"attn_{role}.{leaf}": (32, 32) if leaf == "weight" else (32,)
        for role in ("q", "k", "v", "output")
        for leaf in ("weight", "bias")
    }
    norms = {f"layer_norm{i}.{leaf}": (32,) for i in (1, 2) for leaf in ("weight", "bias")}
    mlp = {
        "mlp.fc1.weight": (48, 32),
        "mlp.fc1.bias": (48,),
        "mlp.fc2.weight": (32, 48),
        "mlp.fc2.bias": (32,),
    }
    vision(layout, _tower("v.blk.0.", {**attention, **norms, **mlp}))
    vision(
        layout,
        {
            "v.patch_embedding.weight": (32, 3, 8, 8),
            "v.patch_embedding.bias": (32,),
            "v.position_embedding.weight": (16, 32),
            "v.post_layernorm.weight": (32,),
            "v.post_layernorm.bias": (32,),
            "mm.mm_input_projection.weight": (32, E),
            "mm.mm_soft_emb_norm.weight": (32,),
        },
    )


def _gemma_embedding() -> Layout:
    # Only every sixth layer sees everything, and the engine wants one.
    layout = _gemma3(6)
    layout.rename_architecture("gemma-embedding")
    layout.own(
        pooling_type=1, dense_2_feat_in=E, dense_2_feat_out=128, dense_3_feat_in=128, dense_3_feat_out=E
    )
    layout.add("dense_2.weight", 128, E)
    layout.add("dense_3.weight", E, 128)
    return layout


def _old_gemma_embedding(layout: Layout) -> None:
    layout.rename_architecture("gemma3")
    for key in (
        "dense_2_feat_in",
        "dense_2_feat_out",
        "dense_3_feat_in",
        "dense_3_feat_out",
        "rope.freq_base_swa",
    ):
        del layout.values[f"gemma3.{key}"]
    layout.values["gemma3.attention.causal"] = False
    for old, new in (("dense_2", "dense.0"), ("dense_3", "dense.1")):
        layout.move(old, new)
    layout.tensors["norm.weight"] = layout.tensors.pop("output_norm.weight")


# Gemma 3n


def _gemma3n() -> Layout:
    layout = _gemma3()
    layout.rename_architecture("gemma3n")
    altup, rank, per_layer = 4, 64, 256
    layout.add("altup_proj.weight", altup - 1, E, E)
    layout.add("altup_unembd_proj.weight", altup - 1, E, E)
    layout.add("per_layer_token_embd.weight", N_VOCAB, per_layer * LAYERS)
    layout.add("per_layer_model_proj.weight", per_layer * LAYERS, E)
    layout.add("per_layer_proj_norm.weight", per_layer)
    for p in blocks():
        layout.add(p + "inp_gate.weight", per_layer, E)
        layout.add(p + "proj.weight", E, per_layer)
        layout.add(p + "post_norm.weight", E)
        layout.add(p + "altup_correct_coef.weight", altup, altup)
        layout.add(p + "altup_correct_scale.weight", E)
        layout.add(p + "altup_predict_coef.weight", altup * altup, altup)
        layout.add(p + "altup_router.weight", altup, E)
        layout.add(p + "altup_router_norm.weight", E)
        layout.add(p + "laurel_l.weight", rank, E)
        layout.add(p + "laurel_r.weight", E, rank)
        layout.add(p + "laurel_post_norm.weight", E)
    return layout


def _old_gemma3n(layout: Layout) -> None:
    more = np.concatenate([layout.tensors["token_embd.weight"], np.ones((8, E), np.float32)])
    layout.tensors["token_embd.weight"] = more
    values = layout.values
    values["tokenizer.ggml.model"] = "gpt2"
    values["tokenizer.ggml.merges"] = ["a b"]
    values["tokenizer.ggml.tokens"] = [*values["tokenizer.ggml.tokens"], *(f"<extra{i}>" for i in range(8))]
    values["tokenizer.ggml.scores"] = [*values["tokenizer.ggml.scores"], *[0.0] * 8]
    values["tokenizer.ggml.token_type"] = [
        1 if t == 6 else t for t in values["tokenizer.ggml.token_type"]
    ] + [1] * 8


# Mistral 3


def _mistral3() -> Layout:
    layout = decoder("mistral3", has_output=True)
    layout.own(
        rope__scaling__type="yarn",
        rope__scaling__factor=4.0,
        rope__scaling__original_context_length=128,
        rope__scaling__yarn_beta_fast=32.0,
        rope__scaling__yarn_beta_slow=1.0,
        rope__scaling__yarn_log_multiplier=1.0,
        attention__temperature_scale=0.1,
    )
    byte_pairs(layout, "tekken")
    return layout


def _old_mistral3(layout: Layout) -> None:
    values = layout.values
    for old, new in (
        ("rope.scaling.beta_fast", "rope.scaling.yarn_beta_fast"),
        ("rope.scaling.beta_slow", "rope.scaling.yarn_beta_slow"),
        ("rope.scaling.mscale_all_dim", "rope.scaling.yarn_log_multiplier"),
        ("rope.scaling_beta", "attention.temperature_scale"),
    ):
        values[f"mistral3.{old}"] = values.pop(f"mistral3.{new}")
    values["tokenizer.ggml.pre"] = "default"
    layout.own(
        vision__block_count=1,
        vision__embedding_length=32,
        vision__image_size=32,
        vision__feed_forward_length=48,
        vision__attention__head_count=2,
        vision__patch_size=4,
        vision__num_channels=3,
        vision__rope__freq_base=10000.0,
        spatial_merge_size=2,
    )
    parts: dict[str, tuple[int, ...]] = {
        f"attn_{role}.weight": (32, 32) for role in ("q", "k", "v", "output")
    }
    parts |= {
        "attn_norm.weight": (32,),
        "ffn_norm.weight": (32,),
        "ffn_gate.weight": (48, 32),
        "ffn_up.weight": (48, 32),
        "ffn_down.weight": (32, 48),
    }
    vision(layout, _tower("v.blk.0.", parts))
    vision(
        layout,
        {
            "v.patch_conv.weight": (32, 3, 4, 4),
            "v.encoder_norm.weight": (32,),
            "mm.norm.weight": (32,),
            "mm.linear_1.weight": (E, 32),
            "mm.linear_2.weight": (E, E),
            "mm.patch_merger.merging_layer.weight": (32, 128),
        },
    )


# Qwen 2.5 VL


def _qwen2vl() -> Layout:
    layout = decoder("qwen2vl", has_output=True, bias=True)
    layout.own(rope__dimension_sections=[2, 3, 3, 0])
    byte_pairs(layout, "qwen2")
    return layout


def _old_qwen25vl(layout: Layout) -> None:
    layout.rename_architecture("qwen25vl")
    layout.values["qwen25vl.rope.mrope_section"] = layout.values.pop("qwen25vl.rope.dimension_sections")[:3]
    layout.own(
        vision__block_count=2,
        vision__embedding_length=32,
        vision__attention__head_count=2,
        vision__patch_size=14,
        vision__num_channels=3,
        vision__spatial_merge_size=2,
        vision__window_size=112,
        vision__attention__layer_norm_epsilon=1e-6,
        vision__fullatt_block_indexes=[1],
    )
    for i in range(2):
        parts = {
            f"attn_{role}.{leaf}": (32, 32) if leaf == "weight" else (32,)
            for role in ("q", "k", "v", "out")
            for leaf in ("weight", "bias")
        }
        parts |= {
            "ln1.weight": (32,),
            "ln2.weight": (32,),
            "ffn_gate.weight": (64, 32),
            "ffn_gate.bias": (64,),
            "ffn_up.weight": (64, 32),
            "ffn_up.bias": (64,),
            "ffn_down.weight": (32, 64),
            "ffn_down.bias": (32,),
        }
        vision(layout, _tower(f"v.blk.{i}.", parts))
    vision(
        layout,
        {
            "v.patch_embd_0.weight": (32, 3, 14, 14),
            "v.patch_embd_1.weight": (32, 3, 14, 14),
            "v.merger.ln_q.weight": (32,),
            "v.merger.mlp.0.weight": (128, 128),
            "v.merger.mlp.0.bias": (128,),
            "v.merger.mlp.2.weight": (E, 128),
            "v.merger.mlp.2.bias": (E,),
        },
    )


# Models with experts


def experts(layout: Layout, count: int, ff: int, *, shared: int = 0, has_bias: bool = False) -> None:
    """Experts in the place of the feed-forward layer."""
    layers = layout.values[f"{layout.architecture}.block_count"]
    layout.own(expert_count=count, expert_used_count=2, expert_feed_forward_length=ff)
    for p in blocks(layers):
        for part in ("gate", "up", "down"):
            del layout.tensors[f"{p}ffn_{part}.weight"]
            shape = (count, E, ff) if part == "down" else (count, ff, E)
            layout.add(f"{p}ffn_{part}_exps.weight", *shape)
            if has_bias:
                layout.add(f"{p}ffn_{part}_exps.bias", count, shape[1])
            if shared:
                layout.add(f"{p}ffn_{part}_shexp.weight", *((E, shared) if part == "down" else (shared, E)))
        layout.add(p + "ffn_gate_inp.weight", count, E)
        if has_bias:
            layout.add(p + "ffn_gate_inp.bias", count)


def _llama4() -> Layout:
    # As with Gemma: every fourth.
    layout = decoder("llama4", has_output=True, layers=4)
    layout.own(interleave_moe_layer_step=1)
    experts(layout, 4, 32, shared=32)
    byte_pairs(layout, "llama4")
    return layout


def _old_llama4(layout: Layout) -> None:
    layout.own(
        vision__block_count=1,
        vision__embedding_length=32,
        vision__image_size=28,
        vision__feed_forward_length=64,
        vision__attention__head_count=2,
        vision__patch_size=7,
        vision__layer_norm_epsilon=1e-5,
        vision__pixel_shuffle_ratio=0.5,
    )
    parts = {
        f"attn_{role}.{leaf}": (32, 32) if leaf == "weight" else (32,)
        for role in ("q", "k", "v", "output")
        for leaf in ("weight", "bias")
    }
    parts |= {f"{norm}.{leaf}": (32,) for norm in ("attn_norm", "ffn_norm") for leaf in ("weight", "bias")}
    parts |= {
        "mlp.fc1.weight": (64, 32),
        "mlp.fc1.bias": (64,),
        "mlp.fc2.weight": (32, 64),
        "mlp.fc2.bias": (32,),
    }
    vision(layout, _tower("v.blk.0.", parts))
    vision(
        layout,
        {
            "v.patch_embedding.weight": (32, 147),
            "v.class_embedding": (32,),
            "v.layernorm_pre.weight": (32,),
            "v.layernorm_pre.bias": (32,),
            "v.layernorm_post.weight": (32,),
            "v.layernorm_post.bias": (32,),
            "v.vision_adapter.mlp.fc1.weight": (48, 128),
            "v.vision_adapter.mlp.fc2.weight": (48, 48),
            "mm.linear_1.weight": (E, 48),
        },
    )
    layout.add("v.positional_embedding_vlm", 17, 32)


def _gptoss() -> Layout:
    layout = decoder("gpt-oss", has_output=True, bias=True)
    experts(layout, 4, 32, has_bias=True)
    layout.own(
        attention__sliding_window=64,
        rope__scaling__type="yarn",
        rope__scaling__factor=32.0,
        rope__scaling__original_context_length=128,
    )
    for p in blocks():
        layout.tensors[p + "post_attention_norm.weight"] = layout.tensors.pop(p + "ffn_norm.weight")
        layout.add(p + "attn_output.bias", E)
        layout.add(p + "attn_sinks.weight", HEADS)
    byte_pairs(layout, "gpt-4o")
    return layout


def _old_gptoss(layout: Layout) -> None:
    layout.rename_architecture("gptoss")
    for key in ("expert_feed_forward_length", "rope.scaling.type"):
        del layout.values[f"gptoss.{key}"]
    layout.values["tokenizer.ggml.pre"] = "default"
    for old, new in (
        (".attn_output", ".attn_out"),
        (".attn_sinks.weight", ".attn_sinks"),
        (".post_attention_norm", ".ffn_norm"),
    ):
        layout.move(old, new)


def _deepseek2() -> Layout:
    rank, rope, nope = 32, 8, 16
    layout = decoder("deepseek2", has_output=True)
    experts(layout, 4, 32, shared=32)
    layout.own(
        attention__head_count_kv=1,
        attention__key_length=rank + rope,
        attention__value_length=rank,
        attention__key_length_mla=nope + rope,
        attention__value_length_mla=nope + rope,
        attention__kv_lora_rank=rank,
        attention__q_lora_rank=24,
        rope__dimension_count=rope,
        expert_shared_count=1,
        leading_dense_block_count=0,
        expert_gating_func=2,
        expert_weights_norm=True,
        expert_group_count=1,
        expert_group_used_count=1,
    )
    for p in blocks():
        for role in ("q", "k", "v"):
            del layout.tensors[f"{p}attn_{role}.weight"]
        layout.add(p + "attn_q_a.weight", 24, E)
        layout.add(p + "attn_q_a_norm.weight", 24)
        layout.add(p + "attn_q_b.weight", HEADS * (nope + rope), 24)
        layout.add(p + "attn_kv_a_mqa.weight", rank + rope, E)
        layout.add(p + "attn_kv_a_norm.weight", rank)
        layout.add(p + "attn_k_b.weight", HEADS, rank, nope)
        layout.add(p + "attn_v_b.weight", HEADS, nope + rope, rank)
        layout.add(p + "attn_output.weight", E, HEADS * (nope + rope))
    byte_pairs(layout, "glm4")
    return layout


def _old_glm4moelite(layout: Layout) -> None:
    layout.rename_architecture("glm4moelite")
    values = layout.values
    values["glm4moelite.attention.key_length"] = values.pop("glm4moelite.attention.key_length_mla")
    values["glm4moelite.attention.value_length"] = values.pop("glm4moelite.attention.value_length_mla")
    values["glm4moelite.attention.head_count_kv"] = HEADS
    for key in ("expert_group_count", "expert_group_used_count"):
        del values[f"glm4moelite.{key}"]
    values["tokenizer.ggml.pre"] = "default"
    values["tokenizer.ggml.eos_token_ids"] = [0, 270, 271]


# Renames


def _olmo2() -> Layout:
    layout = decoder("olmo2", has_output=True)
    for p in blocks():
        for norm in ("attn_norm", "ffn_norm"):
            del layout.tensors[f"{p}{norm}.weight"]
        layout.add(p + "attn_q_norm.weight", E)
        layout.add(p + "attn_k_norm.weight", KV * HEAD)
        layout.add(p + "post_attention_norm.weight", E)
        layout.add(p + "post_ffw_norm.weight", E)
    byte_pairs(layout, "dbrx")
    return layout


def _lfm2() -> Layout:
    layout = decoder("lfm2")
    layout.own(shortconv__l_cache=3, attention__head_count_kv=[0, KV], vocab_size=N_VOCAB)
    layout.tensors["token_embd_norm.weight"] = layout.tensors.pop("output_norm.weight")
    for role in ("q", "k", "v", "output"):
        del layout.tensors[f"blk.0.attn_{role}.weight"]
    layout.add("blk.0.shortconv.conv.weight", E, 3)
    layout.add("blk.0.shortconv.in_proj.weight", 3 * E, E)
    layout.add("blk.0.shortconv.out_proj.weight", E, E)
    layout.add("blk.1.attn_q_norm.weight", HEAD)
    layout.add("blk.1.attn_k_norm.weight", HEAD)
    byte_pairs(layout, "lfm2")
    return layout


def _old_lfm2(layout: Layout) -> None:
    layout.move("token_embd_norm", "output_norm")
    layout.values["tokenizer.ggml.pre"] = "default"
    layout.values["lfm2.feed_forward_length"] = 144


def _llama3() -> Layout:
    layout = decoder("llama")
    count = 128_010
    layout.add("token_embd.weight", count, E)
    byte_pairs(layout, "llama-bpe", count)
    tokens, types = layout.values["tokenizer.ggml.tokens"], layout.values["tokenizer.ggml.token_type"]
    for number, token in (
        (128_001, "<|end_of_text|>"),
        (128_006, "<|start_header_id|>"),
        (128_009, "<|eot_id|>"),
    ):
        tokens[number], types[number] = token, 3
    layout.values |= {
        "tokenizer.ggml.eos_token_id": 128_009,
        "tokenizer.ggml.eot_token_id": 128_009,
        "tokenizer.ggml.eos_token_ids": [128_009],
    }
    return layout


def _old_llama3(layout: Layout) -> None:
    for key in ("pre", "eot_token_id", "eos_token_ids"):
        del layout.values[f"tokenizer.ggml.{key}"]
    layout.values["tokenizer.ggml.eos_token_id"] = 128_001


# Vision parts as llama.cpp's own converter writes them


def _clip(
    kind: str, published: Layout, names: Mapping[str, str], promoted: tuple[str, ...] = (), **values: Any
) -> Layout:
    """A projector: `names` maps each of its tensors to the published one; `promoted` ones become F32."""
    layout = Layout("clip")
    layout.values |= {"clip.has_vision_encoder": True, "clip.projector_type": kind}
    layout.values |= {f"clip.vision.{key.replace('__', '.')}": value for key, value in values.items()}
    layout.values["clip.vision.projection_dim"] = E
    for new, old in names.items():
        data = published.tensors[old]
        layout.tensors[new] = data.astype(np.float32) if new in promoted else data
    return layout


def _both(new: str, old: str, leaves: tuple[str, ...] = ("weight", "bias")) -> dict[str, str]:
    return {f"{new}.{leaf}": f"{old}.{leaf}" for leaf in leaves}


def _clip_gemma3(published: Layout) -> Layout:
    names = {
        "v.patch_embd.weight": "v.patch_embedding.weight",
        "v.patch_embd.bias": "v.patch_embedding.bias",
        "v.position_embd.weight": "v.position_embedding.weight",
        **_both("v.post_ln", "v.post_layernorm"),
        "mm.input_projection.weight": "mm.mm_input_projection.weight",
        "mm.soft_emb_norm.weight": "mm.mm_soft_emb_norm.weight",
    }
    for new, old in (
        ("attn_q", "attn_q"),
        ("attn_k", "attn_k"),
        ("attn_v", "attn_v"),
        ("attn_out", "attn_output"),
        ("ln1", "layer_norm1"),
        ("ln2", "layer_norm2"),
        ("ffn_down", "mlp.fc1"),
        ("ffn_up", "mlp.fc2"),
    ):
        names |= _both(f"v.blk.0.{new}", f"v.blk.0.{old}")
    layout = _clip(
        "gemma3",
        published,
        names,
        ("v.patch_embd.weight", "v.position_embd.weight"),
        block_count=1,
        embedding_length=32,
        attention__head_count=2,
        patch_size=8,
        feed_forward_length=48,
        image_size=32,
        attention__layer_norm_epsilon=1e-6,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    layout.values["clip.use_gelu"] = True
    return layout


def _clip_pixtral(published: Layout) -> Layout:
    names = {
        "v.patch_embd.weight": "v.patch_conv.weight",
        "v.pre_ln.weight": "v.encoder_norm.weight",
        "mm.input_norm.weight": "mm.norm.weight",
        "mm.1.weight": "mm.linear_1.weight",
        "mm.2.weight": "mm.linear_2.weight",
        "mm.patch_merger.weight": "mm.patch_merger.merging_layer.weight",
    }
    for new, old in (
        ("attn_q", "attn_q"),
        ("attn_k", "attn_k"),
        ("attn_v", "attn_v"),
        ("attn_out", "attn_output"),
        ("ln1", "attn_norm"),
        ("ln2", "ffn_norm"),
        ("ffn_gate", "ffn_gate"),
        ("ffn_up", "ffn_up"),
        ("ffn_down", "ffn_down"),
    ):
        names |= _both(f"v.blk.0.{new}", f"v.blk.0.{old}", ("weight",))
    layout = _clip(
        "pixtral",
        published,
        names,
        ("v.patch_embd.weight",),
        block_count=1,
        embedding_length=32,
        attention__head_count=2,
        patch_size=4,
        feed_forward_length=48,
        image_size=32,
        num_channels=3,
        attention__layer_norm_epsilon=1e-5,
        spatial_merge_size=2,
        image_mean=[0.48145467, 0.4578275, 0.40821072],
        image_std=[0.26862955, 0.26130259, 0.2757771],
    )
    layout.values |= {"clip.rope.freq_base": 10000.0, "clip.use_silu": True}
    for role in ("q", "k"):
        weight = layout.tensors[f"v.blk.0.attn_{role}.weight"]
        pairs = weight.reshape(2, 2, weight.shape[0] // 4, 32).swapaxes(1, 2)
        layout.tensors[f"v.blk.0.attn_{role}.weight"] = np.ascontiguousarray(pairs).reshape(weight.shape)
    layout.tensors["v.token_embd.img_break"] = np.zeros(E, np.float32)
    return layout


def _clip_qwen25vl(published: Layout) -> Layout:
    names = {
        "v.patch_embd.weight": "v.patch_embd_0.weight",
        "v.patch_embd.weight.1": "v.patch_embd_1.weight",
        "v.post_ln.weight": "v.merger.ln_q.weight",
        **_both("mm.0", "v.merger.mlp.0"),
        **_both("mm.2", "v.merger.mlp.2"),
    }
    for i in range(2):
        for role in ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_gate", "ffn_up", "ffn_down"):
            names |= _both(f"v.blk.{i}.{role}", f"v.blk.{i}.{role}")
        for norm in ("ln1", "ln2"):
            names |= _both(f"v.blk.{i}.{norm}", f"v.blk.{i}.{norm}", ("weight",))
    layout = _clip(
        "qwen2.5vl_merger",
        published,
        names,
        ("v.patch_embd.weight", "v.patch_embd.weight.1"),
        block_count=2,
        embedding_length=32,
        attention__head_count=2,
        patch_size=14,
        feed_forward_length=64,
        image_size=560,
        attention__layer_norm_epsilon=1e-6,
        n_wa_pattern=2,
        window_size=112,
        spatial_merge_size=2,
        num_channels=3,
        image_mean=[0.48145466, 0.4578275, 0.40821073],
        image_std=[0.26862954, 0.26130258, 0.27577711],
    )
    layout.values["clip.use_silu"] = True
    return layout


def _clip_llama4(published: Layout) -> Layout:
    names = {
        "v.patch_embd.weight": "v.patch_embedding.weight",
        "v.class_embd": "v.class_embedding",
        "v.position_embd.weight": "v.positional_embedding_vlm",
        **_both("v.pre_ln", "v.layernorm_pre"),
        **_both("v.post_ln", "v.layernorm_post"),
        "mm.model.mlp.1.weight": "v.vision_adapter.mlp.fc1.weight",
        "mm.model.mlp.2.weight": "v.vision_adapter.mlp.fc2.weight",
        "mm.model.fc.weight": "mm.linear_1.weight",
    }
    for new, old in (
        ("attn_q", "attn_q"),
        ("attn_k", "attn_k"),
        ("attn_v", "attn_v"),
        ("attn_out", "attn_output"),
        ("ln1", "attn_norm"),
        ("ln2", "ffn_norm"),
        ("ffn_up", "mlp.fc1"),
        ("ffn_down", "mlp.fc2"),
    ):
        names |= _both(f"v.blk.0.{new}", f"v.blk.0.{old}")
    layout = _clip(
        "llama4",
        published,
        names,
        block_count=1,
        embedding_length=32,
        attention__head_count=2,
        patch_size=7,
        feed_forward_length=64,
        image_size=28,
        attention__layer_norm_epsilon=1e-5,
        projector__scale_factor=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    layout.values |= {"clip.vision.projector_type": "llama4", "clip.use_gelu": True}
    return layout


TWINS = (
    Twin("gemma3", _gemma3, _old_gemma3, projector=_clip_gemma3),
    Twin("gemma-embedding", _gemma_embedding, _old_gemma_embedding, is_embedding=True),
    Twin("gemma3n", _gemma3n, _old_gemma3n),
    Twin("mistral3", _mistral3, _old_mistral3, projector=_clip_pixtral),
    Twin("qwen25vl", _qwen2vl, _old_qwen25vl, projector=_clip_qwen25vl),
    Twin("llama4", _llama4, _old_llama4, projector=_clip_llama4),
    Twin("gptoss", _gptoss, _old_gptoss),
    Twin("glm4moelite", _deepseek2, _old_glm4moelite),
    Twin("olmo3", _olmo2, lambda layout: layout.rename_architecture("olmo3")),
    Twin("lfm2", _lfm2, _old_lfm2),
    Twin("llama3", _llama3, _old_llama3, loads_anyway=True),
)
