"""Conversion of a model's folder, without a framework: what is written, and what is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from corral.errors import ConversionError, UnsupportedArchitectureError
from corral.weights.convert import convert_model
from corral.weights.gguf import GGUFFile, check_loadable
from tests.weights.convert.folders import (
    BLOCKS,
    CONFIG,
    HEADS,
    VOCAB,
    WIDTH,
    tokenizer,
    weights,
    write_folder,
)


def converted(files: dict[str, Path], folder: Path, **options: Any) -> GGUFFile:
    path = folder / "out.gguf"
    convert_model(files, path, **options)
    return GGUFFile.open(path)


def values_of(path: Path) -> dict[str, Any]:
    """Tensors as llama.cpp's own package reads them."""
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def test_what_is_written(tmp_path: Path) -> None:
    """Names, shapes, types, metadata; the engine's checks pass."""
    found = converted(write_folder(tmp_path / "in"), tmp_path)
    check_loadable(found)
    assert found.architecture == "llama"
    assert found.get_arch("block_count") == BLOCKS
    assert found.get_arch("attention.head_count_kv") == 2
    assert found.file_type_name == "F16"
    shapes = {tensor.name: (tensor.shape, tensor.type_name) for tensor in found.tensors}
    assert shapes["token_embd.weight"] == ((WIDTH, VOCAB), "F16")
    assert shapes["blk.1.ffn_norm.weight"] == ((WIDTH,), "F32")
    assert len(shapes) == 3 + 9 * BLOCKS
    tokens = found.metadata["tokenizer.ggml.tokens"].values()
    assert len(tokens) == VOCAB
    assert tokens[260:263] == ["<s>", "</s>", "[PAD0]"]
    assert found.metadata["tokenizer.ggml.pre"] == "llama-bpe"


def test_rows_of_queries_and_keys_move(tmp_path: Path) -> None:
    """Rows of a head go from halves to neighbours; other matrices stay."""
    tensors = weights()
    write_folder(tmp_path / "in", tensors=tensors)
    convert_model(write_folder(tmp_path / "in", tensors=tensors), tmp_path / "out.gguf", keep_float32=True)
    found = values_of(tmp_path / "out.gguf")
    source = tensors["model.layers.0.self_attn.q_proj.weight"]
    head, half = WIDTH // HEADS, WIDTH // HEADS // 2
    order = [h * head + s * half + d for h in range(HEADS) for d in range(half) for s in range(2)]
    assert np.array_equal(found["blk.0.attn_q.weight"].data, source[order])
    assert np.array_equal(found["blk.0.ffn_up.weight"].data, tensors["model.layers.0.mlp.up_proj.weight"])


@pytest.mark.parametrize(("keep", "expected"), [(False, "F16"), (True, "F32")])
def test_float32_weights(tmp_path: Path, keep: bool, expected: str) -> None:
    """Matrices become F16, or stay."""
    found = converted(write_folder(tmp_path / "in"), tmp_path, keep_float32=keep)
    assert {t.type_name for t in found.tensors if t.name.endswith("attn_v.weight")} == {expected}


def test_bfloat16_stays(tmp_path: Path) -> None:
    """BF16 matrices are copied bit by bit, vectors widened, and the file says what it is."""
    tensors = weights()
    files = write_folder(tmp_path / "in", tensors={})
    bits = {name: (values.view(np.uint32) >> 16).astype(np.uint16) for name, values in tensors.items()}
    write_raw(files["model.safetensors"], {name: ("BF16", values) for name, values in bits.items()})
    found = converted(files, tmp_path)
    assert found.file_type_name == "BF16"
    stored = values_of(found.path)
    raw = stored["output.weight"].data.view(np.uint16).reshape(VOCAB, WIDTH)
    assert np.array_equal(raw, bits["lm_head.weight"])
    norm = (bits["model.norm.weight"].astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(stored["output_norm.weight"].data, norm)


def write_raw(path: Path, tensors: dict[str, tuple[str, np.ndarray[Any, Any]]]) -> None:
    """A safetensors file with types that numpy does not have."""
    header, data = {}, b""
    for name, (kind, values) in tensors.items():
        end = len(data) + values.nbytes
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [len(data), end]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_fp8_weights_are_scaled(tmp_path: Path) -> None:
    """FP8 times the scale of its block, as BF16; the scales themselves are no tensors of the model."""
    tensors: dict[str, tuple[str, Any]] = {name: ("F32", values) for name, values in weights().items()}
    name = "model.layers.0.mlp.down_proj.weight"
    codes = np.full((WIDTH, 48), 0x38, np.uint8)  # 1.0
    codes[0, :4] = (0x7E, 0x01, 0xB8, 0x40)  # 448, 2^-9, -1, 2
    scales = np.array([[1.0, 2.0, 4.0], [0.5, 0.25, 8.0]], np.float32)
    tensors[name] = ("F8_E4M3", codes)
    tensors[f"{name}_scale_inv"] = ("F32", scales)
    quantization = {"quant_method": "fp8", "weight_block_size": [16, 16]}
    files = write_folder(tmp_path / "in", config={**CONFIG, "quantization_config": quantization}, tensors={})
    write_raw(files["model.safetensors"], tensors)
    gguf_file = converted(files, tmp_path)
    assert gguf_file.get_arch("source_quantization") == "hf_fp8"
    assert gguf_file.get_arch("source_fp8_tensors").values() == [name]
    raw = values_of(tmp_path / "out.gguf")["blk.0.ffn_down.weight"].data.view(np.uint16).reshape(WIDTH, 48)
    found = (raw.astype(np.uint32) << 16).view(np.float32)
    assert found[0, :4].tolist() == [448.0, 2.0**-9, -1.0, 2.0]
    expected = np.kron(scales, np.ones((16, 16)))
    assert np.array_equal(found[1:], expected[1:])


def test_shards(tmp_path: Path) -> None:
    """A sharded folder is the same model."""
    one = converted(write_folder(tmp_path / "one"), tmp_path).path.read_bytes()
    assert converted(write_folder(tmp_path / "three", shards=3), tmp_path).path.read_bytes() == one


def test_progress_reaches_the_total(tmp_path: Path) -> None:
    """Bytes done grow up to the total, which is the size of all tensors."""
    seen: list[tuple[int, int]] = []
    found = converted(write_folder(tmp_path / "in"), tmp_path, on_progress=lambda *pair: seen.append(pair))
    total = sum(tensor.size_bytes for tensor in found.tensors)
    assert seen == sorted(seen)
    assert {pair[1] for pair in seen} == {total}
    assert seen[-1] == (total, total)


def test_file_names_are_no_paths(tmp_path: Path) -> None:
    """Weights may lie anywhere under any name, as blobs do; an index cannot name other files."""
    files = write_folder(tmp_path / "in", shards=2)
    moved = {}
    for number, (name, path) in enumerate(files.items()):
        moved[name] = path.rename(tmp_path / f"blob{number}")
    converted(moved, tmp_path)
    index = {"weight_map": {"model.norm.weight": "../../etc/passwd"}}
    moved["model.safetensors.index.json"].write_text(json.dumps(index))
    with pytest.raises(ConversionError, match="which is missing"):
        converted(moved, tmp_path)


def change(values: Any, **changes: Any) -> dict[str, Any]:
    return {**values, **changes}


def without(values: Any, name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


BROKEN: list[tuple[dict[str, Any], str]] = [
    (
        {"config": change(CONFIG, architectures=["FooForCausalLM"])},
        'unsupported architecture "FooForCausalLM"',
    ),
    ({"config": change(CONFIG, architectures=[])}, "unknown architecture"),
    ({"config": without(CONFIG, "hidden_size")}, "hidden_size is missing"),
    ({"config": change(CONFIG, num_hidden_layers="2")}, "num_hidden_layers is '2'"),
    ({"config": change(CONFIG, num_hidden_layers=10**9)}, "more than any model has"),
    ({"config": change(CONFIG, num_hidden_layers=3)}, 'tensor "blk.2.attn_q.weight" is missing'),
    ({"config": change(CONFIG, num_hidden_layers=1)}, 'tensor "layers.1'),
    ({"config": change(CONFIG, num_key_value_heads=3)}, "cannot share"),
    ({"config": change(CONFIG, intermediate_size=64)}, "config.json makes it"),
    ({"config": change(CONFIG, rms_norm_eps=-1)}, "which no model has"),
    (
        {"config": change(CONFIG, rope_scaling={"rope_type": "spiral"})},
        "rope scaling 'spiral' is not supported",
    ),
    ({"config": change(CONFIG, quantization_config={"quant_method": "gptq"})}, "quantized already"),
    ({"tensors": without(weights(), "model.norm.weight")}, 'tensor "output_norm.weight" is missing'),
    ({"tensors": change(weights(), extra=np.zeros(3, np.float32))}, 'tensor "extra" does not belong'),
    ({"tensors": {**weights(), "model.norm.weight": np.zeros(32, np.int64)}}, "unknown data type: I64"),
    ({"tokenizer_json": change(tokenizer(), model={"type": "WordLevel"})}, "'WordLevel' cannot be converted"),
    (
        {
            "tokenizer_json": change(
                tokenizer(), pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True}
            )
        },
        "space",
    ),
    ({"tokenizer_json": change(tokenizer(), pre_tokenizer={"type": "Whitespace"})}, "no such pre-tokenizer"),
]


@pytest.mark.parametrize(("parts", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_refused(tmp_path: Path, parts: dict[str, Any], message: str) -> None:
    """What cannot be converted says why."""
    files = write_folder(tmp_path / "in", **parts)
    with pytest.raises(ConversionError) as caught:
        converted(files, tmp_path)
    assert message in str(caught.value)


def test_unknown_architecture_lists_the_known(tmp_path: Path) -> None:
    """The error helps to see what would work."""
    files = write_folder(tmp_path / "in", config=change(CONFIG, architectures=["Foo"]))
    with pytest.raises(UnsupportedArchitectureError, match="LlamaForCausalLM") as caught:
        converted(files, tmp_path)
    assert "XLMRobertaModel" in caught.value.known


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pytorch_model.bin", "pickle"),
        ("consolidated.safetensors", "layout"),
        ("notes.txt", "no safetensors"),
    ],
)
def test_other_weights(tmp_path: Path, name: str, message: str) -> None:
    """Weights that are not read are named."""
    files = write_folder(tmp_path / "in")
    files[name] = files.pop("model.safetensors")
    with pytest.raises(ConversionError, match=message):
        converted(files, tmp_path)


def test_values_beyond_f16(tmp_path: Path) -> None:
    """Weights that F16 cannot hold are an error, not infinity; F32 holds them."""
    tensors = weights()
    tensors["lm_head.weight"][3, 4] = 70_000
    files = write_folder(tmp_path / "in", tensors=tensors)
    with pytest.raises(ConversionError, match="beyond the range of F16"):
        converted(files, tmp_path)
    converted(files, tmp_path, keep_float32=True)


def test_truncated_weights(tmp_path: Path) -> None:
    """A download that ended early is noticed before anything is written."""
    files = write_folder(tmp_path / "in")
    data = files["model.safetensors"].read_bytes()
    files["model.safetensors"].write_bytes(data[:-100])
    with pytest.raises(ConversionError, match="may be incomplete"):
        converted(files, tmp_path)
    assert not (tmp_path / "out.gguf").exists()
