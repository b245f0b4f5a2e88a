"""Model names and source suffixes, by vectors recorded from the real parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import InvalidModelNameError, InvalidRequestError
from corral.names import ModelName, completed_text, looks_like_file, parse_ref, pull_text


@pytest.mark.parametrize(
    ("text", "path", "short"),
    [
        ("llama3", "registry.ollama.ai/library/llama3/latest", "llama3:latest"),
        ("user/m:t", "registry.ollama.ai/user/m/t", "user/m:t"),
        ("hf.co/a/b:Q4", "hf.co/a/b/Q4", "hf.co/a/b:Q4"),
        ("http://localhost:5000/a/b", "localhost:5000/a/b/latest", "localhost:5000/a/b:latest"),
        ("localhost:5000/lib/m", "localhost:5000/lib/m/latest", "localhost:5000/lib/m:latest"),
        ("REGISTRY.OLLAMA.AI/Library/x", "REGISTRY.OLLAMA.AI/Library/x/latest", "x:latest"),
        ("A/B:C", "registry.ollama.ai/A/B/C", "A/B:C"),
        ("m.b:t-1_2.3", "registry.ollama.ai/library/m.b/t-1_2.3", "m.b:t-1_2.3"),
        ("_m", "registry.ollama.ai/library/_m/latest", "_m:latest"),
        ("a" * 80, f"registry.ollama.ai/library/{'a' * 80}/latest", f"{'a' * 80}:latest"),
    ],
)
def test_valid_names(text: str, path: str, short: str) -> None:
    """A valid name knows its manifest path and its short form."""
    name = ModelName.parse(text)
    assert "/".join(name.path_parts()) == path
    assert name.short() == short


@pytest.mark.parametrize(
    "text",
    [
        *"m: :t a//b x/ /x m@sha256:abc m:t@d -m mé .. ../x a.b/m localhost:5000/m".split(),
        *"http://x/m C:/x m:t:u a/b/c/d:t".split(),
        *("", "a b", "a" * 81, "m\0"),
    ],
)
def test_invalid_names(text: str) -> None:
    """An invalid name never becomes a value."""
    with pytest.raises(InvalidModelNameError):
        ModelName.parse(text)


@given(st.text(max_size=60))
def test_no_name_leaves_the_folder(text: str) -> None:
    """Whatever parses has four parts that are plain file names."""
    try:
        name = ModelName.parse(text)
    except InvalidModelNameError:
        return
    for part in name.path_parts():
        assert part not in (".", "..")
        assert not set(part) & set("/\\\0")
        assert not part.startswith("-")
    assert ModelName.parse(name.full()) == name


@pytest.mark.parametrize(
    ("text", "base", "source"),
    [
        ("gpt-oss:20b:cloud", "gpt-oss:20b", "cloud"),
        ("gpt-oss:20b-CLOUD", "gpt-oss:20b", "cloud"),
        ("my-cloud-model", "my-cloud-model", ""),
        (" m:LOCAL ", "m", "local"),
        ("m:7b", "m:7b", ""),
        ("h:1/m-cloud", "h:1/m-cloud", ""),
    ],
)
def test_source_suffix(text: str, base: str, source: str) -> None:
    """A suffix says where a model runs and is no part of its name."""
    ref = parse_ref(text)
    assert (ref.base, ref.source) == (base, source)


def test_contradicting_suffixes() -> None:
    """Two suffixes are an error that quotes the name."""
    with pytest.raises(InvalidRequestError, match='use either :local or :cloud, not both: "foo:cloud:local"'):
        parse_ref("foo:cloud:local")


@pytest.mark.parametrize("part", ["host", "namespace", "model", "tag"])
def test_each_part_is_checked(part: str) -> None:
    """Also in a name that is made of its parts."""
    parts = {"host": "h", "namespace": "n", "model": "m", "tag": "t"}
    name = ModelName(**parts)
    assert (name.full(), name.repository(), str(name)) == ("h/n/m:t", "n/m", "h/n/m:t")
    with pytest.raises(InvalidModelNameError) as caught:
        ModelName(**{**parts, part: ".."})
    assert caught.value.name == "h/n/m:t".replace(parts[part], "..")


@pytest.mark.parametrize(("part", "most"), [("host", 350), ("namespace", 80), ("model", 80), ("tag", 80)])
def test_the_length_of_a_part(part: str, most: int) -> None:
    parts = {"host": "h", "namespace": "n", "model": "m", "tag": "t"}
    assert getattr(ModelName(**{**parts, part: "x" * most}), part) == "x" * most
    with pytest.raises(InvalidModelNameError):
        ModelName(**{**parts, part: "x" * (most + 1)})


def test_the_scheme_does_not_tell_names_apart() -> None:
    assert ModelName("h", "n", "m", "t").scheme == "https"
    secure, plain = ModelName.parse("localhost:5000/a/b"), ModelName.parse("http://localhost:5000/a/b")
    assert (secure.scheme, plain.scheme) == ("https", "http")
    assert secure == plain


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("m", "m:latest"),
        ("LIBRARY/m", "m:latest"),
        ("team/m", "team/m:latest"),
        ("Registry.Ollama.AI/team/m", "team/m:latest"),
        ("hf.co/library/m:q", "hf.co/library/m:q"),
    ],
)
def test_short_names(text: str, short: str) -> None:
    """Only what is the default is left out, in any letter case."""
    assert str(ModelName.parse(text)) == ModelName.parse(text).short() == short


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("m", "registry.ollama.ai/library/m:latest"),
        ("", "registry.ollama.ai/library/:latest"),
        (":t", "registry.ollama.ai/library/!MISSING!:t"),
        ("m:", "registry.ollama.ai/library/m:!MISSING!"),
        ("a//b", "a/!MISSING!/b:latest"),
        ("/x", "registry.ollama.ai/!MISSING!/x:latest"),
        ("x/", "registry.ollama.ai/x/!MISSING!:latest"),
        ("http://h:1/a/b c", "h:1/a/b c:latest"),
    ],
)
def test_what_errors_show_of_a_name(text: str, complete: str) -> None:
    """Complete, valid or not."""
    assert completed_text(text) == complete


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("./m", True),
        ("/m", True),
        ("~/m", True),
        (r"C:\m", True),
        ("m.gguf", True),
        ("a/M.GGUF", True),
        ("a/b/m.safetensors", True),
        ("m", False),
        ("m.gguf:latest", False),
        ("hf.co/a/m.gguf", False),
        ("hf.co/m.gguf", True),  # two parts are a namespace and a model, not a host
        ("m.txt", False),
        *((f"m{end}", True) for end in ".ggml .bin .pt .pth .onnx .llamafile".split()),
        ("m:7b.gguf", False),
    ],
)
def test_what_looks_like_a_file(text: str, is_file: bool) -> None:
    assert looks_like_file(text) is is_file


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_a_model_is_required(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^model is required$"):
        parse_ref(text)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("m", "m"),
        ("m:local", "m"),
        ("m:7b:local", "m:7b"),
        ("m:cloud", "m:cloud"),
        ("m:7b-cloud", "m:7b-cloud"),
        ("m:7b:cloud", "m:7b-cloud"),
        ("h:1/n/m:cloud", "h:1/n/m:cloud"),
        ("h:1-cloud/m", "h:1-cloud/m"),  # the end of a port is no suffix
    ],
)
def test_what_a_registry_is_asked_for(text: str, asked: str) -> None:
    """Models in the cloud are tags there."""
    ref = parse_ref(text)
    assert (pull_text(ref), ref.raw) == (asked, text)
