"""The reason why an engine ended, among the lines that it wrote."""

from __future__ import annotations

import pytest

from corral.runner.reasons import last_error, load_reason

# Written by the engine, with folders of another machine.
_TAIL = """\
0.00.016.132 E llama_model_load_from_file_impl: failed to load model
0.00.016.194 E cmn  common_init_: failed to load model '/srv/models/blobs/sha256-1'
0.00.016.254 E srv    load_model: failed to load model, '/srv/models/blobs/sha256-1'
0.00.016.673 E srv          init: exiting due to model loading error
load failed: Failed to init server, please check the input params.
"""


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "0.00.011.468 E llama_model_load: error loading model: unknown model architecture: 'zorblax'\n"
            + _TAIL,
            "error loading model: unknown model architecture: 'zorblax'",
        ),
        (
            "0.00.012.894 E gguf_init_from_reader: invalid magic characters: 'XXXX', expected 'GGUF'\n"
            "0.00.013.063 E llama_model_load: error loading model: llama_model_loader: failed to load model from"
            " /srv/my models/x.gguf\n" + _TAIL,
            "invalid magic characters: 'XXXX', expected 'GGUF'",
        ),
        (
            "/build/llama.cpp/src/llama-model.cpp:1356: GGML_ASSERT(hparams.n_layer_all > 0) failed\n",
            "GGML_ASSERT(hparams.n_layer_all > 0) failed",
        ),
        (
            "0.00.045.741 E cmn  common_init_: failed to load lora adapter '/srv/a b/lora.gguf'\n" + _TAIL,
            "failed to load lora adapter 'lora.gguf'",
        ),
        (
            "terminate called after throwing an instance of 'std::system_error'\n"
            "  what():  Resource temporarily unavailable\n",
            "what():  Resource temporarily unavailable",
        ),
        (_TAIL, "failed to load model"),
        ("", "the engine said nothing"),
    ],
)
def test_the_reason_stands_before_what_follows_from_it(log: str, reason: str) -> None:
    """The same line twice counts once, and no path of the server is in it."""
    found = load_reason(log + log)
    assert reason in found
    assert "/srv" not in found
    assert "/build" not in found
    assert found.count(reason) == 1


def test_the_last_words_of_an_engine_that_served() -> None:
    log = "0.01.000.000 W slot x: all is well\n/src/ggml.c:12: GGML_ASSERT(a) failed\nbacktrace\n"
    assert last_error(log) == "GGML_ASSERT(a) failed"
    assert last_error("bye\n") == ""
