"""What the scheduler's log says: names, reasons, and for which request."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest

from corral import requestfacts
from corral.devices import CPU, Machine
from corral.errors import QueueFullError, RunnerStartError
from corral.gpus import GPU
from corral.scheduler.spec import SchedulerConfig
from tests.scheduler.test_loop import GIB, ROOMY, SECOND, FakeFactory, make, run, settled, use, wish

LOG = "corral.scheduler"


async def ask(
    scheduler: object, key: str, request_id: str, duration_s: float = 0
) -> requestfacts.RequestFacts:
    """A request with an id of its own; what was learned about it."""
    facts = requestfacts.begin(request_id)
    await use(scheduler, wish(key), duration_s)  # type: ignore[arg-type]
    return facts


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_loads_and_evictions_at_info(caplog: pytest.LogCaptureFixture) -> None:
    """The whole story of two models on one place, in four lines."""

    async def test() -> None:
        async with make(FakeFactory(), SchedulerConfig(max_loaded_models=1)) as scheduler:
            await ask(scheduler, "a", "1")
            await ask(scheduler, "b", "2")
            await settled()
            caplog.clear()
            await ask(scheduler, "a", "3")

    with caplog.at_level(logging.INFO, LOG):
        run(test)
    unloaded, loading, loaded = messages(caplog, logging.INFO)
    assert unloaded == 'unloaded model=b:latest reason="room for a:latest: limit of 1 loaded model" request=3'
    start = r'loading model=a:latest reason="not loaded" num_ctx=4096 slots=4 threads=2 predicted="1\.\d GB"'
    assert re.fullmatch(start + " request=3", loading)
    assert loaded == "loaded model=a:latest seconds=1.00 num_ctx=4096 slots=4 threads=2"


def test_expiry_and_unload(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody asked for the first, a request for the second."""

    async def test() -> None:
        async with make(FakeFactory()) as scheduler:
            await use(scheduler, wish("a"), keep_alive_ns=90 * SECOND)
            await asyncio.sleep(100)
            await use(scheduler, wish("b"))
            requestfacts.begin("7").model = "b"
            scheduler.unload("b")
            await settled()

    with caplog.at_level(logging.DEBUG, LOG):
        run(test)
    unloaded = [line for line in messages(caplog, logging.INFO) if line.startswith("unloaded")]
    assert unloaded == [
        'unloaded model=a:latest reason="idle for 1m30s"',
        'unloaded model=b:latest reason="unload requested"',
    ]
    assert "unload requested model=b request=7" in messages(caplog, logging.DEBUG)


def test_waits_are_explained_and_long_ones_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG each wait says for what; without it the one that lasts."""

    async def test() -> None:
        async with make(FakeFactory(), SchedulerConfig(max_loaded_models=1)) as scheduler:
            first = asyncio.create_task(ask(scheduler, "a", "1", 30))
            await asyncio.sleep(2)
            second = asyncio.create_task(ask(scheduler, "b", "2"))
            await first
            facts = await second
            assert facts.queue_ns == pytest.approx(29 * SECOND, rel=0.1)
            assert facts.load_ns == SECOND

    with caplog.at_level(logging.DEBUG, LOG):
        run(test)
    wait = "a:latest to become idle (room for b:latest: limit of 1 loaded model)"
    assert f'queued model=b:latest for="{wait}" request=2' in messages(caplog, logging.DEBUG)
    assert 'queued model=b:latest for="a:latest to be unloaded" request=2' in messages(caplog, logging.DEBUG)
    assert "granted model=b:latest runner=2 request=2" in messages(caplog, logging.DEBUG)
    assert f'waiting model=b:latest seconds=10 for="{wait}" request=2' in messages(caplog, logging.INFO)


def test_refusals_name_the_model_and_the_cause(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        factory = FakeFactory()
        factory.failures["a"] = RunnerStartError("no such tensor")
        async with make(factory, SchedulerConfig(max_queue=0)) as scheduler:
            first = asyncio.create_task(ask(scheduler, "a", "1"))
            await asyncio.sleep(0.1)
            with pytest.raises(QueueFullError):
                await ask(scheduler, "b", "2")
            with pytest.raises(RunnerStartError):
                await first

    with caplog.at_level(logging.INFO, LOG):
        run(test)
    refused = [line for line in messages(caplog, logging.INFO) if line.startswith("refused")]
    full = "server busy, please try again.  maximum pending requests exceeded"
    assert refused == [
        f'refused model=b:latest reason="{full}" request=2',
        'refused model=a:latest reason="no such tensor" request=1',
    ]
    assert messages(caplog, logging.WARNING) == ["load failed model=a:latest error=no such tensor"]


def test_aborts_and_pings(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        factory = FakeFactory()
        async with make(factory) as scheduler:
            task = asyncio.create_task(use(scheduler, wish("a")))
            await asyncio.sleep(0.5)
            task.cancel()
            await use(scheduler, wish("b"))
            factory.runners[0].is_healthy = False
            await asyncio.sleep(60)
            await use(scheduler, wish("b"))

    with caplog.at_level(logging.DEBUG, LOG):
        run(test)
    found = messages(caplog, logging.INFO)
    assert 'load aborted model=a:latest reason="no request waits for it any more"' in found
    assert 'unloaded model=b:latest reason="unhealthy: no answer to a ping"' in found
    assert "pinged model=b:latest healthy=False" in messages(caplog, logging.DEBUG)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (ROOMY, 'memory total="68.7 GB" free="68.7 GB"'),
        (
            Machine(CPU(2, 2), 64 * GIB, 64 * GIB, (GPU(0, "RTX", "cuda", 24 * GIB, 20 * GIB),)),
            'memory total="68.7 GB" free="68.7 GB" vram_total="25.8 GB" vram_free="21.5 GB"',
        ),
    ],
)
def test_measured_memory(caplog: pytest.LogCaptureFixture, machine: Machine, expected: str) -> None:
    """Memory of GPUs is mentioned where there are some."""

    async def test() -> None:
        async with make(FakeFactory(), machine=machine) as scheduler:
            await use(scheduler, wish("a"))

    with caplog.at_level(logging.DEBUG, LOG):
        run(test)
    assert expected in messages(caplog, logging.DEBUG)
