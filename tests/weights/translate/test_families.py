"""Families against the engine: it refuses what was published, and answers alike for translation and twin."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from corral.errors import RunnerStartError
from corral.runner.llama_server import MEDIA_MARKER
from corral.weights.gguf import GGUFFile, check_loadable
from corral.weights.translate import needs_translation, projector_view, text_view, write_view
from tests.plain_engine import Engine
from tests.weights.translate.twins import TWINS, Twin

PROMPT = [5, 17, 260, 33, 104, 9, 60]
TEXT = "hi there\n It's 2026, naïve 🙂"


def answers(path: Path, twin: Twin) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], list[int]]:
    """What the engine makes of a prompt of token ids, and of a text."""
    n_vocab = len(GGUFFile.open(path).metadata["tokenizer.ggml.tokens"])
    with Engine(path, is_embedding=twin.is_embedding) as engine:
        tokens = engine.tokenize(TEXT)
        if twin.is_embedding:
            return engine.embedding(PROMPT), tokens
        return engine.logprobs(PROMPT, n_vocab), tokens


def assert_same_answers(ours: Path, theirs: Path, twin: Twin) -> None:
    got, got_tokens = answers(ours, twin)
    expected, expected_tokens = answers(theirs, twin)
    assert np.isfinite(expected).sum() > 20
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0, equal_nan=True)
    assert got_tokens == expected_tokens


@pytest.mark.process
@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_text(twin: Twin, tmp_path: Path) -> None:
    """The engine refuses the published layout (or misreads it), and answers alike for the two others."""
    layout = twin.make()
    upstream = layout.copy().write(tmp_path / "upstream.gguf")
    twin.to_ollama(layout)
    published = layout.write(tmp_path / "published.gguf")
    before = published.read_bytes()
    gguf = GGUFFile.open(published)
    assert needs_translation(gguf)
    view = text_view(gguf)
    assert view is not None
    write_view(view, tmp_path / "view.gguf")
    check_loadable(GGUFFile.open(tmp_path / "view.gguf"))
    assert_same_answers(tmp_path / "view.gguf", upstream, twin)
    if twin.loads_anyway:
        with pytest.raises(AssertionError):
            assert_same_answers(published, upstream, twin)
    else:
        with pytest.raises(RunnerStartError):
            answers(published, twin)
    assert published.read_bytes() == before
    assert not needs_translation(GGUFFile.open(upstream)), "what the engine loads needs no translation"


def _png(side: int) -> bytes:
    """A picture of colours that run."""
    rows = b"".join(
        b"\0" + bytes((7 * x + 13 * y + 50 * c) % 256 for x in range(side) for c in range(3))
        for y in range(side)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def look(text: Path, projector: Path) -> dict[int, float]:
    """The likeliest next tokens after a picture."""
    prompt = {
        "prompt_string": f"hi {MEDIA_MARKER} there",
        "multimodal_data": [base64.b64encode(_png(56)).decode()],
    }
    with Engine(text, projector_paths=(projector,), num_ctx=512) as engine:
        body = {"prompt": prompt, "n_predict": 1, "n_probs": 20, "logit_bias": [["a", 1000]], "stream": False}
        answer = engine.request("/completion", body)
    entries: Iterable[dict[str, float]] = answer["completion_probabilities"][0]["top_logprobs"]
    return {int(entry["id"]): entry["logprob"] for entry in entries}


@pytest.mark.process
@pytest.mark.parametrize("twin", [t for t in TWINS if t.projector], ids=lambda twin: twin.name)
def test_projector(twin: Twin, tmp_path: Path) -> None:
    """The vision part of the published file sees what the directly written one sees; text is in neither."""
    layout = twin.make()
    upstream = layout.copy().write(tmp_path / "upstream.gguf")
    twin.to_ollama(layout)
    gguf = GGUFFile.open(layout.write(tmp_path / "published.gguf"))
    view = projector_view(gguf)
    assert view is not None and twin.projector is not None
    write_view(view, tmp_path / "view.gguf")
    direct_layout = twin.projector(layout)
    direct = direct_layout.write(tmp_path / "direct.gguf")
    written = GGUFFile.open(tmp_path / "view.gguf")
    assert {t.name for t in written.tensors} == set(direct_layout.tensors)
    got, expected = look(upstream, tmp_path / "view.gguf"), look(upstream, direct)
    assert got.keys() == expected.keys()
    assert got == pytest.approx(expected, abs=1e-5)
