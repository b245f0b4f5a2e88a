"""What one server says of a caller to another, and what it says of the use; hostile ones too."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral import hops
from corral.api.cluster.endings import Pieces
from corral.api.cluster.glance import NOTHING, Glance, read_glance
from corral.api.cluster.hopping import Usage, usage_of
from corral.caller import SCOPES, Caller
from corral.errors import InvalidRequestError
from corral.requestfacts import RequestFacts

_WORDS = st.text(st.characters(whitelist_categories=("L", "N")), max_size=20)
_CALLERS = st.builds(
    Caller,
    key_id=_WORDS,
    name=_WORDS,
    scopes=st.sets(st.sampled_from(SCOPES)).map(frozenset),
    models=st.none() | st.lists(st.sampled_from(["qwen*", "team/*", "*"]), max_size=3).map(tuple),
    address=st.sampled_from(["", "10.0.0.1", "fe80::1"]),
    priority=st.sampled_from(["interactive", "normal", "batch"]),
    share=_WORDS,
)


@given(_CALLERS, st.integers(0, 1 << 40))
def test_a_caller_there_and_back(who: Caller, predict: int) -> None:
    """All but the right to be a server oneself."""
    hop = hops.parse(hops.header_value("gate", who, predict).decode())
    assert (hop.predict, hop.caller.gateway) == (predict, "gate")
    assert hop.caller.scopes == who.scopes - {"cluster"}
    for name in ("key_id", "name", "models", "address", "priority", "share"):
        assert getattr(hop.caller, name) == getattr(who, name), name


_GOOD = {"gateway": "a", "scopes": []}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 5000,
        json.dumps({}),
        json.dumps({"scopes": []}),
        json.dumps({**_GOOD, "scopes": "admin"}),
        json.dumps({**_GOOD, "key": 5}),
        json.dumps({**_GOOD, "name": "a\nb"}),
        json.dumps({**_GOOD, "name": "x" * 301}),
        json.dumps({**_GOOD, "models": "*"}),
        json.dumps({**_GOOD, "models": [5]}),
        json.dumps({**_GOOD, "models": ["a b"]}),
        json.dumps({**_GOOD, "models": ["a"] * 201}),
        json.dumps({**_GOOD, "priority": "first"}),
        json.dumps({**_GOOD, "predict": True}),
        json.dumps({**_GOOD, "predict": "5"}),
        json.dumps(_GOOD) + " " * 50_000,
    ],
)
def test_headers_that_no_server_sends(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        hops.parse(text)


def test_a_bound_key_stays_bound() -> None:
    """No models at all is not the same as all models."""
    assert hops.parse(hops.header_value("g", Caller(models=())).decode()).caller.models == ()


@given(st.integers(0, 1 << 30), st.integers(0, 1 << 30), st.integers(0, 1 << 30))
def test_usage_there_and_back(prompt: int, cached: int, tokens: int) -> None:
    facts, other = RequestFacts(served_model="m:latest"), RequestFacts()
    facts.note_tokens(prompt, cached, tokens, 5)
    usage = Usage(usage_of(facts, "RunnerExitedError('x')").decode())
    usage.note(other)
    assert (other.prompt_tokens, other.cached_tokens, other.tokens) == (prompt, cached, tokens)
    assert (other.served_model, usage.error) == ("m:latest", "RunnerExitedError")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"prompt":-5,"tokens":"x"}',
        '{"tokens":true,"model":5}',
        '{"model":"a\\nb","error":{}}',
        '"x"',
    ],
)
def test_usage_that_is_none(text: str) -> None:
    facts = RequestFacts()
    Usage(text).note(facts)
    assert (facts.prompt_tokens, facts.tokens, facts.served_model) == (0, 0, "")


def test_usage_without_bounds_is_bounded() -> None:
    facts = RequestFacts()
    Usage('{"tokens":99999999999999999}').note(facts)
    assert facts.tokens == 1 << 40


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\n\n", b"data: x\n\n"]), max_size=20), st.data())
def test_only_whole_pieces_go_on(parts: list[bytes], data: st.DataObject) -> None:
    """However a stream is cut: what goes on ends with a piece, nothing is lost, and nothing comes twice."""
    whole = b"".join(parts)
    kind, end = data.draw(
        st.sampled_from(
            [
                ("application/x-ndjson", b"\n"),
                ("text/event-stream", b"\n\n"),
                ("text/event-stream; x", b"\n\n"),
            ]
        )
    )
    pieces, passed, at = Pieces(kind), b"", 0
    while at < len(whole):
        size = data.draw(st.integers(1, 8))
        passed += pieces.feed(whole[at : at + size])
        assert not passed or passed.endswith(end)
        at += size
    assert passed + pieces.rest() == whole


@pytest.mark.parametrize(
    ("kind", "line", "is_over"),
    [
        ("application/x-ndjson", b'{"message":{"content":"a"},"done":false}\n', False),
        ("application/x-ndjson", b'{"message":{"content":"\\"done\\":true"},"done":false}\n', False),
        ("application/x-ndjson", b'{"tool_calls":[{"arguments":{"done":true}}]}\n', False),
        ("application/x-ndjson", b'{"done":false}\n{"done":true,"eval_count":3}\n', True),
        ("application/x-ndjson", b"", False),
        ("text/event-stream", b'data: {"choices":[]}\n\n', False),
        ("text/event-stream", b'data: {"choices":[]}\n\ndata: [DONE]\n\n', True),
        ("text/event-stream", b'event: message_stop\ndata: {"type":"message_stop"}\n\n', True),
        ("text/event-stream", b"event: response.completed\ndata: {}\n\n", True),
        ("application/octet-stream", b'{"done":true}\n', False),
    ],
)
def test_an_answer_whose_last_piece_came_is_over(kind: str, line: bytes, is_over: bool) -> None:
    """A node that is lost between the last piece and the end of the stream has answered."""
    pieces = Pieces(kind)
    pieces.feed(line)
    assert pieces.is_over == is_over
    cut = Pieces(kind)
    for at in range(len(line)):
        cut.feed(line[at : at + 1])
    assert cut.is_over == is_over


@given(st.binary(max_size=200))
def test_any_body_can_be_glanced_at(body: bytes) -> None:
    assert isinstance(read_glance(body, 1000), Glance)


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model":"m"}', "m"),
        (b'{"MODEL":"m"}', "m"),
        (b'{"name":"m"}', "m"),
        (b'{"model":"m"} trailing', "m"),
        (b'{"model":"m","x":"\xff"}', "m"),
        (b'{"model":5}', ""),
        (b'{"model":"' + b"x" * 500 + b'"}', ""),
        (b'["m"]', ""),
    ],
)
def test_the_model_of_a_body(body: bytes, model: str) -> None:
    assert read_glance(body, 0).model == model


@pytest.mark.parametrize(
    ("body", "is_unload"),
    [
        ({"model": "m", "keep_alive": 0}, True),
        ({"model": "m", "keep_alive": "0s", "messages": []}, True),
        ({"model": "m", "keep_alive": 0, "prompt": "x"}, False),
        ({"model": "m", "keep_alive": 0, "messages": [{}]}, False),
        ({"model": "m", "keep_alive": 0, "input": "x"}, False),
        ({"model": "m", "keep_alive": 5}, False),
        ({"model": "m"}, False),
    ],
)
def test_the_end_of_a_model(body: dict[str, object], is_unload: bool) -> None:
    assert read_glance(json.dumps(body).encode(), 0).is_unload is is_unload


def test_nothing_is_seen_of_what_is_no_object() -> None:
    assert read_glance(b"[]", 100) == NOTHING
