"""Rows of the table whose models are too large to make small: values and names, against those the table gives."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from corral.errors import GGUFError
from corral.weights.gguf import GGUFFile
from corral.weights.translate import projector_view, text_view
from corral.weights.translate.translated_file import TranslatedFile, reader_of
from tests.weights.translate.twins import Layout


def opened(layout: Layout, path: Path) -> GGUFFile:
    if not layout.tensors:
        layout.add("token_embd.weight", 8, 8)
    return GGUFFile.open(layout.write(path / "blob"))


def text(layout: Layout, path: Path) -> TranslatedFile:
    view = text_view(opened(layout, path))
    assert view is not None
    return view


def data(view: TranslatedFile, name: str) -> bytes:
    with view.gguf.path.open("rb") as file:
        return view.tensors[name].data(reader_of(file.fileno()))


def test_qwen35(tmp_path: Path) -> None:
    """One number of heads, four rope sections, a bias by its name, the predictor as a block with norms + 1."""
    layout = Layout("qwen35")
    layout.own(attention__head_count_kv=[0, 0, 0, 2], rope__dimension_sections=[11, 11, 10], block_count=2,
               image_token_id=7)  # fmt: skip
    for name in ("blk.0.ssm_dt", "blk.1.attn_norm.weight", "mtp.layers.0.attn_norm.weight", "mtp.norm.weight",
                 "mtp.pre_fc_norm_hidden.weight"):  # fmt: skip
        layout.add(name, 8)
    layout.add("mtp.fc.weight", 8, 16)
    layout.add("v.patch_embd.weight", 4, 4)
    view = text(layout, tmp_path)
    assert view.own("attention.head_count_kv") == 2
    assert view.own("rope.dimension_sections") == [11, 11, 10, 0]
    assert (view.own("block_count"), view.own("nextn_predict_layers")) == (3, 1)
    assert set(view.tensors) == {
        "blk.0.ssm_dt.bias", "blk.1.attn_norm.weight", "blk.2.attn_norm.weight", "blk.2.nextn.eh_proj.weight",
        "blk.2.nextn.shared_head_norm.weight", "blk.2.nextn.hnorm.weight",
    }  # fmt: skip
    got = np.frombuffer(data(view, "blk.2.nextn.hnorm.weight"), np.float32)
    np.testing.assert_allclose(got, layout.tensors["mtp.pre_fc_norm_hidden.weight"] + 1)
    assert data(view, "blk.1.attn_norm.weight") == layout.tensors["blk.1.attn_norm.weight"].tobytes()


def test_qwen35_experts(tmp_path: Path) -> None:
    """Experts of the predictor are stacked in the order of their numbers; a gap is an error."""
    layout = Layout("qwen35moe")
    layout.own(feed_forward_length=4)
    for expert in range(12):
        layout.add(f"mtp.layers.0.mlp.experts.{expert}.up_proj.weight", 4, 8)
    layout.add("blk.0.attn_norm.weight", 8)
    view = text(layout, tmp_path)
    expected = b"".join(
        layout.tensors[f"mtp.layers.0.mlp.experts.{i}.up_proj.weight"].tobytes() for i in range(12)
    )
    assert view.tensors["blk.1.ffn_up_exps.weight"].shape == (8, 4, 12)
    assert data(view, "blk.1.ffn_up_exps.weight") == expected
    del layout.tensors["mtp.layers.0.mlp.experts.5.up_proj.weight"]
    with pytest.raises(GGUFError, match="not numbered without gaps"):
        text_view(opened(layout, tmp_path))


def test_qwen3vl(tmp_path: Path) -> None:
    """Sections, deepstack layers by their block, q, k and v in one, two frames of patches."""
    layout = Layout("qwen3vl")
    layout.own(embedding_length=8, vision__block_count=26, vision__embedding_length=4, vision__patch_size=2,
               vision__deepstack_visual_indexes=[8, 16, 24])  # fmt: skip
    layout.add("v.deepstack_merger.1.linear_fc1.weight", 8, 8, dtype=np.float16)
    layout.add("v.blk.0.mlp.linear_fc1.weight", 16, 4, dtype=np.float16)
    layout.add("v.pos_embed.weight", 48 * 48, 4, dtype=np.float16)
    layout.add("v.patch_embed.weight", 4 * 3, 2, 2, 2, dtype=np.float16)
    for role in ("q", "k", "v"):
        layout.add(f"v.blk.0.attn_{role}.weight", 4, 4, dtype=np.float16)
    gguf = opened(layout, tmp_path)
    shown = text_view(gguf)
    assert shown is not None
    assert shown.own("rope.dimension_sections") == [24, 20, 20, 0]
    assert (shown.own("n_deepstack_layers"), shown.tensors) == (3, {})
    view = projector_view(gguf)
    assert view is not None
    assert "v.deepstack.16.fc1.weight" in view.tensors
    assert view.get("clip.vision.image_size") == 96
    assert [i for i, is_deep in enumerate(view.get("clip.vision.is_deepstack_layers")) if is_deep] == [
        8,
        16,
        24,
    ]
    joined = np.frombuffer(data(view, "v.blk.0.attn_qkv.weight"), np.float32).reshape(12, 4)
    parts = [layout.tensors[f"v.blk.0.attn_{role}.weight"] for role in ("q", "k", "v")]
    np.testing.assert_array_equal(joined, np.concatenate(parts).astype(np.float32))
    packed = layout.tensors["v.patch_embed.weight"].astype(np.float32)
    for frame, name in enumerate(("v.patch_embd.weight", "v.patch_embd.weight.1")):
        assert view.tensors[name].shape == (2, 2, 3, 4)
        np.testing.assert_array_equal(
            np.frombuffer(data(view, name), np.float32).reshape(4, 3, 2, 2),
            packed.reshape(4, 3, 2, 2, 2)[:, :, frame],
        )


def test_gemma4(tmp_path: Path) -> None:
    """Experts joined, tokenizer by its name, the audio part's names in one step each."""
    layout = Layout("gemma4")
    layout.own(vision__block_count=1, embedding_length=16)
    layout.values["tokenizer.ggml.model"] = "llama"
    layout.add("blk.0.ffn_gate_exps.weight", 2, 3, 8)
    layout.add("blk.0.ffn_up_exps.weight", 2, 3, 8)
    layout.add("blk.0.ffn_gate_inp.per_expert_scale", 2)
    for name in ("a.blk.0.ln1", "a.blk.0.ln2", "a.blk.0.layer_pre_norm", "a.blk.0.linear_pos", "v.blk.0.ln1",
                 "a.pre_encode.out", "mm.a.fc"):  # fmt: skip
        layout.add(f"{name}.weight", 4, 4)
    gguf = opened(layout, tmp_path)
    view, projector = text_view(gguf), projector_view(gguf)
    assert view is not None and projector is not None
    assert view.get("tokenizer.ggml.model") == "gemma4"
    assert set(view.tensors) == {"blk.0.ffn_gate_up_exps.weight", "blk.0.ffn_down_exps.scale"}
    assert view.tensors["blk.0.ffn_gate_up_exps.weight"].shape == (8, 6, 2)
    assert {name.removesuffix(".weight") for name in projector.tensors} == {
        "a.blk.0.attn_pre_norm", "a.blk.0.attn_post_norm", "a.blk.0.ln2", "a.blk.0.attn_k_rel", "v.blk.0.ln1",
        "a.input_projection", "a.pre_encode.out",
    }  # fmt: skip
    assert projector.get("clip.audio.projector_type") == "gemma4a"


def test_glmocr(tmp_path: Path) -> None:
    """Gate and up in one tensor, gate first."""
    layout = Layout("glmocr")
    layout.own(rope__mrope_section=[8, 12, 12], attention__key_length=128)
    layout.add("blk.0.ffn_gate.weight", 3, 8)
    layout.add("blk.0.ffn_up.weight", 3, 8)
    layout.add("blk.0.attn_out.weight", 8, 8)
    view = text(layout, tmp_path)
    assert view.get("general.architecture") == "glm4"
    assert view.get("glm4.rope.dimension_sections") == [8, 12, 12, 0]
    assert view.get("glm4.rope.dimension_count") == 128
    assert set(view.tensors) == {"blk.0.ffn_up.weight", "blk.0.attn_output.weight"}
    gate, up = (layout.tensors[f"blk.0.ffn_{part}.weight"].tobytes() for part in ("gate", "up"))
    assert data(view, "blk.0.ffn_up.weight") == gate + up


def test_nemotron_omni(tmp_path: Path) -> None:
    """With experts it is the MoE model; positions are resampled, corners staying corners."""
    layout = Layout("nemotron_h_omni")
    layout.own(expert_count=4, vision__block_count=1, vision__embedding_length=4, vision__patch_size=2,
               vision__image_size=6, audio__block_count=1)  # fmt: skip
    layout.add("blk.1.ffn_latent_in.weight", 3, 8)
    layout.add("v.position_embd.weight", 4, 4)
    layout.add("v.patch_embd.weight", 4, 12, dtype=np.float16)
    layout.add("mm.norm.weight", 4)
    gguf = opened(layout, tmp_path)
    view, projector = text_view(gguf), projector_view(gguf)
    assert view is not None and projector is not None
    assert view.get("general.architecture") == "nemotron_h_moe"
    assert view.get("nemotron_h_moe.moe_latent_size") == 3
    assert "nemotron_h_moe.audio.block_count" not in view.values
    assert list(view.tensors) == ["blk.1.ffn_latent_down.weight"]
    positions = np.frombuffer(data(projector, "v.position_embd.weight"), np.float32).reshape(3, 3, 4)
    old = layout.tensors["v.position_embd.weight"].reshape(2, 2, 4)
    np.testing.assert_allclose(positions[::2, ::2], old, rtol=1e-6)
    np.testing.assert_allclose(positions[1, 1], old.mean((0, 1)), rtol=1e-5, atol=1e-7)
    assert projector.tensors["v.patch_embd.weight"].shape == (2, 2, 3, 4)


def test_small_rows(tmp_path: Path) -> None:
    """Laguna's names, the table of a T5 vocabulary, a projector without a kind."""
    laguna = Layout("laguna")
    laguna.own(rope__swa__freq_base=1e4)
    laguna.add("blk.0.attn_g.weight", 8, 8)
    view = text(laguna, tmp_path)
    assert view.own("rope.freq_base_swa") == 1e4
    assert list(view.tensors) == ["blk.0.attn_gate.weight"]
    bert = Layout("bert")
    bert.values |= {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.precompiled_charsmap": list(base64.b64encode(b"\1\2\3").decode()),
    }
    assert text(bert, tmp_path).get("tokenizer.ggml.precompiled_charsmap") == [1, 2, 3]
    clip = Layout("clip", {"clip.has_vision_encoder": True})
    assert text(clip, tmp_path).get("clip.projector_type") == "mlp"
    clip.values["clip.projector_type"] = "ldp"
    assert text_view(opened(clip, tmp_path)) is None


def test_deepseekocr(tmp_path: Path) -> None:
    """Widths of the experts from their tensors; both towers under `v.`."""
    layout = Layout("deepseekocr")
    layout.own(vision__block_count=1, vision__head_count=2, sam__block_count=1)
    layout.add("blk.1.ffn_down_exps.weight", 2, 8, 6)
    layout.add("blk.1.ffn_down_shexp.weight", 8, 12)
    layout.add("s.blk.0.attn.rel_pos_h", 4, 4)
    layout.add("v.blk.0.self_attn.qkv_proj.weight", 4, 4)
    layout.add("mm.layers.weight", 4, 4)
    gguf = opened(layout, tmp_path)
    view, projector = text_view(gguf), projector_view(gguf)
    assert view is not None and projector is not None
    assert view.get("deepseek2-ocr.expert_feed_forward_length") == 6
    assert view.get("deepseek2-ocr.expert_shared_count") == 2
    assert set(projector.tensors) == {
        "v.sam.blk.0.attn.pos_h.weight", "v.blk.0.attn_qkv.weight", "mm.model.fc.weight",
    }  # fmt: skip
    assert projector.get("clip.vision.attention.head_count") == 2
