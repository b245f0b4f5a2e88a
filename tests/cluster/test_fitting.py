"""Which node a model would fit on, and why llama.cpp's RPC is not had."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from corral.api.cluster.attempts import shortage_of
from corral.api.cluster.forwarding import SHORTAGE, Passed
from corral.cluster.fitting import memory_hint
from corral.cluster.view import Health, NodeView, View
from corral.errors import CorralError, InsufficientMemoryError, NodeError
from corral.runner.engines.choice import BUILTIN, Engine
from corral.runner.engines.rpc import check_rpc, has_rpc

GB = 10**9
NODES = {
    "a": NodeView("a", free_bytes=7 * GB, total_bytes=8 * GB),
    "b": NodeView("b", free_bytes=1 * GB, total_bytes=24 * GB),
}


@pytest.mark.parametrize(
    ("needs_gb", "text"),
    [
        (
            30,
            "no node of the cluster can hold it: the largest, b, has 24.0 GB (1.0 GB free); a model has to fit",
        ),
        (10, "node b would fit it, with 24.0 GB (1.0 GB free)"),
        (8, "node a would fit it, with 8.0 GB (7.0 GB free)"),
        (0, "node a has the most room, with 8.0 GB (7.0 GB free)"),
    ],
)
def test_the_node_that_would_fit_it(needs_gb: int, text: str) -> None:
    assert memory_hint(View(NODES), needs_gb * GB).startswith(text)


def test_nodes_that_are_not_heard_or_drain() -> None:
    lost = {**NODES, "b": replace(NODES["b"], health=Health.GONE)}
    assert "the largest, a," in memory_hint(View(lost), 10 * GB)
    draining = {**NODES, "a": replace(NODES["a"], is_draining=True)}
    assert "node b" in memory_hint(View(draining))
    assert memory_hint(View({})) == ""


@pytest.mark.parametrize("error", ["too large", {"message": "too large", "type": "server_error"}])
def test_what_a_node_says_of_its_memory(error: object) -> None:
    """In the form of either API."""
    passed = Passed(None, 503, 500, [], json.dumps({"error": error}).encode(), kind=SHORTAGE)
    found = shortage_of(passed)
    assert found is not None
    assert str(found) == "too large"


@pytest.mark.parametrize(
    "passed",
    [
        Passed(NodeError("gone")),
        Passed(None, 503, 503, [], b'{"error":"busy"}', kind="QueueFullError"),
        Passed(None, 503, 500, [], b"no json", kind=SHORTAGE),
        Passed(None, 503, 500, [], b"[]", kind=SHORTAGE),
        Passed(None, 503, 500, [], b'{"error":5}', kind=SHORTAGE),
    ],
)
def test_other_failures_stay_as_they_are(passed: Passed) -> None:
    assert shortage_of(passed) is None


def test_its_own_shortage() -> None:
    error = InsufficientMemoryError("m", needed_bytes=1, free_bytes=0)
    assert shortage_of(Passed(error)) is error


def engine_that_prints(folder: Path, text: str) -> Engine:
    path = folder / "llama-server"
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return Engine("mine", server_path=path)


@pytest.mark.process
def test_an_engine_without_rpc(tmp_path: Path) -> None:
    """The wheel, and a build that does not list it: the setting is refused with the reason."""
    for engine in (
        Engine(BUILTIN),
        engine_that_prints(tmp_path, "-m FNAME"),
        Engine("x", server_path=tmp_path / "no"),
    ):
        assert not has_rpc(engine)
        check_rpc(engine, is_wanted=False)
        with pytest.raises(
            CorralError, match=r"CORRAL_CLUSTER_RPC: .* built without llama\.cpp's RPC backend"
        ) as info:
            check_rpc(engine, is_wanted=True)
        assert "a model has to fit on one machine" in info.value.hint


@pytest.mark.process
def test_an_engine_with_rpc(tmp_path: Path) -> None:
    """It is refused too: models would cross the network in the open."""
    engine = engine_that_prints(tmp_path, "--rpc SERVERS")
    assert has_rpc(engine)
    with pytest.raises(CorralError, match="neither encrypted nor protected by a key"):
        check_rpc(engine, is_wanted=True)
