"""What the event loop owes is measured."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from corral.metrics import lag
from corral.metrics.lag import LoopLag

if TYPE_CHECKING:
    import pytest


def test_a_callback_that_holds_the_loop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "_EVERY_S", 0.01)

    async def test() -> float:
        loop_lag = LoopLag()
        loop_lag.start()
        time.sleep(0.2)
        for _ in range(1000):
            if loop_lag.longest_s:
                break
            await asyncio.sleep(0.01)
        loop_lag.stop()
        return loop_lag.longest_s

    assert asyncio.run(test()) > 0.1
