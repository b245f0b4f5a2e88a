"""Make a projector for images or sound with random weights for a tiny model: real enough for the engine to run.

python scripts/make_tiny_projector.py tests/fixtures/tiny.gguf projector.gguf
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter

_SIZE, _PATCH, _WIDTH, _HEADS, _LAYERS, _FFN = 28, 14, 32, 2, 1, 64
# Of an encoder like Whisper's: bands of the spectrum, positions of half a minute, frames that become one token.
_BANDS, _POSITIONS, _STACKED = 80, 1500, 4


def make_projector(model_path: Path, path: Path) -> None:
    """Write a CLIP projector whose output has the width of the model's embeddings."""
    width = _width_of(model_path)
    writer = _Writer(path)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
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
    add = writer.add_random
    patches = (_SIZE // _PATCH) ** 2
    add("v.class_embd", _WIDTH)
    add("v.patch_embd.weight", _WIDTH, 3, _PATCH, _PATCH)
    add("v.position_embd.weight", patches + 1, _WIDTH)
    for name in ("v.pre_ln", "v.post_ln"):
        add(f"{name}.weight", _WIDTH)
        add(f"{name}.bias", _WIDTH)
    # The features come from the layer before the last one, so there is one more than is used.
    writer.add_layers("v")
    add("mm.0.weight", width, _WIDTH)
    add("mm.0.bias", width)
    add("mm.2.weight", width, width)
    add("mm.2.bias", width)
    writer.finish()


def make_audio_projector(model_path: Path, path: Path) -> None:
    """Write one that hears: the encoder of Whisper, and the projector of Ultravox."""
    writer = _Writer(path)
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_string("clip.projector_type", "ultravox")
    for key, value in {
        "num_mel_bins": _BANDS,
        "embedding_length": _WIDTH,
        "feed_forward_length": _FFN,
        "block_count": _LAYERS,
        "projection_dim": _width_of(model_path),
        "attention.head_count": _HEADS,
        "projector.stack_factor": _STACKED,
    }.items():
        writer.add_uint32(f"clip.audio.{key}", value)
    writer.add_float32("clip.audio.attention.layer_norm_epsilon", 1e-5)
    add = writer.add_random
    add("a.conv1d.1.weight", _WIDTH, _BANDS, 3, dtype=np.float16)
    add("a.conv1d.1.bias", _WIDTH, 1)
    add("a.conv1d.2.weight", _WIDTH, _WIDTH, 3, dtype=np.float16)
    add("a.conv1d.2.bias", _WIDTH, 1)
    add("a.position_embd.weight", _POSITIONS, _WIDTH)
    add("a.post_ln.weight", _WIDTH)
    add("a.post_ln.bias", _WIDTH)
    writer.add_layers("a")
    add("mm.a.norm_pre.weight", _STACKED * _WIDTH)
    add("mm.a.mlp.1.weight", 2 * _FFN, _STACKED * _WIDTH)
    add("mm.a.norm_mid.weight", _FFN)
    add("mm.a.mlp.2.weight", _width_of(model_path), _FFN)
    writer.finish()


def _width_of(model_path: Path) -> int:
    reader = GGUFReader(model_path)
    arch = reader.fields["general.architecture"].contents()
    return int(reader.fields[f"{arch}.embedding_length"].contents())


class _Writer(GGUFWriter):  # type: ignore[misc]
    def __init__(self, path: Path) -> None:
        super().__init__(path, "clip")
        self._rng = np.random.default_rng(1)
        self.add_string("general.type", "mmproj")
        self.add_bool("clip.use_gelu", True)

    def add_random(self, name: str, *shape: int, dtype: type = np.float32) -> None:
        self.add_tensor(name, self._rng.normal(0, 0.1, shape).astype(dtype))

    def add_layers(self, kind: str) -> None:
        for layer in range(_LAYERS):
            prefix = f"{kind}.blk.{layer}"
            for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
                self.add_random(f"{prefix}.{part}.weight", _WIDTH, _WIDTH)
                if (kind, part) != ("a", "attn_k"):  # Whisper's keys have no bias
                    self.add_random(f"{prefix}.{part}.bias", _WIDTH)
            for part in ("ln1", "ln2"):
                self.add_random(f"{prefix}.{part}.weight", _WIDTH)
                self.add_random(f"{prefix}.{part}.bias", _WIDTH)
            self.add_random(f"{prefix}.ffn_up.weight", _FFN, _WIDTH)
            self.add_random(f"{prefix}.ffn_up.bias", _FFN)
            self.add_random(f"{prefix}.ffn_down.weight", _WIDTH, _FFN)
            self.add_random(f"{prefix}.ffn_down.bias", _WIDTH)

    def finish(self) -> None:
        self.write_header_to_file()
        self.write_kv_data_to_file()
        self.write_tensors_to_file()
        self.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description="Make a random projector for a tiny model.")
    arguments.add_argument("model", type=Path)
    arguments.add_argument("projector", type=Path)
    arguments.add_argument("--audio", action="store_true", help="one that hears instead of one that sees")
    options = arguments.parse_args()
    (make_audio_projector if options.audio else make_projector)(options.model, options.projector)


if __name__ == "__main__":
    main()
