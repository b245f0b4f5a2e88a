"""Which manifest holds for a name where nodes have different ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.agreement import agreed_digest, digest_to_ask_for, disagreements
from corral.cluster.directory import Directory, Heartbeat
from corral.cluster.membership import Member
from corral.cluster.view import Health, NodeView, View
from corral.cluster.weights import ClusterModels
from corral.names import ModelName

M = ModelName.parse("m").full()
ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)


def view_of(**digests: str) -> View:
    return View(
        {name: NodeView(name, models={M: digest} if digest else {}) for name, digest in digests.items()}
    )


@pytest.mark.parametrize(
    ("digests", "agreed"),
    [
        ({}, ""),
        ({"a": ""}, ""),
        ({"a": "", "b": ONE}, ONE),
        ({"a": TWO, "b": ONE, "c": ONE}, ONE),
        ({"a": TWO, "b": ONE}, TWO),
        ({"b": ONE, "a": TWO}, TWO),
        ({"a": THREE, "b": TWO, "c": ONE, "d": ONE, "e": TWO}, TWO),
    ],
)
def test_the_one_that_most_nodes_have(digests: dict[str, str], agreed: str) -> None:
    assert agreed_digest(view_of(**digests), M) == agreed


def test_what_requests_ask_for() -> None:
    """The one that holds, where nodes differ and one of those that have it takes requests."""
    assert digest_to_ask_for(view_of(a=TWO, b=ONE, c=ONE), M) == ONE
    assert digest_to_ask_for(view_of(a=""), M) == ""
    view = view_of(a=TWO, b=ONE, c=ONE)
    for change in ({"is_draining": True}, {"is_open": True}):
        one = {**view.nodes, "b": replace(view.nodes["b"], **change)}  # type: ignore[arg-type]
        assert digest_to_ask_for(View(one), M) == ONE
        both = {**one, "c": replace(view.nodes["c"], **change)}  # type: ignore[arg-type]
        assert digest_to_ask_for(View(both), M) == ""
    directory = Directory("a")
    for name in "ab":
        directory.heard(Heartbeat(name, "e", 1, models={M: ONE}), 0.0)
    assert digest_to_ask_for(directory.view(0.0), M) == ""
    directory.heard(Heartbeat("b", "e", 2, models={M: TWO}), 0.0)
    assert digest_to_ask_for(directory.view(0.0), M) == ONE


def test_only_nodes_that_are_heard_count() -> None:
    view = view_of(a=ONE, b=TWO, c=TWO)
    nodes = {name: replace(view.nodes[name], health=Health.SUSPECT) for name in "bc"}
    assert agreed_digest(View({**view.nodes, **nodes}), M) == ONE


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([ONE, TWO, THREE, ""])))
def test_all_gateways_say_the_same(digests: dict[str, str]) -> None:
    """Whatever their own names, in whatever order they heard of the nodes, with and without an index."""
    directory = Directory("h")
    for i, (name, digest) in enumerate(reversed(digests.items())):
        directory.heard(Heartbeat(name, "e", i, models={M: digest} if digest else {}), 0.0)
    view = directory.view(0.0)
    plain = view_of(**digests)
    assert agreed_digest(view, M) == agreed_digest(plain, M)
    assert disagreements(view) == disagreements(plain)
    kinds = {digest for digest in digests.values() if digest}
    assert bool(disagreements(plain)) == (len(kinds) > 1)


def test_who_can_be_asked() -> None:
    """Other nodes with the agreed manifest that have an address; a draining one still serves weights."""
    view = view_of(a=ONE, b=ONE, c=TWO, me=ONE, lost=ONE)
    nodes = {**view.nodes, "b": replace(view.nodes["b"], is_draining=True)}
    members = {
        "a": Member("http://a:1"),
        "b": Member("https://10.0.0.2:1", "b.lan"),
        "c": Member("http://c:1"),
    }
    models = ClusterModels("me", lambda: View(nodes), members.get, lambda url: f"key of {url}")
    name = ModelName.parse("m")
    assert models.digest(name) == ONE
    assert [(p.name, p.url, p.tls_name) for p in models.holders(name, ONE)] == [
        ("a", "http://a:1", ""),
        ("b", "https://10.0.0.2:1", "b.lan"),
    ]
    assert models.key("http://a:1") == "key of http://a:1"
    alone = ClusterModels("me", lambda: view_of(me=ONE), members.get, str)
    assert alone.digest(name) == ""
    assert alone.digest(ModelName.parse("other")) == ""
