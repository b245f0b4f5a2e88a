"""Decisions as they are kept, followed and logged."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from corral.runner.interface import RunnerSpec
from corral.scheduler import reasons
from corral.scheduler.journal import Decision, Journal, line_of
from corral.scheduler.placement import Fit


def test_the_last_500_are_kept() -> None:
    journal = Journal()
    for i in range(600):
        journal.note("queued", f"m{i}", {})
    kept = journal.since()
    assert [decision.number for decision in kept] == list(range(101, 601))
    assert [decision.model for decision in journal.since(598)] == ["m598", "m599"]
    assert journal.since(600) == []


def test_whoever_watches_gets_each_as_it_is_made() -> None:
    seen: list[Decision] = []
    journal = Journal(seen.append, clock_ns=lambda: 7)
    journal.note("loaded", "m", {"seconds": 1.0}, cause="x", request="a")
    assert seen == [Decision(1, 7, "loaded", "m", "x", "a", {"seconds": 1.0})]


def test_followers_are_woken() -> None:
    async def test() -> None:
        journal = Journal()
        with journal.changes() as changed:
            assert not changed.is_set()
            journal.note("loaded", "m", {})
            assert changed.is_set()
            changed.clear()
        journal.note("loaded", "m", {})
        assert not changed.is_set()

    asyncio.run(test())


def test_a_level_of_zero_keeps_and_does_not_log(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal()
    with caplog.at_level(logging.DEBUG, "corral.scheduler"):
        journal.note("refused", "m", {}, level=logging.NOTSET)
    assert len(journal.since()) == 1
    assert not caplog.records


def test_words_of_a_line() -> None:
    facts: dict[str, int | float | str] = {
        "reason": "not loaded",
        "slots": 4,
        "seconds": 0.456,
        "predicted_bytes": 71_800_000,
        "error": 'a "b"',
    }
    line = line_of(Decision(1, 0, "loading", "m:latest", request="a1", facts=facts))
    words = 'reason="not loaded" slots=4 seconds=0.46 predicted="71.8 MB" error=a "b"'
    assert line == f"loading model=m:latest {words} request=a1"


SPEC = RunnerSpec(Path("m"), "m", num_ctx=2048)


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (reasons.idle_for(5_000_000_000), "idle"),
        (reasons.no_progress(1_000_000_000, 0.5), "stalled"),
        (reasons.reload("num_ctx 1 -> 2"), "reload"),
        (reasons.reload("num_ctx 1 -> 2", "m"), "reload"),
        (reasons.room("m", reasons.limit(1)), "room"),
        (reasons.room("m", reasons.shortfall(Fit(2, 1))), "room"),
        (reasons.retry(SPEC, SPEC), "memory"),
        (reasons.KEEP_ALIVE_ZERO, "requested"),
        (reasons.UNLOAD_REQUESTED, "requested"),
        (reasons.UNHEALTHY, "unhealthy"),
        (reasons.OUT_OF_MEMORY, "memory"),
        (reasons.ENDED, "ended"),
        (reasons.UNWANTED, "unwanted"),
        (reasons.NOT_LOADED, "wanted"),
        ("something new", "other"),
    ],
)
def test_reasons_have_a_cause(reason: str, cause: str) -> None:
    assert reasons.cause_of(reason) == cause
