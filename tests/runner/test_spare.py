"""A child that has imported the engine before anybody loads a model."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from corral.runner.factory import EngineFactory
from corral.runner.interface import CompletionRequest, EngineChoice, RunnerSpec
from corral.runner.process import child_variables
from corral.runner.spare import Spare, memory_is_short
from corral.types import SamplingOptions
from tests.conftest import Server
from tests.waiting import PATIENCE_S, wait_until

GIB = 1 << 30
ROOMY = (64 * GIB, 32 * GIB)
MODEL = Path(__file__).parent.parent / "fixtures" / "say.gguf"


@pytest.mark.parametrize(
    ("memory", "is_wanted", "expected"),
    [
        ((16 * GIB, 8 * GIB), False, False),
        ((4 * GIB, 2 * GIB), False, False),
        ((4 * GIB - 1, 2 * GIB), False, True),
        ((4 * GIB - 1, 2 * GIB), True, False),
        ((64 * GIB, GIB), False, False),
        ((64 * GIB, GIB - 1), False, True),
        ((64 * GIB, GIB - 1), True, True),
        ((0, 0), False, True),  # unknown
    ],
)
def test_small_machines_and_short_memory(memory: tuple[int, int], is_wanted: bool, expected: bool) -> None:
    assert memory_is_short(memory, is_wanted=is_wanted) is expected


class Kept:
    """A spare under conditions that the test changes."""

    def __init__(self, engine: EngineChoice | None = None, **settings: Any) -> None:
        self.memory = ROOMY
        self.is_idle = True
        self.engine = engine or EngineChoice()
        self.looks = 0
        self.spare = Spare(self.engine, self._look, look_s=0.05, **settings)

    def _look(self) -> tuple[int, int]:
        self.looks += 1
        return self.memory

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0.01)

    async def pid(self, other_than: int | None = None) -> int:
        await self.until(lambda: self.spare.pid not in (None, other_than))
        assert self.spare.pid is not None
        return self.spare.pid


@asynccontextmanager
async def kept(engine: EngineChoice | None = None, **settings: Any) -> AsyncIterator[Kept]:
    having = Kept(engine, **settings)
    async with having.spare.kept(lambda: having.is_idle):
        yield having


@pytest.mark.process
def test_a_model_is_loaded_in_the_spare_and_another_follows() -> None:
    async def test() -> None:
        async with kept() as having:
            first = await having.pid()
            factory = EngineFactory(having.engine, spare=having.spare)
            spec = RunnerSpec(MODEL, "say", num_ctx=256, num_thread=1, memory_limit_bytes=1 << 30)
            runner = await factory.start(spec, lambda _share: None)
            try:
                request = CompletionRequest("say a", SamplingOptions(temperature=0, num_predict=3))
                async with runner.complete(request) as batches:
                    pieces = [piece async for batch in batches for piece in batch]
                assert pieces[-1].final is not None
                assert await having.pid(other_than=first) != first
                if sys.platform == "linux":
                    limits = Path(f"/proc/{first}/limits").read_text()
                    assert (
                        next(line for line in limits.splitlines() if "data size" in line).split()[3:5]
                        == [str(1 << 30)] * 2
                    )
                    assert Path(f"/proc/{first}/oom_score_adj").read_text().strip() == "500"
            finally:
                await runner.close()
                factory.close()

    asyncio.run(test())


@pytest.mark.process
def test_it_is_for_one_engine_and_one_environment(tmp_path: Path) -> None:
    async def test() -> None:
        engine = EngineChoice(extra_env={"GGML_X": "1"})
        async with kept(engine) as having:
            pid = await having.pid()
            same = child_variables(engine.extra_env)
            assert having.spare.take(EngineChoice(package_folder=tmp_path), same) is None
            assert having.spare.take(engine, {**same, "GGML_X": "2"}) is None
            process = having.spare.take(engine, same)
            assert process is not None
            assert process.pid == pid
            await process.close()

    asyncio.run(test())


@pytest.mark.process
def test_none_while_others_work_or_memory_is_short() -> None:
    async def test() -> None:
        async with kept() as having:
            pid = await having.pid()
            having.memory = (64 * GIB, GIB // 2)
            await having.until(lambda: having.spare.pid is None)
            wait_until(lambda: not _is_alive(pid))
            having.is_idle = False
            having.memory = ROOMY
            seen = having.looks
            await having.until(lambda: having.looks >= seen + 2)
            assert having.spare.pid is None
            having.is_idle = True
            assert await having.pid() != pid

    asyncio.run(test())


@pytest.mark.process
def test_a_dead_one_is_replaced() -> None:
    async def test() -> None:
        async with kept() as having:
            pid = await having.pid()
            os.kill(pid, signal.SIGKILL)
            assert await having.pid(other_than=pid) != pid

    asyncio.run(test())


@pytest.mark.process
def test_it_ends_with_its_owner() -> None:
    async def test() -> int:
        async with kept() as having:
            return await having.pid()

    pid = asyncio.run(test())
    wait_until(lambda: not _is_alive(pid))


@pytest.mark.parametrize(
    ("engine", "wanted"), [(EngineChoice(), False), (EngineChoice(Path("/bin/true")), True)]
)
def test_off(engine: EngineChoice, wanted: bool) -> None:
    """Switched off, or of no use: a binary imports nothing."""

    async def test() -> None:
        having = Kept(engine, wanted=wanted)
        async with having.spare.kept(lambda: True):
            for _ in range(5):
                await asyncio.sleep(0)
            assert not [task for task in asyncio.all_tasks() if task.get_name() == "spare"]
            assert having.spare.pid is None

    asyncio.run(test())


@pytest.mark.process
def test_a_server_has_one_that_is_not_a_model(start_server: Callable[..., Server]) -> None:
    """The next model is loaded in it; `/api/ps` never lists it; it dies with the server, however that ends."""
    server = start_server(CORRAL_SPARE_ENGINE="1")
    wait_until(server.children)
    (spare,) = server.children()
    assert server.get("/api/ps")["models"] == []
    server.process.kill()
    wait_until(lambda: not _is_alive(spare))


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
