"""Models that cannot be loaded, or not as a whole: the answer says why, and what does not need the rest works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FIXTURES, Server
from tests.waiting import wait_until
from tests.weights.gguf.edit import edited


def error_of(server: Server, path: str, body: dict[str, Any]) -> str:
    status, data = server.request("POST", path, {"stream": False, **body})
    assert status >= 400, data
    return data.decode()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "the file is not there"),
        (lambda path: path.write_bytes(b""), "missing or damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "missing or damaged"),
        (
            lambda path: path.write_bytes(b"XXXX" + path.read_bytes()[4:]),
            "missing or damaged",  # by its digest or its first bytes: the clock of files is coarse
        ),
    ],
    ids=["missing", "empty", "cut", "overwritten"],
)
def test_damaged_weights_are_named_with_the_way_to_mend_them(
    damage: Callable[[Path], None], reason: str, start_server: Callable[..., Server]
) -> None:
    """Not `does not support generate`: nothing can be known of what the model supports."""
    server = start_server()
    server.create("m", "say")
    weights = max((server.folder / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    kept = weights.read_bytes()
    damage(weights)
    bodies: dict[str, dict[str, Any]] = {
        "/api/generate": {"prompt": "hi"},
        "/api/chat": {"messages": [{"role": "user", "content": "hi"}]},
        "/api/embed": {"input": "hi"},
        "/api/tokenize": {"content": "hi"},
        "/api/rerank": {"query": "a", "documents": ["b"]},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
        "/v1/embeddings": {"input": "hi"},
        "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2},
    }
    for path, body in bodies.items():
        text = error_of(server, path, {"model": "m", **body})
        assert reason in text, path
        assert "corral pull m" in text, path
        assert str(server.folder) not in text, path
    weights.write_bytes(kept)
    assert (
        server.post(
            "/api/generate", {"model": "m", "prompt": "a", "stream": False, "options": {"num_predict": 1}}
        )["done"]
        is True
    )


def create_edited(server: Server, name: str, path: Path, values: dict[str, tuple[Any, str]]) -> None:
    """A model of the small file with other metadata."""
    edited(FIXTURES / "tiny.gguf", path, values)
    digest = server.upload(path)
    server.post("/api/create", {"model": name, "files": {path.name: digest}, "stream": False})


def test_a_broken_chat_template_breaks_what_needs_it(server: Server, tmp_path: Path) -> None:
    values = {"tokenizer.chat_template": ("{% for x in %}", "string")}
    create_edited(server, "broken-template", tmp_path / "b.gguf", values)
    options = {"num_predict": 2}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("/api/show", {}),
        ("/api/generate", {"prompt": "hi", "raw": True, "options": options}),
        ("/api/generate", {"prompt": "hi", "template": "{{ .Prompt }}", "options": options}),
        ("/api/generate", {}),
        ("/v1/completions", {"prompt": "hi", "max_tokens": 2}),
        ("/api/tokenize", {"content": "hi"}),
    ]
    for path, body in cases:
        status, data = server.request("POST", path, {"model": "broken-template", "stream": False, **body})
        assert status == 200, (path, data)
    status, _ = server.request("POST", "/api/embed", {"model": "broken-template", "input": "hi"})
    assert status == 501  # as for every model that is not made for vectors
    text = error_of(
        server, "/api/chat", {"model": "broken-template", "messages": [{"role": "user", "content": "hi"}]}
    )
    assert "the chat template in the weights of broken-template" in text
    server.post(
        "/api/create",
        {
            "model": "mended",
            "from": "broken-template",
            "template": "{{ .System }}: {{ .Prompt }}",
            "stream": False,
        },
    )
    assert server.post(
        "/api/generate", {"model": "mended", "prompt": "hi", "stream": False, "options": options}
    )["done"]


def test_why_a_model_was_not_loaded(server: Server, tmp_path: Path) -> None:
    """The engine's reason, though it wrote five lines after it, and no path of the server; in the log once a try."""
    values = {"tokenizer.ggml.pre": ("unheard-of", "string")}
    create_edited(server, "unheard", tmp_path / "u.gguf", values)
    text = error_of(server, "/api/generate", {"model": "unheard", "prompt": "hi", "raw": True})
    assert "unknown pre-tokenizer type: 'unheard-of'" in text
    assert str(server.folder) not in text
    wait_until(lambda: any("unheard-of" in line and "load failed" in line for line in list(server.log)))


def test_numbers_that_json_does_not_have(server: Server, tmp_path: Path) -> None:
    """In metadata they go by the names that Go has for them, and nothing else fails for their sake."""
    infinite = float("inf")
    values: dict[str, tuple[Any, Any]] = {
        "general.a": (float("nan"), "float32"),
        "general.b": (infinite, "float64"),
        "general.c": (-infinite, "float32"),
        "general.d": (0.5, "float32"),
    }
    create_edited(server, "odd-numbers", tmp_path / "n.gguf", values)
    for is_verbose in (False, True):
        info = server.post("/api/show", {"model": "odd-numbers", "verbose": is_verbose})["model_info"]
        assert [info[f"general.{letter}"] for letter in "abcd"] == ["NaN", "+Inf", "-Inf", 0.5]
    for path in ("/api/tags", "/v1/models"):
        assert server.request("GET", path)[0] == 200
