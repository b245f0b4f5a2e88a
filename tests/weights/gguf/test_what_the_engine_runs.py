"""Odd files that the engine runs are taken, and those that would make it abort are refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corral.errors import GGUFError
from corral.inference.recommended import recommended_parameters
from corral.weights.gguf import GGUFFile, check_loadable
from tests.conftest import FIXTURES, Server
from tests.weights.gguf.edit import edited
from tests.weights.gguf.mamba import write_mamba

Change = Callable[[list[bytes]], list[bytes]]


def with_tokens(path: Path, change: Change) -> GGUFFile:
    tokens = GGUFFile.open(FIXTURES / "tiny-notmpl.gguf").metadata["tokenizer.ggml.tokens"]
    texts = [text.decode("utf-8", "surrogateescape") for text in change(list(tokens.byte_strings()))]
    values = {"tokenizer.ggml.tokens": (texts, "string")}
    return GGUFFile.open(edited(FIXTURES / "tiny-notmpl.gguf", path, values))


def test_models_that_do_not_attend(tmp_path: Path, server: Server) -> None:
    """Mamba has 0 heads. It is created, described and answers."""
    path = write_mamba(tmp_path / "mamba.gguf")
    check_loadable(GGUFFile.open(path))
    body = {"model": "mamba", "files": {"m.gguf": server.upload(path)}, "stream": False}
    assert server.post("/api/create", body) == {"status": "success"}
    assert server.post("/api/show", {"model": "mamba"})["details"]["family"] == "mamba"
    answer = server.post(
        "/api/generate", {"model": "mamba", "prompt": "the", "stream": False, "options": {"num_predict": 3}}
    )
    assert (answer["done"], answer["eval_count"] > 0) == (True, True)


def test_no_heads_for_attention(tmp_path: Path) -> None:
    """A model that attends has some."""
    values = {"llama.attention.head_count": (0, "uint32")}
    path = edited(FIXTURES / "tiny-notmpl.gguf", tmp_path / "m.gguf", values)
    with pytest.raises(GGUFError, match="head_count is 0"):
        check_loadable(GGUFFile.open(path))


def test_empty_tokens(tmp_path: Path, server: Server) -> None:
    """The engine gives each of them a name of its own."""
    gguf = with_tokens(tmp_path / "m.gguf", lambda tokens: [*tokens[:-2], b"", b""])
    check_loadable(gguf)
    body = {"model": "holes", "files": {"m.gguf": server.upload(gguf.path)}, "stream": False}
    assert server.post("/api/create", body) == {"status": "success"}
    request = {"model": "holes", "prompt": "the", "stream": False, "options": {"num_predict": 2}}
    assert server.post("/api/generate", request)["done"]


@pytest.mark.parametrize(
    "change",
    [
        lambda tokens: [*tokens[:-1], tokens[-2]],
        lambda tokens: [*tokens[:-2], b"same\0a", b"same\0b"],
    ],
    ids=["twice", "the same to the engine"],
)
def test_tokens_that_occur_twice(tmp_path: Path, change: Change) -> None:
    """The engine aborts; a text ends for it with the first zero byte."""
    with pytest.raises(GGUFError, match="twice"):
        check_loadable(with_tokens(tmp_path / "m.gguf", change))


def test_data_that_is_not_aligned(tmp_path: Path) -> None:
    """The engine aborts unless tensors begin at a multiple of 32 bytes, whatever the file says."""
    for alignment in (1, 2, 4, 8, 16):
        values = {"general.alignment": (alignment, "uint32"), "general.name": ("x" * alignment, "string")}
        gguf = GGUFFile.open(edited(FIXTURES / "tiny-notmpl.gguf", tmp_path / "m.gguf", values))
        if gguf.data_offset % 32:
            with pytest.raises(GGUFError, match="not a multiple of 32"):
                check_loadable(gguf)
            break
    else:
        pytest.fail("every file was aligned by chance")


def test_recommended_sampling(tmp_path: Path) -> None:
    """`general.sampling.*` counts below the model's parameters and the request; nonsense in it does not count."""
    values = {
        "general.sampling.temp": (0.25, "float32"),
        "general.sampling.top_k": (7, "int32"),
        "general.sampling.penalty_last_n": (16, "int32"),
        "general.sampling.top_p": (float("nan"), "float32"),
        "general.sampling.penalty_repeat": ("much", "string"),
    }
    path = edited(FIXTURES / "tiny-notmpl.gguf", tmp_path / "m.gguf", values)
    found = recommended_parameters(GGUFFile.open(path))
    assert found == {"temperature": 0.25, "top_k": 7, "repeat_last_n": 16}
    assert recommended_parameters(None) == {}


def test_the_template_for_tools(tmp_path: Path, server: Server) -> None:
    """`tokenizer.chat_template.tool_use` makes the prompts of chats with tools, as in llama.cpp."""
    remark = "{# " + "a remark " * 60 + "#}"
    values = {
        "tokenizer.chat_template": (
            remark + "{% for m in messages %}[{{ m.content }}]{% endfor %}",
            "string",
        ),
        "tokenizer.chat_template.tool_use": (
            remark + "{% for t in tools %}<{{ t.function.name }}>{% endfor %}"
            "{% for m in messages %}({{ m.content }}){% endfor %}",
            "string",
        ),
    }
    path = edited(FIXTURES / "tiny.gguf", tmp_path / "m.gguf", values)
    server.post("/api/create", {"model": "two", "files": {"m.gguf": server.upload(path)}, "stream": False})
    assert "tools" in server.post("/api/show", {"model": "two"})["capabilities"]
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    body = {
        "model": "two",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": False,
        "_debug_render_only": True,
    }
    for tools, wanted in (([], "[hi]"), ([tool], "<look>(hi)")):
        answer = server.post("/api/chat", {**body, "tools": tools})
        assert answer["_debug_info"]["rendered_template"].endswith(wanted)
