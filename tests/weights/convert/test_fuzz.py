"""Mutated files: a conversion works or ends with a ConversionError, soon and without eating memory."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corral.errors import ConversionError
from corral.weights.convert import convert_model
from corral.weights.convert.safetensors import read_header
from corral.weights.convert.tokenizer.sentencepiece import parse_model
from tests.weights.convert.folders import CONFIG, tokenizer, write_folder
from tests.weights.convert.protobuf import model_file

MAX_BYTES = 32 * 2**20
FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(-5, 5), max_size=5),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.just(2**31 - 1),
    st.just(10**400),
    st.just(["x"] * 50),
    st.just([["a", "b", "c"]]),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_folder(tmp_path_factory.mktemp("in"))


def attempt(files: dict[str, Path]) -> None:
    """Convert; only ConversionError may come out, and not much memory go in."""
    tracemalloc.start()
    try:
        convert_model(files, files["config.json"].with_name("out.gguf"))
    except ConversionError as exc:
        assert len(str(exc)) < 3000
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MAX_BYTES


def with_changed(files: dict[str, Path], name: str, value: Any) -> dict[str, Path]:
    path = files[name].with_name("changed.json")
    path.write_text(json.dumps(value))
    return {**files, name: path}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a JSON value, the first few of a long list or object."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for number, (key, part) in enumerate(inner):
        if number < 40:
            found += places(part, (*path, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


ROPES = {
    "rope_type": "yarn",
    "factor": 2.0,
    "rope_theta": 1e4,
    "beta_fast": 32,
    "original_max_position_embeddings": 64,
}
FULL_CONFIG = {**CONFIG, "rope_scaling": ROPES, "head_dim": 8, "eos_token_id": [1, 2], "id2label": {"0": "a"}}


@pytest.mark.slow
@given(
    place=st.sampled_from(places(FULL_CONFIG)),
    new=ODD,
    arch=st.sampled_from(["Llama", "Gemma3", "Phi3", "Qwen2"]),
)
@FUZZ
def test_config(files: dict[str, Path], place: tuple[Any, ...], new: Any, arch: str) -> None:
    """One odd value in config.json."""
    config = {**FULL_CONFIG, "architectures": [f"{arch}ForCausalLM"]}
    attempt(with_changed(files, "config.json", replaced(config, place, new)))


POST = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
}
BYTES = {**tokenizer(), "post_processor": POST}
PIECES = {
    **tokenizer(),
    "decoder": None,
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
    "pre_tokenizer": None,
}
UNIGRAM = {
    **PIECES,
    "added_tokens": [],
    "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["b", -2.0]]},
    "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="},
    "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "always"},
}
WORDS = {
    **UNIGRAM,
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "a": 1, "##b": 2}},
    "normalizer": {"type": "BertNormalizer", "lowercase": True},
}
CASES = [
    (number, place) for number, case in enumerate((BYTES, PIECES, UNIGRAM, WORDS)) for place in places(case)
]


@pytest.mark.slow
@given(case=st.sampled_from(CASES), new=ODD)
@FUZZ
def test_tokenizer(files: dict[str, Path], case: tuple[int, tuple[Any, ...]], new: Any) -> None:
    """One odd value in a tokenizer.json of each kind."""
    number, place = case
    changed = replaced((BYTES, PIECES, UNIGRAM, WORDS)[number], place, new)
    attempt(with_changed(files, "tokenizer.json", changed))


@pytest.mark.slow
@given(data=st.data())
@FUZZ
def test_safetensors_header(files: dict[str, Path], data: st.DataObject) -> None:
    """Bytes of the header changed, cut or replaced by another JSON."""
    original = files["model.safetensors"].read_bytes()
    length = struct.unpack("<Q", original[:8])[0]
    head = bytearray(original[: 8 + length])
    kind = data.draw(st.sampled_from(("bytes", "value", "cut")))
    if kind == "bytes":
        for _ in range(data.draw(st.integers(1, 4))):
            head[data.draw(st.integers(0, len(head) - 1))] = data.draw(st.integers(0, 255))
        changed = bytes(head) + original[8 + length :]
    elif kind == "cut":
        changed = original[: data.draw(st.integers(0, len(original) - 1))]
    else:
        header = json.loads(head[8:])
        text = json.dumps(
            replaced(header, data.draw(st.sampled_from(places(header))), data.draw(ODD))
        ).encode()
        changed = struct.pack("<Q", len(text)) + text + original[8 + length :]
    mutated = dict(files, **{"model.safetensors": files["config.json"].with_name("mutated.safetensors")})
    mutated["model.safetensors"].write_bytes(changed)
    attempt(mutated)


@pytest.mark.slow
@given(data=st.data())
@FUZZ
def test_sentencepiece_model(data: st.DataObject) -> None:
    """A tokenizer.model with changed bytes, or any bytes at all."""
    content = bytearray(model_file([("<unk>", 0.0, 2), ("a", -1.0, 1), ("<0x0A>", 0.0, 6)], model_type=2))
    for _ in range(data.draw(st.integers(0, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    changed = data.draw(st.one_of(st.just(bytes(content)), st.binary(max_size=200)))
    try:
        parse_model(changed, "tokenizer.model")
    except ConversionError as exc:
        assert "tokenizer.model" in str(exc)


@pytest.mark.parametrize(
    "header",
    [b"[" * 1_000_000, b'{"a":' * 500_000, b"{" + b'"a":[],' * 2_000_000 + b'"b":1}', b"\xff" * 100, b"null"],
    ids=["deep list", "deep object", "many lists", "no UTF-8", "null"],
)
def test_headers_that_cost(tmp_path: Path, header: bytes) -> None:
    """Headers made to exhaust a parser."""
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ConversionError):
        read_header(path, path.name)


def test_header_length_beyond_the_file(tmp_path: Path) -> None:
    """Nothing is allocated for a length that a file only claims."""
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(ConversionError, match="not a safetensors file"):
        read_header(path, path.name)
