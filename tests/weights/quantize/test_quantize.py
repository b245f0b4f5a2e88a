"""Quantised files against those that llama-quantize and a real Ollama made: the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf as reference
import numpy as np
import pytest

from corral.errors import GGUFError, QuantizeError, StoreError
from corral.weights.gguf import GGUFFile
from corral.weights.quantize import FILE_TYPES, group_splits, merge_splits, parse_file_type, quantize_file
from corral.weights.quantize.imatrix import Imatrix
from corral.weights.quantize.output import in_model_order
from corral.weights.quantize.rules import ModelFacts, TypeChooser, needs_importance
from tests.weights.quantize.random_models import (
    MODELS,
    RandomModel,
    cases,
    write_imatrix_gguf,
    write_imatrix_legacy,
)

FIXTURES = Path(__file__).parents[2] / "fixtures"
# Made by scripts/record_quantize.py with the llama-quantize of the engine's own source.
RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded.json").read_text())
BY_NAME = {model.name: model for model in MODELS}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model.name)
def model_file(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RandomModel, Path]:
    model: RandomModel = request.param
    return model, model.write(tmp_path_factory.mktemp("model") / "model.gguf")


@pytest.mark.slow
def test_files_are_those_of_llama_quantize(model_file: tuple[RandomModel, Path], tmp_path: Path) -> None:
    """Every byte: values, table, padding and data, with importance matrices of both formats."""
    model, source = model_file
    recorded = RECORDED[model.name]
    assert sha256(source) == recorded["source"], "the model is another one than was recorded"
    matrices = {
        "": None,
        "gguf": write_imatrix_gguf(model, tmp_path / "imatrix.gguf"),
        "dat": write_imatrix_legacy(model, tmp_path / "imatrix.dat"),
    }
    out = tmp_path / "out.gguf"
    different = []
    for file_type, matrix in cases(model):
        quantize_file(source, out, file_type, imatrix=matrices[matrix])
        key = f"{file_type}+{matrix}" if matrix else file_type
        if sha256(out) != recorded["files"][key]:
            different.append(key)
    assert not different
    assert len(recorded["files"]) == len(list(cases(model)))


def chosen_types(path: Path, file_type: str, *, has_imatrix: bool) -> str:
    """What `record_quantize.py` records: a digest of names and types, "" where llama-quantize refuses."""
    gguf = GGUFFile.open(path)
    tensors = {tensor.name: tensor for tensor in gguf.tensors}
    order = in_model_order(tensors)
    chooser = TypeChooser(ModelFacts.of(gguf), file_type, order, has_imatrix=has_imatrix, tensor_types={})
    try:
        text = "\n".join(f"{name} {chooser.choose(tensors[name])}" for name in order)
    except QuantizeError:
        return ""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.slow
def test_types_are_those_of_llama_quantize(model_file: tuple[RandomModel, Path]) -> None:
    """Every file type, with and without an importance matrix, on every kind of model."""
    model, path = model_file
    expected = RECORDED[model.name]["types"]
    got = {
        file_type + suffix: chosen_types(path, file_type, has_imatrix=bool(suffix))
        for file_type in FILE_TYPES
        for suffix in ("", "+imatrix")
    }
    assert got == expected


@pytest.mark.parametrize(
    ("file_type", "digest"),
    [
        ("Q8_0", "10f0ba346dddfbe414a6d7a88fcf1fb1eadb6146a50ddf06b352325bdd2e8c90"),
        ("q4_K_M", "c21ad1ab049b01e6a8e0df8fd16ec50f91b295acaf5e7e0778ae51dfdaa7e304"),
        ("q4_K", "c21ad1ab049b01e6a8e0df8fd16ec50f91b295acaf5e7e0778ae51dfdaa7e304"),
        ("q4_K_S", "147ab3494ead307761ed6005a2b48c8330c5bd349991ebf72ab5a82058d32fef"),
        ("f16", "89b35ed5145257d7ca4db2ca78aad7f2965271ca30f3948f79b0baed283ec331"),
    ],
)
def test_files_are_those_of_ollama(tmp_path: Path, file_type: str, digest: str) -> None:
    """Digests of the layers that a real `ollama create --quantize` made of this file."""
    quantize_file(FIXTURES / "wide-f16.gguf", tmp_path / "out.gguf", file_type)
    assert sha256(tmp_path / "out.gguf") == digest


def test_merged_split_is_that_of_ollama(tmp_path: Path) -> None:
    """The digest of the layer that a real create made of these two files, in whatever order they come."""
    digest = "c033cf90e9adecf05ad4c7ebe207d37e3031b0c10776bd56d2fafd9534bf434d"
    paths, names = (
        [FIXTURES / "split-1.gguf", FIXTURES / "split-2.gguf"],
        ["t-00001-of-00002.gguf", "t-00002-of-00002.gguf"],
    )
    seen: list[tuple[int, int]] = []
    merge_splits(
        paths, tmp_path / "a", names=names, on_progress=lambda done, total: seen.append((done, total))
    )
    merge_splits(paths[::-1], tmp_path / "b", names=names[::-1])
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b") == digest
    assert seen[-1][0] == seen[-1][1] == sum(t.size_bytes for t in GGUFFile.open(tmp_path / "a").tensors)


def test_type_names() -> None:
    """Any letter case, the short names; others are refused with the list."""
    assert [parse_file_type(text) for text in ("q4_k", " Q8_0", "bf16", "Q3_K", "iq4_xs")] == [
        "Q4_K_M", "Q8_0", "BF16", "Q3_K_M", "IQ4_XS",
    ]  # fmt: skip
    with pytest.raises(
        QuantizeError, match=r"unsupported quantization type TINY - supported types are F32, F16, "
    ):
        parse_file_type("tiny")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BY_NAME["tiny"].write(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.mark.parametrize("file_type", ["IQ1_S", "IQ2_XXS", "IQ2_M", "IQ3_XXS", "Q2_K_S"])
def test_types_that_need_an_importance_matrix(tmp_path: Path, tiny: Path, file_type: str) -> None:
    """They are refused without one, and nothing is left behind."""
    with pytest.raises(QuantizeError, match="requires an importance matrix") as caught:
        quantize_file(tiny, tmp_path / "out.gguf", file_type)
    assert caught.value.hint
    assert not any(tmp_path.iterdir())


def test_requantizing(tmp_path: Path, tiny: Path) -> None:
    """Quantised weights are refused, unless it is asked for in so many words; the same type is a copy."""
    quantize_file(tiny, tmp_path / "q8.gguf", "Q8_0")
    with pytest.raises(QuantizeError, match="only supported for F16, BF16 and F32"):
        quantize_file(tmp_path / "q8.gguf", tmp_path / "q4.gguf", "Q4_0")
    quantize_file(tmp_path / "q8.gguf", tmp_path / "again.gguf", "Q8_0")
    assert sha256(tmp_path / "again.gguf") == sha256(tmp_path / "q8.gguf")
    quantize_file(tmp_path / "q8.gguf", tmp_path / "q4.gguf", "Q4_0", allow_requantize=True)
    back = reference.GGUFReader(tmp_path / "q4.gguf")
    original = {t.name: t for t in reference.GGUFReader(tiny).tensors}
    for tensor in back.tensors:
        expected = original[tensor.name].data.astype(np.float32)
        got = reference.quants.dequantize(tensor.data, tensor.tensor_type).reshape(expected.shape)
        assert np.abs(got - expected).max() < 0.01


def test_invalid_weights(tmp_path: Path, tiny: Path) -> None:
    """NaN in the source names the tensor; no file is left."""
    data = bytearray(tiny.read_bytes())
    gguf = GGUFFile.open(tiny)
    tensor = next(t for t in gguf.tensors if t.name == "blk.0.attn_q.weight")
    data[gguf.data_offset + tensor.offset + 100 : gguf.data_offset + tensor.offset + 102] = b"\xff\x7f"
    (tmp_path / "bad.gguf").write_bytes(data)
    with pytest.raises(QuantizeError, match=r"tensor 'blk\.0\.attn_q\.weight' has invalid data"):
        quantize_file(tmp_path / "bad.gguf", tmp_path / "out.gguf", "Q4_K_M")
    assert not (tmp_path / "out.gguf").exists()


def test_progress_and_cancelling(tmp_path: Path, tiny: Path) -> None:
    """Progress only grows and ends at the total; what it raises ends the work and removes the file."""
    seen: list[tuple[int, int]] = []
    quantize_file(tiny, tmp_path / "out.gguf", "Q4_K_M", n_threads=1, on_progress=lambda *p: seen.append(p))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (sum(t.size_bytes for t in GGUFFile.open(tiny).tensors),) * 2

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize_file(tiny, tmp_path / "out.gguf", "Q4_K_M", on_progress=stop)
    assert not (tmp_path / "out.gguf").exists()


def test_threads_do_not_matter(tmp_path: Path, tiny: Path) -> None:
    """One thread and seven write the same file."""
    quantize_file(tiny, tmp_path / "a", "Q5_K_M", n_threads=1)
    quantize_file(tiny, tmp_path / "b", "Q5_K_M", n_threads=7)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


def test_no_space(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is too small is noticed before the work."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    with pytest.raises(StoreError, match="not enough space"):
        quantize_file(tiny, tmp_path / "out.gguf", "Q8_0")


@pytest.mark.slow
def test_embedded_projector_stays(tmp_path: Path) -> None:
    """Tensors of a vision tower inside a text model keep their type, and do not count."""
    plain = BY_NAME["dense"]

    def vision(_model: RandomModel) -> Iterator[tuple[str, tuple[int, ...]]]:
        for i in range(3):
            yield f"v.blk.{i}.attn_v.weight", (32, 256)
            yield f"v.blk.{i}.ffn_up.weight", (32, 256)
        yield "mm.input_projection.weight", (32, 256)

    both = RandomModel("dense", "gemma3", extra_tensors=vision).write(tmp_path / "both.gguf")
    text = RandomModel("dense", "gemma3", extra_tensors=None).write(tmp_path / "text.gguf")
    assert plain.layers == 9
    quantize_file(both, tmp_path / "both-q4.gguf", "Q4_K_M")
    quantize_file(text, tmp_path / "text-q4.gguf", "Q4_K_M")
    kinds = {t.name: t.type_name for t in GGUFFile.open(tmp_path / "both-q4.gguf").tensors}
    assert {kind for name, kind in kinds.items() if name.startswith(("v.", "mm."))} == {"F16"}
    text_kinds = {t.name: t.type_name for t in GGUFFile.open(tmp_path / "text-q4.gguf").tensors}
    assert {name: kind for name, kind in kinds.items() if not name.startswith(("v.", "mm."))} == text_kinds


def test_tensors_that_ollama_keeps_fine(tmp_path: Path) -> None:
    """Some architectures have tensors that Q4_K_M leaves at more bits; a caller's own choice wins."""
    source = RandomModel("g", "gemma3n", layers=1, extra_tensors=_per_layer).write(tmp_path / "g.gguf")
    for types, expected in ((None, "F16"), ({"per_layer": "Q8_0"}, "Q8_0"), ({}, "Q4_K")):
        quantize_file(source, tmp_path / "out.gguf", "Q4_K_M", tensor_types=types)
        kinds = {t.name: t.type_name for t in GGUFFile.open(tmp_path / "out.gguf").tensors}
        assert kinds["per_layer_token_embd.weight"] == expected


def _per_layer(model: RandomModel) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "per_layer_token_embd.weight", (model.vocab, model.embd)


def test_another_models_importance_matrix(tmp_path: Path, tiny: Path) -> None:
    """Sizes that do not fit are refused by name; a file of another kind and a cut one are, too."""
    matrix = write_imatrix_gguf(BY_NAME["odder-rows"], tmp_path / "other.gguf")
    with pytest.raises(QuantizeError, match=r"imatrix size \d+ is different from tensor size 256 for blk"):
        quantize_file(tiny, tmp_path / "out.gguf", "Q4_K_M", imatrix=matrix)
    with pytest.raises(QuantizeError, match=r"not an importance matrix: it has no imatrix\.datasets"):
        quantize_file(tiny, tmp_path / "out.gguf", "Q4_K_M", imatrix=tiny)
    legacy = write_imatrix_legacy(BY_NAME["tiny"], tmp_path / "a.dat").read_bytes()
    for cut in (0, 3, 9, 30, 500, len(legacy) // 2):
        (tmp_path / "b.dat").write_bytes(legacy[:cut])
        with pytest.raises(QuantizeError, match="importance matrix"):
            Imatrix.open(tmp_path / "b.dat")
    assert not (tmp_path / "out.gguf").exists()


def test_importance_that_is_no_number(tmp_path: Path, tiny: Path) -> None:
    """NaN would make garbage of the model."""
    path = write_imatrix_legacy(BY_NAME["tiny"], tmp_path / "a.dat")
    data = bytearray(path.read_bytes())
    place = data.index(b"attn_q.weight") + len("attn_q.weight") + 8
    data[place : place + 4] = struct.pack("<f", float("nan"))
    path.write_bytes(data)
    with pytest.raises(QuantizeError, match="not finite"):
        quantize_file(tiny, tmp_path / "out.gguf", "Q4_K_M", imatrix=path)


def test_needs_importance() -> None:
    """Embeddings and output never do; Q2_K only as part of Q2_K_S."""
    assert needs_importance("blk.0.ffn_up.weight", "IQ2_XS", "IQ2_XS")
    assert needs_importance("blk.0.ffn_up.weight", "Q2_K", "Q2_K_S")
    assert not needs_importance("blk.0.ffn_up.weight", "Q2_K", "Q2_K")
    assert not needs_importance("output.weight", "IQ2_XS", "IQ2_XS")


def split_file(path: Path, *, no: int | None, count: int, tensor: str = "t") -> GGUFFile:
    writer = reference.GGUFWriter(path, "llama")
    if no is not None:
        writer.add_uint16("split.no", no)
    writer.add_uint16("split.count", count)
    writer.add_tensor(tensor, np.zeros(8, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return GGUFFile.open(path)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([("m.gguf", 0, 2)], 'split GGUF "m.gguf" must use llama.cpp split filename pattern'),
        ([("m-00001-of-00003.gguf", 0, 2)],
         'split GGUF "m-00001-of-00003.gguf" filename count 3 does not match metadata count 2'),
        ([("m-00001-of-00002.gguf", None, 2)], 'split GGUF "m-00001-of-00002.gguf" is missing split.no metadata'),
        ([("m-00002-of-00002.gguf", 0, 2)],
         'split GGUF "m-00002-of-00002.gguf" filename index 1 does not match metadata index 0'),
        ([("m-00001-of-00002.gguf", 0, 2)], 'split GGUF "m-00001-of-00002.gguf" has 1 shards, expected 2'),
        ([("m-00001-of-00002.gguf", 0, 2), ("n-00002-of-00002.gguf", 1, 2)],
         'split GGUF "m-00001-of-00002.gguf" has 1 shards, expected 2'),
        ([("m-00001-of-00002.gguf", 0, 2), ("m-00003-of-00002.gguf", 2, 2)],
         'split GGUF "m-00003-of-00002.gguf" has invalid shard index 2'),
        ([("m-00001-of-00002.gguf", 0, 2), ("m-00001-of-00002.gguf", 0, 2)],
         "split GGUF has duplicate shard index 0"),
    ],
)  # fmt: skip
def test_split_errors(tmp_path: Path, parts: list[tuple[str, int | None, int]], message: str) -> None:
    """The reference's texts."""
    files = [
        (name, split_file(tmp_path / f"{i}", no=no, count=count)) for i, (name, no, count) in enumerate(parts)
    ]
    with pytest.raises(GGUFError) as caught:
        group_splits(files)
    assert str(caught.value) == message


def test_split_groups(tmp_path: Path) -> None:
    """Whole files stay alone; two split models do not mix; parts come in order."""
    names = [
        "a-00002-of-00002.gguf",
        "whole.gguf",
        "b-00001-of-00002.gguf",
        "a-00001-of-00002.gguf",
        "b-00002-of-00002.gguf",
    ]
    numbers = [1, None, 0, 0, 1]
    files = [
        (name, split_file(tmp_path / name, no=no, count=1 if no is None else 2))
        for name, no in zip(names, numbers, strict=True)
    ]
    assert [[name for name, _ in group] for group in group_splits(files)] == [
        ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"],
        ["whole.gguf"],
        ["b-00001-of-00002.gguf", "b-00002-of-00002.gguf"],
    ]


def test_merge_refuses_what_does_not_fit(tmp_path: Path) -> None:
    """One tensor in two parts; nothing is written."""
    paths = [tmp_path / "m-00001-of-00002.gguf", tmp_path / "m-00002-of-00002.gguf"]
    for no, path in enumerate(paths):
        split_file(path, no=no, count=2)
    with pytest.raises(GGUFError, match="is in two of the parts"):
        merge_splits(paths, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_copy_without_the_kernels_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system cannot copy by itself, a plain copy gives the same file."""
    paths, names = (
        [FIXTURES / "split-1.gguf", FIXTURES / "split-2.gguf"],
        ["t-00001-of-00002.gguf", "t-00002-of-00002.gguf"],
    )
    merge_splits(paths, tmp_path / "a", names=names)
    monkeypatch.delattr(os, "copy_file_range")
    merge_splits(paths, tmp_path / "b", names=names)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")
