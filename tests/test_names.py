"""Model names and source suffixes, by vectors recorded from the real parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import InvalidModelNameError, InvalidRequestError
from corral.names import ModelName, parse_ref


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
