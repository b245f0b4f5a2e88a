"""Every family against the engine: it refuses what was published, and loads the translation with the twin's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corral.errors import RunnerStartError
from corral.gguf import GGUFFile, check_loadable
from corral.translate import needs_translation, projector_view, text_view, write_view
from tests.plain_engine import Engine
from tests.translate.twins import TWINS, Twin

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
