"""The table of servers: who may be in it, and what a reader makes of it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.ray.table import GATHER_S, LINGER_S, Row, Table, merged, row_of

A = Row("a", "http://10.0.0.1:11434", "1", "serving", "ray-1", 7, 1)
B = Row("b", "https://10.0.0.2:11434", "2", "serving", "ray-2", 8, 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
FIELDS = st.sampled_from([*asdict(A)])


def test_a_row_survives_being_sent() -> None:
    row = replace(A, resources={"corral_ram_gb": 62.7}, detail="why")
    assert row_of(json.loads(json.dumps(asdict(row)))) == row


@given(JSON | st.dictionaries(FIELDS, JSON))
def test_what_is_sent_may_be_anything(values: Any) -> None:
    row = row_of(values)
    assert row is None or (row.name and row.url.startswith(("http://", "https://")))


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "../a"},
        {"name": "a b"},
        {"name": "a" * 65},
        {"url": "ftp://10.0.0.1"},
        {"url": "http://"},
        {"url": "http://10.0.0.1:11434/path"},
        {"url": "file:///etc/passwd"},
        {"url": None},
    ],
)
def test_bad_rows_are_not_taken(change: dict[str, Any]) -> None:
    assert row_of({**asdict(A), **change}) is None


def test_the_version_grows_with_changes_only() -> None:
    table = Table(0.0)
    assert not table.report(A, {"ray-1"})
    version = table.version
    assert not table.report(A, {"ray-1"}) and table.version == version
    assert not table.report(replace(A, epoch="9"), {"ray-1"}) and table.version > version


def test_a_name_belongs_to_one_node_while_it_lives() -> None:
    table = Table(0.0)
    table.report(A, {"ray-1", "ray-3"})
    other = replace(A, ray_node="ray-3", url="http://10.0.0.3:11434")
    assert "another node of the cluster is called a" in table.report(other, {"ray-1", "ray-3"})
    assert table.content(0.0)["nodes"] == [asdict(A)]
    assert not table.report(other, {"ray-3"})  # the first one is gone
    assert table.content(0.0)["nodes"] == [asdict(other)]


def test_servers_go_with_their_ray_nodes_after_a_while() -> None:
    """They may still write the ends of answers, which they would lose."""
    table = Table(0.0)
    table.report(A, {"ray-1"})
    table.report(B, {"ray-2"})
    assert not table.keep({"ray-1", "ray-9"}, 10.0)
    assert not table.keep({"ray-1"}, 10.0 + LINGER_S - 0.1) and table.names_on("ray-2") == ["b"]
    assert table.keep({"ray-1"}, 10.0 + LINGER_S) == ["b"]
    assert (
        not table.keep({"ray-1"}, 100.0) and table.names_on("ray-1") == ["a"] and not table.names_on("ray-2")
    )


def test_a_ray_node_that_is_seen_again_was_not_gone() -> None:
    table = Table(0.0)
    table.report(A, {"ray-1"})
    assert not table.keep(set(), 10.0) and not table.keep({"ray-1"}, 20.0)
    assert not table.keep(set(), 30.0) and not table.keep(set(), 30.0 + LINGER_S - 0.1)
    table.report(replace(A, ray_node="ray-5"), {"ray-5"})
    assert not table.keep({"ray-5"}, 200.0) and table.names_on("ray-5") == ["a"]


def test_what_leaves_is_forgotten() -> None:
    table = Table(0.0)
    table.report(A, {"ray-1"})
    version = table.version
    assert table.forget("a") and table.version > version
    assert not table.forget("a")


def test_a_directory_that_has_just_begun_takes_nothing_away() -> None:
    """It has lost its memory, and the supervisors have not all reported yet."""
    table = Table(100.0)
    table.report(B, {"ray-2"})
    known = {"a": A, "b": replace(B, epoch="old")}
    assert merged(known, table.content(100.0 + GATHER_S - 0.1)) == {"a": A, "b": B}
    assert merged(known, table.content(100.0 + GATHER_S)) == {"b": B}


@given(st.dictionaries(st.sampled_from(["nodes", "complete", "version"]), JSON))
def test_a_reader_takes_any_table(content: dict[str, Any]) -> None:
    found = merged({"a": A}, content)
    assert content.get("complete") is True or found.keys() >= {"a"}
