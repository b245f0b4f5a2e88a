"""Pulls and pushes become numbers, by how they end."""

from __future__ import annotations

import asyncio

import pytest

from corral.metrics.text import PLAIN, render
from corral.metrics.transfers import ledger_family, transfer_families
from corral.registry.counts import TransferCounts


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
