"""Pulls and pushes become numbers, by how they end."""

from __future__ import annotations

import asyncio

import pytest

from corral.library.upload_turns import NoTurnError, UploadTurns
from corral.metrics.text import PLAIN, render
from corral.metrics.transfers import ledger_family, transfer_families, weight_families
from corral.registry.counts import PEER_FAILURES, PeerCounts, TransferCounts


def test_ends() -> None:
    counts = TransferCounts()
    for kind, error in (
        ("pull", None),
        ("pull", OSError),
        ("pull", asyncio.CancelledError),
        ("push", ValueError),
    ):
        if error is None:
            with counts.watched(kind):
                continue
        with pytest.raises(error), counts.watched(kind):
            raise error
    counts.add_bytes(7)
    counts.add_retry()
    text = render(transfer_families(counts), PLAIN).decode()
    for line in (
        'corral_pulls_total{result="success"} 1',
        'corral_pulls_total{result="failed"} 1',
        'corral_pulls_total{result="cancelled"} 1',
        'corral_pushes_total{result="failed"} 1',
        "corral_pull_bytes_total 7",
        "corral_pull_retries_total 1",
        "# TYPE corral_pull_bytes_total counter",
    ):
        assert f"{line}\n" in text


def test_the_ledger_says_when_it_fails() -> None:
    state = [False]
    family = ledger_family(lambda: state[0])
    assert "corral_usage_failing 0\n" in render([family], PLAIN).decode()
    state[0] = True
    assert "corral_usage_failing 1\n" in render([family], PLAIN).decode()


def test_weights_of_a_cluster() -> None:
    """What came from other servers, what did not, and who was let fetch here."""
    counts, turns = PeerCounts(), UploadTurns(1)
    counts.add_range(1000, 0.5)
    counts.add_range(24, 0.25)
    counts.add_wait(1.5)
    for reason in (*PEER_FAILURES, "busy"):
        counts.add_failure(reason)
    with turns.turn("b"), pytest.raises(NoTurnError), turns.turn("c"):
        raise AssertionError
    text = render(weight_families(counts, turns), PLAIN).decode()
    for line in (
        "corral_cluster_weights_bytes_total 1024",
        "corral_cluster_weights_seconds_total 0.75",
        "corral_cluster_weights_waits_total 1",
        "corral_cluster_weights_wait_seconds_total 1.5",
        'corral_cluster_weights_failures_total{reason="busy"} 2',
        'corral_cluster_weights_failures_total{reason="lost"} 1',
        'corral_cluster_weights_turns_total{result="given"} 1',
        'corral_cluster_weights_turns_total{result="refused"} 1',
    ):
        assert f"{line}\n" in text
    assert "turns_total" not in render(weight_families(counts, None), PLAIN).decode()
