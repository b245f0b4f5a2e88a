"""Make a vision projector with random weights for a tiny model: real enough for the engine to load and run.

python scripts/make_tiny_projector.py tests/fixtures/tiny.gguf projector.gguf
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter

_SIZE, _PATCH, _WIDTH, _HEADS, _LAYERS, _FFN = 28, 14, 32, 2, 1, 64


def make_projector(model_path: Path, path: Path) -> None:
    """Write a CLIP projector whose output has the width of the model's embeddings."""
    reader = GGUFReader(model_path)
    arch = reader.fields["general.architecture"].contents()
    width = int(reader.fields[f"{arch}.embedding_length"].contents())
    rng = np.random.default_rng(1)
    writer = GGUFWriter(path, "clip")
    writer.add_string("general.type", "mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    for key, value in {
        "image_size": _SIZE,
        "patch_size": _PATCH,
        "embedding_length": _WIDTH,
        "feed_forward_length": _FFN,
        "block_count": _LAYERS,
        "projection_dim": width,
        "attention.head_count": _HEADS,
    }.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])

    def add(name: str, *shape: int) -> None:
        values = rng.normal(0, 0.1, shape).astype(np.float32)
        writer.add_tensor(name, values)

    patches = (_SIZE // _PATCH) ** 2
    add("v.class_embd", _WIDTH)
    add("v.patch_embd.weight", _WIDTH, 3, _PATCH, _PATCH)
    add("v.position_embd.weight", patches + 1, _WIDTH)
    for name in ("v.pre_ln", "v.post_ln"):
        add(f"{name}.weight", _WIDTH)
        add(f"{name}.bias", _WIDTH)
    # The features come from the layer before the last one, so there is one more than is used.
    for layer in range(_LAYERS):
        prefix = f"v.blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            add(f"{prefix}.{part}.weight", _WIDTH, _WIDTH)
            add(f"{prefix}.{part}.bias", _WIDTH)
        for part in ("ln1", "ln2"):
            add(f"{prefix}.{part}.weight", _WIDTH)
            add(f"{prefix}.{part}.bias", _WIDTH)
        add(f"{prefix}.ffn_up.weight", _FFN, _WIDTH)
        add(f"{prefix}.ffn_up.bias", _FFN)
        add(f"{prefix}.ffn_down.weight", _WIDTH, _FFN)
        add(f"{prefix}.ffn_down.bias", _WIDTH)
    add("mm.0.weight", width, _WIDTH)
    add("mm.0.bias", width)
    add("mm.2.weight", width, width)
    add("mm.2.bias", width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description="Make a random vision projector for a tiny model.")
    arguments.add_argument("model", type=Path)
    arguments.add_argument("projector", type=Path)
    options = arguments.parse_args()
    make_projector(options.model, options.projector)


if __name__ == "__main__":
    main()
