"""The guard of the event loop: it names work that uses processor time, and does not mind a busy machine."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from corral.loopguard import LoopGuard

if TYPE_CHECKING:
    import pytest


def work(seconds: float) -> None:
    """Use so much processor time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(1000))


async def beats(guard: LoopGuard, count: int = 5) -> None:
    """Wait until the guard has looked a few times more."""
    wanted = guard._beat_count + count
    while guard._beat_count < wanted:
        await asyncio.sleep(0.001)


async def run(*pieces: float, blocks: float = 0.0) -> float:
    """The longest piece of work that the guard saw, in seconds."""
    guard = LoopGuard(0.05)
    guard.start()
    await beats(guard)
    for seconds in pieces:
        work(seconds)
        await beats(guard)
    if blocks:
        time.sleep(blocks)
        await beats(guard)
    guard.stop()
    return guard.longest_s


def test_long_work_is_named(caplog: pytest.LogCaptureFixture) -> None:
    longest_s = asyncio.run(run(0.2))
    assert 0.15 < longest_s < 0.3
    (record,) = caplog.records
    assert "the event loop was held" in record.getMessage()
    assert "test_loopguard.py" in record.getMessage()


def test_short_work_and_waiting_are_not(caplog: pytest.LogCaptureFixture) -> None:
    """A thread that sleeps or is not scheduled uses no processor time: the machine's load is not measured."""
    assert asyncio.run(run(*[0.02] * 10, blocks=0.3)) < 0.05
    assert not caplog.records
