"""Small models of random weights that between them meet every rule of the mixes. The same bytes on every machine:
weights come from a hash, never from a generator that may change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np

__all__ = ["MODELS", "RandomModel", "cases", "write_imatrix_gguf", "write_imatrix_legacy"]


@dataclass(frozen=True)
class RandomModel:
    """A model by its numbers. `rows` in numpy order is (out, in); `experts` 0 is a dense model."""

    name: str
    architecture: str = "llama"
    layers: int = 9
    embd: int = 256
    ff: int = 256
    heads: int = 4
    kv_heads: int = 1
    vocab: int = 64
    experts: int = 0
    is_tied: bool = False
    has_qkv: bool = False
    dtype: str = "f16"
    extra_values: dict[str, int | float | str] = field(default_factory=dict)
    extra_tensors: Callable[[RandomModel], Iterator[tuple[str, tuple[int, ...]]]] | None = None

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes, in numpy order."""
        head = self.embd // self.heads
        yield "token_embd.weight", (self.vocab, self.embd)
        yield "output_norm.weight", (self.embd,)
        if not self.is_tied:
            yield "output.weight", (self.vocab, self.embd)
        for i in range(self.layers):
            p = f"blk.{i}."
            yield p + "attn_norm.weight", (self.embd,)
            if self.has_qkv:
                yield p + "attn_qkv.weight", (self.embd + 2 * self.kv_heads * head, self.embd)
            else:
                yield p + "attn_q.weight", (self.embd, self.embd)
                yield p + "attn_k.weight", (self.kv_heads * head, self.embd)
                yield p + "attn_v.weight", (self.kv_heads * head, self.embd)
                yield p + "attn_q.bias", (self.embd,)
            yield p + "attn_output.weight", (self.embd, self.embd)
            yield p + "ffn_norm.weight", (self.embd,)
            if self.experts:
                yield p + "ffn_gate_inp.weight", (self.experts, self.embd)
            for part, shape in (
                ("gate", (self.ff, self.embd)),
                ("up", (self.ff, self.embd)),
                ("down", (self.embd, self.ff)),
            ):
                suffix = "_exps" if self.experts else ""
                yield p + f"ffn_{part}{suffix}.weight", (self.experts, *shape) if self.experts else shape
        if self.extra_tensors is not None:
            yield from self.extra_tensors(self)

    def write(self, path: Path) -> Path:
        """Write the file; returns its path."""
        writer = gguf.GGUFWriter(path, self.architecture)
        writer.add_name(self.name)
        writer.add_block_count(self.layers)
        writer.add_context_length(128)
        writer.add_embedding_length(self.embd)
        writer.add_feed_forward_length(self.ff)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_layer_norm_eps(1e-5)
        writer.add_vocab_size(self.vocab)
        writer.add_file_type({"f16": 1, "bf16": 32, "f32": 0}[self.dtype])
        if self.experts:
            writer.add_expert_count(self.experts)
            writer.add_expert_used_count(2)
        for key, value in self.extra_values.items():
            add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[type(value)]
            add(f"{self.architecture}.{key}", value)
        for name, shape in self.tensors():
            self._add(writer, name, shape)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def _add(self, writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...]) -> None:
        values = random_values(f"{self.name}/{name}", shape) * np.float32(0.05)
        if len(shape) == 1:
            writer.add_tensor(name, values + np.float32(1))
        elif self.dtype == "f16":
            writer.add_tensor(name, values.astype(np.float16))
        elif self.dtype == "bf16":
            kind = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)


def random_values(seed: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Numbers from -1 to 1, float32, more of them near 0."""
    count = int(np.prod(shape))
    data = hashlib.shake_256(seed.encode()).digest(4 * count)
    pairs = np.frombuffer(data, "<i2").reshape(2, count).astype(np.float32) / np.float32(32768)
    product: np.ndarray[Any, Any] = (pairs[0] * pairs[1]).reshape(shape)
    return product


def _importances(model: RandomModel) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Mean squares for each column of each matrix (of each expert), all above 0."""
    for name, shape in model.tensors():
        if len(shape) > 1 and name not in ("token_embd.weight", "output.weight"):
            columns = (shape[0], shape[-1]) if len(shape) > 2 else (1, shape[-1])
            yield name, np.abs(random_values(f"imatrix/{name}", columns)) + np.float32(0.01)


def write_imatrix_legacy(model: RandomModel, path: Path) -> Path:
    """The `.dat` format: sums over 7 calls."""
    entries = list(_importances(model))
    parts = [len(entries).to_bytes(4, "little")]
    for name, values in entries:
        parts += [len(name).to_bytes(4, "little"), name.encode(), (7).to_bytes(4, "little")]
        parts += [values.size.to_bytes(4, "little"), (values * np.float32(7.3)).astype("<f4").tobytes()]
    parts += [(5).to_bytes(4, "little"), (8).to_bytes(4, "little"), b"text.txt"]
    path.write_bytes(b"".join(parts))
    return path


def write_imatrix_gguf(model: RandomModel, path: Path) -> Path:
    """The GGUF format; one expert in each layer was never used."""
    writer = gguf.GGUFWriter(path, "imatrix")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["text.txt"])
    writer.add_uint32("imatrix.chunk_count", 5)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, values in _importances(model):
        counts = np.arange(len(values), dtype=np.float32)[:, None] * 13 + (0 if len(values) > 1 else 3)
        writer.add_tensor(f"{name}.in_sum2", values * np.float32(11.7))
        writer.add_tensor(f"{name}.counts", counts.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _odd_tensors(model: RandomModel) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names that keep their type, and some that look like them."""
    yield "position_embd.weight", (8, model.embd)
    yield "token_types.weight", (2, model.embd)
    yield "blk.0.ssm_conv1d.weight", (16, 32)
    yield "blk.0.laurel_l.weight", (16, 256)
    yield "blk.0.time_mix_w1.weight", (16, 256)
    yield "blk.1.some_rel_pos.weight", (16, 256)
    yield "blk.1.unknown.weight", (16, 256)
    yield "blk.1.unknown.bias2d", (16, 256)
    yield "blk.1.single_row.weight", (1, 256)
    yield "blk.2.flat.weight", (1, 1, 256)
    yield "blk.2.cube.weight", (3, 4, 256)
    yield "per_layer_token_embd.weight", (8, model.embd)


_FALCON = {"attention.layer_norm_epsilon": 1e-5}
MODELS = (
    RandomModel("dense", extra_tensors=_odd_tensors),
    RandomModel("tied", "qwen2", layers=16, heads=4, kv_heads=4, is_tied=True, dtype="bf16"),
    RandomModel("full-heads", layers=10, kv_heads=4, ff=512, dtype="f32"),
    RandomModel("odd-rows", layers=3, embd=288, ff=100 * 8, heads=4, kv_heads=2),
    RandomModel("odder-rows", layers=2, embd=100, ff=320, heads=2, kv_heads=2, is_tied=True),
    RandomModel("eight-experts", layers=8, kv_heads=2, ff=256, experts=8, embd=256, vocab=32),
    RandomModel("four-experts", "qwen3moe", layers=9, kv_heads=2, experts=4, ff=256,
                extra_values={"expert_feed_forward_length": 256}),
    RandomModel("fused", "phi3", layers=9, kv_heads=4, has_qkv=True, extra_values={"rope.dimension_count": 64}),
    RandomModel("falcon", "falcon", layers=17, has_qkv=True, kv_heads=1),
    RandomModel("seventy", layers=80, embd=256, ff=256, heads=8, kv_heads=1, vocab=32),
    RandomModel("tiny", layers=1, kv_heads=2, vocab=32),
)  # fmt: skip

_EVERY_TYPE = (
    "F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L",
    "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "MXFP4_MOE", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0",
)  # fmt: skip
_MIXES = ("Q8_0", "Q4_0", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M")
_WITH_IMPORTANCE = ("Q2_K_S", "Q4_0", "Q4_K_M", "IQ1_S", "IQ2_XS", "IQ3_XXS", "IQ4_NL", "IQ4_XS")


def cases(model: RandomModel) -> Iterator[tuple[str, str]]:
    """File types whose bytes are compared, with the kind of importance matrix ("", "dat" or "gguf")."""
    plain: tuple[str, ...] = _EVERY_TYPE if model.name in ("tiny", "odd-rows") else _MIXES
    if model.name == "seventy":
        plain = ("Q3_K_M",)
    yield from ((file_type, "") for file_type in plain if (model.name, file_type) != ("odd-rows", "Q1_0"))
    if model.name == "tiny":
        yield from ((file_type, "gguf") for file_type in _WITH_IMPORTANCE)
        yield from ((file_type, "dat") for file_type in ("Q4_K_M", "IQ2_XS"))
    if model.name == "eight-experts":
        yield from (("Q4_K_M", kind) for kind in ("dat", "gguf"))
