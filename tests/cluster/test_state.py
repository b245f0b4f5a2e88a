"""States of nodes on the wire: whole, without models, and hostile."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.state import NodeState, StateError, line_of, parse_line
from corral.cluster.view import LoadedModel

_DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
_LOADED = st.builds(
    LoadedModel,
    _DIGESTS,
    st.integers(1, 64),
    st.integers(0, 64),
    st.integers(0, 1000),
    st.booleans(),
)
_STATES = st.builds(
    NodeState,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(str.isascii),
    epoch=st.text("0123456789abcdef", min_size=8, max_size=32),
    version=st.just("1.2.3"),
    clock_s=st.integers(0, 2**40).map(float),
    is_draining=st.booleans(),
    models=st.dictionaries(st.sampled_from(["h.io/n/a:1", "h.io/n/b:latest"]), _DIGESTS),
    loaded=st.lists(_LOADED, max_size=3).map(lambda found: {model.digest: model for model in found}),
    free_bytes=st.integers(0, 2**50),
    total_bytes=st.integers(0, 2**50),
    disk_bytes=st.integers(0, 2**50),
    load_seconds=st.dictionaries(_DIGESTS, st.integers(0, 1000).map(float), max_size=2),
)


@given(_STATES)
def test_there_and_back(state: NodeState) -> None:
    line = line_of(state, has_models=True)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert parse_line(line) == state
    assert parse_line(line_of(state, has_models=False), state) == state


def test_models_of_another_start_are_forgotten() -> None:
    before = NodeState("a", "0" * 8, models={"h/n/m:t": "a" * 64})
    after = NodeState("a", "1" * 8)
    assert parse_line(line_of(after, has_models=False), before).models == {}


_GOOD = {"name": "a", "epoch": "0" * 16}


@pytest.mark.parametrize(
    "values",
    [
        [],
        {},
        {"name": "../etc", "epoch": "0" * 16},
        {"name": "a\n", "epoch": "0" * 16},
        {"name": "a", "epoch": "nothex!!"},
        {"name": 1, "epoch": "0" * 16},
        {**_GOOD, "models": []},
        {**_GOOD, "models": {"../../x": "a" * 64}},
        {**_GOOD, "models": {"a": "../../etc/passwd"}},
        {**_GOOD, "models": {"a": 1}},
        {**_GOOD, "loaded": {}},
        {**_GOOD, "loaded": [1]},
        {**_GOOD, "loaded": [{"digest": "sha256:x"}]},
        {**_GOOD, "load_seconds": [1]},
        {**_GOOD, "loaded": [{"digest": "a" * 64}] * 1001},
    ],
)
def test_what_no_node_says(values: object) -> None:
    with pytest.raises(StateError):
        parse_line(json.dumps(values).encode())


@pytest.mark.parametrize("line", [b"", b"{", b"\xff", b"NaN", b'{"name":'])
def test_what_is_no_json(line: bytes) -> None:
    with pytest.raises(StateError):
        parse_line(line)


def test_numbers_that_are_none() -> None:
    """They count as nothing; a node cannot make others divide by zero or wait forever."""
    line = json.dumps({**_GOOD, "free": -5, "total": 1e308, "clock": "x", "disk": True}).encode()
    state = parse_line(line)
    assert (state.free_bytes, state.clock_s, state.disk_bytes) == (0, 0.0, 0)
    assert state.total_bytes == 1 << 53


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_anything_else(value: object) -> None:
    line = json.dumps({**_GOOD, "free": value, "version": value, "draining": value}).encode()
    assert parse_line(line).name == "a"
