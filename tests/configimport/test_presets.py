"""llama-server's presets: read as llama.cpp reads them, and what becomes of them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.configfile.reading import problems_of
from corral.configimport.imported import ImportFileError
from corral.configimport.presets import read_ini, read_presets
from corral.configimport.tomltext import modelfile, toml_text

EXAMPLE = Path(__file__).parent / "presets.ini"


def test_a_whole_file() -> None:
    found = read_presets(EXAMPLE.read_text(), Path("/etc/llama"))
    text = toml_text(found, "presets.ini", "corral")
    assert problems_of(Path("config.toml"), text, {}) == []
    tables = tomllib.loads(text)
    assert tables["scheduler"] == {"preload": ["chat"]}
    common = {"temperature": 0.7}
    assert tables["models"] == {
        "chat": {
            "num_ctx": 1024,
            "set": {"temperature": 0.0},
            "engine": {"flash_attention": "auto"},
        },
        "fixtures/coder:fast": {
            "keep_alive": "300s",
            "num_ctx": 1024,
            "num_parallel": 2,
            "set": common,
            "engine": {"flash_attention": "auto", "use_mmap": False},
            "aliases": ["coder", "gpt-5-codex"],
        },
        "embed": {
            "device": "cpu",
            "num_ctx": 4096,
            "set": common,
            "engine": {"flash_attention": "auto"},
        },
        "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M": {
            "num_ctx": 4096,
            "set": common,
            "engine": {"flash_attention": "auto", "speculation": False},
        },
    }
    files = [modelfile(model) for model in found.models]
    assert files[0] == "FROM /etc/llama/fixtures/say.gguf\n"
    assert files[-1] == "FROM hf.co/ggml-org/gemma-3-4b-it-GGUF:Q4_K_M\n"
    assert '# --chat-template-kwargs {"enable_thinking": false}: requests choose' in text


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("a = 1", {"default": {"a": "1"}}),
        ("[m]\na=1\r\nb = x y ; why\rc =", {"m": {"a": "1", "b": "x y", "c": ""}}),
        ("[m] # x\na = b#c", {"m": {"a": "b"}}),
        ("[ m ]\na = [x] = y", {"m": {"a": "[x] = y"}}),
        ("[m]\na = 1\n[n]\n[m]\nb = 2", {"n": {}, "m": {"b": "2"}}),
        ("  ; only this", {}),
        ('[m]\na = "x"', {"m": {"a": '"x"'}}),
        ("[a/b:c]\nLLAMA_ARG_X = %(y)s", {"a/b:c": {"LLAMA_ARG_X": "%(y)s"}}),
    ],
)
def test_the_form(text: str, sections: dict[str, dict[str, str]]) -> None:
    assert read_ini(text) == sections


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[m]\nno value", "line 2"),
        ("[m\n", "line 1"),
        (" a = 1", "line 1"),
        ("[m]\n1 = 2", "line 2"),
        ("x" * 600_000, "larger than"),
        ("".join(f"[m{i}]\n" for i in range(2000)), "more than"),
    ],
)
def test_files_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ImportFileError, match=reason):
        read_presets(text, Path())


def test_what_is_not_of_a_model() -> None:
    """Keys before the first section are a model only if they name one; sections without one are named after it."""
    found = read_presets("version = 1\nctx-size = 5\n[a/b]\nc = 9\n[x]\nc = 9\n", Path("/f"))
    assert found.notes == ["ctx-size before the first section has no effect"]
    assert [modelfile(model) for model in found.models] == ["FROM hf.co/a/b\n"]
    assert found.left_out == [("x", "it names no model file (model) and no repository (hf)")]
    found = read_presets("model = a.gguf", Path("/f"))
    assert [model.name for model in found.models] == ["default"]


_KEYS = st.sampled_from(
    "m model c np temp ngl fa no-mmap mmap seed alias hf load-on-startup ts top-k x-y".split()
)


@given(
    st.lists(
        st.tuples(
            st.text(max_size=8),
            st.dictionaries(_KEYS, st.sampled_from(["0", "1", "-1", "on", "x"]) | st.text()),
        ),
        max_size=4,
    )
)
def test_the_result_is_a_file_that_a_server_takes(sections: list[tuple[str, dict[str, str]]]) -> None:
    lines = []
    for name, values in sections:
        lines += [f"[{name}]", "model = a.gguf", *(f"{key} = {value}" for key, value in values.items())]
    try:
        found = read_presets("\n".join(lines), Path("/f"))
    except ImportFileError:
        return
    assert problems_of(Path("config.toml"), toml_text(found, "x", "corral"), {}) == []
