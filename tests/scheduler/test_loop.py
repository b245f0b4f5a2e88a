"""The scheduler's loop on recording doubles of children, in an event loop whose time is a number.

Time passes only when every task waits for it, so nothing here sleeps and minutes cost nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from array import array
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from corral.devices import CPU, Machine
from corral.errors import CorralError, QueueFullError, RunnerExitedError, RunnerStartError, SchedulingError
from corral.gpus import GPU
from corral.runner.interface import (
    CompletionRequest,
    Piece,
    Runner,
    RunnerFacts,
    RunnerSpec,
    TokenScores,
)
from corral.scheduler.loop import Lease, Scheduler
from corral.scheduler.shortage import is_out_of_memory
from corral.scheduler.spec import FOREVER_NS, LoadRequest, MemoryShape, SchedulerConfig
from corral.types import LoadOptions

GIB = 1 << 30
SECOND = 10**9
ROOMY = Machine(CPU(2, 2), 64 * GIB, 64 * GIB)


class InstantSelector(selectors.SelectSelector):
    """Instead of waiting for a timeout it moves the clock; waiting for nothing at all is a failure."""

    now_s = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            assert timeout is not None, "every task waits for ever"
            self.now_s += max(timeout, 0)
        return events


class InstantLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._instant = InstantSelector()
        super().__init__(self._instant)

    def time(self) -> float:
        return self._instant.now_s


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test in instant time."""
    with asyncio.Runner(loop_factory=InstantLoop) as runner:
        runner.run(asyncio.wait_for(test(), 10**7))


def clock_ns() -> int:
    return round(asyncio.get_running_loop().time() * 1e9)


class FakeRunner:
    """A child that does nothing but end."""

    def __init__(self, spec: RunnerSpec, factory: FakeFactory) -> None:
        self.spec = spec
        self.facts = RunnerFacts(spec.num_ctx, "", "", None, None, False, False, "")
        self.exited: asyncio.Future[RunnerExitedError] = asyncio.get_running_loop().create_future()
        self._factory = factory
        self.is_healthy: bool | Exception = True
        self.close_error: Exception | None = None
        self.is_closed = False

    def die(self, message: str = "gone") -> None:
        self.exited.set_result(RunnerExitedError(message))

    async def ping(self, timeout_s: float) -> bool:
        self._factory.log.append(f"ping {self.spec.weights_key}")
        await asyncio.sleep(0.1)
        if isinstance(self.is_healthy, Exception):
            raise self.is_healthy
        return self.is_healthy

    async def keep_prompts(self, timeout_s: float) -> None:
        self._factory.kept.append(self.spec.weights_key)
        await asyncio.sleep(self._factory.keep_s)
        self._factory.kept_whole.append(self.spec.weights_key)

    async def close(self) -> None:
        await asyncio.sleep(0.05)
        if not self.is_closed:
            self._factory.log.append(f"close {self.spec.weights_key}")
        self.is_closed = True
        if self.close_error is not None:
            raise self.close_error

    def complete(self, request: CompletionRequest) -> AbstractAsyncContextManager[AsyncIterator[list[Piece]]]:
        raise AssertionError("the scheduler never uses a runner")

    running_count = waiting_count = 0
    context_ratio = 0.0
    turn_bytes = 1

    async def score(
        self,
        prompt: str | list[int],
        tokens: Sequence[int],
        images: Sequence[bytes] = (),
        *,
        is_continued: bool = False,
    ) -> TokenScores:
        raise AssertionError("the scheduler never uses a runner")

    async def decide(self, body: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError("the scheduler never uses a runner")

    async def rerank(
        self, query: str, documents: Sequence[str], *, is_continued: bool = False
    ) -> tuple[list[float], int]:
        raise AssertionError("the scheduler never uses a runner")

    async def embed(
        self, inputs: Sequence[str] | Sequence[Sequence[int]], *, is_continued: bool = False
    ) -> tuple[list[array[float]], int]:
        raise AssertionError("the scheduler never uses a runner")

    async def tokenize(
        self, text: str, *, add_special: bool = False, parse_special: bool = True
    ) -> Sequence[int]:
        raise AssertionError("the scheduler never uses a runner")

    async def tokenize_many(self, texts: Sequence[str], *, parse_special: bool = True) -> list[Sequence[int]]:
        raise AssertionError("the scheduler never uses a runner")

    async def tokenize_pieces(
        self, text: str, *, add_special: bool = False, parse_special: bool = True
    ) -> list[tuple[int, str | list[int]]]:
        raise AssertionError("the scheduler never uses a runner")

    async def detokenize(self, tokens: Sequence[int]) -> str:
        raise AssertionError("the scheduler never uses a runner")


class FakeFactory:
    """Starts children that take a second; what happens is written to `log`."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.runners: list[FakeRunner] = []
        self.kept: list[str] = []
        self.kept_whole: list[str] = []
        self.keep_s = 0.0
        self.failures: dict[str, Exception] = {}
        self.load_s = 1.0
        self.progress_every_s = 0.0

    async def start(self, spec: RunnerSpec, on_progress: Callable[[float], None]) -> Runner:
        self.log.append(f"start {spec.weights_key}")
        try:
            loop = asyncio.get_running_loop()
            ready_at_s = loop.time() + self.load_s
            while self.progress_every_s and loop.time() + self.progress_every_s < ready_at_s:
                await asyncio.sleep(self.progress_every_s)
                on_progress(0.25)
            await asyncio.sleep(ready_at_s - loop.time())
        except asyncio.CancelledError:
            self.log.append(f"cancel {spec.weights_key}")
            raise
        if spec.weights_key in self.failures:
            raise self.failures[spec.weights_key]
        self.log.append(f"ready {spec.weights_key}")
        runner = FakeRunner(spec, self)
        self.runners.append(runner)
        return runner


def make(
    factory: FakeFactory, config: SchedulerConfig | None = None, machine: Machine = ROOMY, **more: Any
) -> Scheduler:
    async def measure() -> Machine:
        await asyncio.sleep(0)
        return machine

    return Scheduler(config or SchedulerConfig(), factory, measure=measure, clock_ns=clock_ns, **more)


def wish(key: str = "a", num_ctx: int = 0) -> LoadRequest:
    shape = MemoryShape(file_bytes=GIB, n_ctx_train=8192)
    return LoadRequest(
        Path(f"/m/{key}"), key, f"{key}:latest", "d" * 64, LoadOptions(num_ctx=num_ctx), shape=shape
    )


async def use(scheduler: Scheduler, request: LoadRequest, duration_s: float = 0, **kw: Any) -> Lease:
    async with scheduler.lease(request, kw.get("keep_alive_ns")) as lease:
        await asyncio.sleep(duration_s)
    return lease


async def settled() -> None:
    """Let what is under way end, a second at most."""
    await asyncio.sleep(1)


def test_load_reuse_expire() -> None:
    """One child serves both requests and is closed five minutes after the second."""

    async def test() -> None:
        factory = FakeFactory()
        async with make(factory) as scheduler:
            first = await use(scheduler, wish())
            second = await use(scheduler, wish())
            assert first.runner is second.runner
            ends_s = asyncio.get_running_loop().time() + 300
            await asyncio.sleep(299)
            assert factory.log == ["start a", "ready a"]
            await asyncio.sleep(1.2)
            assert factory.log == ["start a", "ready a", "close a"]
            assert factory.kept == ["a"]  # nobody waits: its prompts may be written
            assert asyncio.get_running_loop().time() == pytest.approx(ends_s, abs=0.5)
            assert scheduler.loaded() == []

    run(test)


def test_concurrent_requests_share_a_load() -> None:
    """Twenty requests, one child."""

    async def test() -> None:
        factory = FakeFactory()
        async with make(factory) as scheduler:
            leases = await asyncio.gather(*(use(scheduler, wish(), 1) for _ in range(20)))
            assert len({id(lease.runner) for lease in leases}) == 1
            assert factory.log == ["start a", "ready a"]

    run(test)


def test_a_warm_lease_does_not_yield() -> None:
    """On a loaded model the lease is there without giving any other task a turn."""

    async def test() -> None:
        async with make(FakeFactory()) as scheduler:
            await use(scheduler, wish())
            turns: list[str] = []
            other = asyncio.create_task(_append(turns, "other"))
            async with scheduler.lease(wish(), None):
                turns.append("leased")
            turns.append("ended")
            await other
            assert turns == ["leased", "ended", "other"]

    run(test)


async def _append(turns: list[str], turn: str) -> None:
    turns.append(turn)


def test_loaded_lists_ready_models_only() -> None:
    """A model appears when its load has finished, with what `/api/ps` needs, and stays the same until used."""

    async def test() -> None:
        factory = FakeFactory()
        async with make(factory) as scheduler:
            task = asyncio.create_task(use(scheduler, wish("a", 512), 5, keep_alive_ns=60 * SECOND))
            await asyncio.sleep(0.5)
            assert scheduler.loaded() == []
            await asyncio.sleep(1)
            [busy] = scheduler.loaded()
            assert (busy.name, busy.manifest_digest, busy.num_ctx) == ("a:latest", "d" * 64, 512)
            assert busy.size_bytes > GIB
            assert busy.size_vram_bytes == 0
            await task
            [idle] = scheduler.loaded()
            await asyncio.sleep(1)
            assert scheduler.loaded() == [idle]

    run(test)


def test_forever_is_292_years() -> None:
    """A model that is kept for ever shows Go's largest duration from the end of its last lease."""

    async def test() -> None:
        async with make(FakeFactory()) as scheduler:
            await use(scheduler, wish(), keep_alive_ns=-1)
            [info] = scheduler.loaded()
            years = (info.expires_at_ns - FOREVER_NS) / SECOND / 86400 / 365
            assert 50 < years < 150  # today, counted from 1970
            await asyncio.sleep(10**6)
            assert scheduler.loaded() == [info]

    run(test)


def test_cancelled_waiter_aborts_its_load() -> None:
    """The only waiter leaves: the child is killed, the next request starts another one."""

    async def test() -> None:
        factory = FakeFactory()
        async with make(factory) as scheduler:
            task = asyncio.create_task(use(scheduler, wish()))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await use(scheduler, wish())
            assert factory.log == ["start a", "cancel a", "start a", "ready a"]

    run(test)


@pytest.mark.parametrize("steps", range(8))
def test_a_cancellation_at_any_step_leaks_nothing(steps: int) -> None:
    """Whenever a request is cancelled around its grant, no lease stays behind: the model can be unloaded."""

    async def test() -> None:
        factory = FakeFactory()
        factory.load_s = 0
        async with make(factory) as scheduler:
            task = asyncio.create_task(use(scheduler, wish(), 100))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            scheduler.unload("a")
            await settled()
            assert scheduler.loaded() == []
            assert all(runner.is_closed for runner in factory.runners)
            await use(scheduler, wish())

    run(test)


def test_a_failed_load_is_told_to_all_and_not_remembered() -> None:
    """Both waiters get the error; a later request tries again."""

    async def test() -> None:
        factory = FakeFactory()
        factory.failures["a"] = RunnerStartError("llama-server process has terminated: exit status 1: bad")
        async with make(factory) as scheduler:
            results = await asyncio.gather(
                use(scheduler, wish()), use(scheduler, wish()), return_exceptions=True
            )
            assert [str(result) for result in results] == [str(factory.failures["a"])] * 2
            del factory.failures["a"]
            await use(scheduler, wish())

    run(test)


@pytest.mark.parametrize(
    ("error", "text"), [(ZeroDivisionError("bug"), "bug"), (MemoryError(), "MemoryError")]
)
def test_an_unforeseen_error_of_the_factory_does_not_wedge(error: Exception, text: str) -> None:
    """A bug below becomes an error of the requests, and other models load."""

    async def test() -> None:
        factory = FakeFactory()
        factory.failures["a"] = error
        async with make(factory) as scheduler:
            with pytest.raises(RunnerStartError, match=f"^error starting llama-server: {text}$"):
                await use(scheduler, wish())
            await use(scheduler, wish("b"))

    run(test)


def test_stalled_load() -> None:
    """A load without any sign of life is killed after the timeout; one that shows some may take longer."""

    async def test() -> None:
        factory = FakeFactory()
        factory.load_s = 1_000
        config = SchedulerConfig(load_timeout_ns=60 * SECOND)
        async with make(factory, config) as scheduler:
            with pytest.raises(RunnerStartError, match="timed out waiting for llama-server to start - "):
                await use(scheduler, wish())
            await settled()
            assert factory.log == ["start a", "cancel a"]
            factory.progress_every_s = 50
            await use(scheduler, wish("b"))
            assert factory.log[-2:] == ["start b", "ready b"]

    run(test)


def test_a_dead_child_is_replaced() -> None:
    """After an exit the old child is closed and the next request gets a new one; the old lease ends quietly."""

    async def test() -> None:
        factory = FakeFactory()
        async with make(factory) as scheduler:
            async with scheduler.lease(wish(), None) as lease:
                factory.runners[0].die()
                await asyncio.sleep(0)
                again = await use(scheduler, wish())
                assert again.runner is not lease.runner
            assert factory.log == ["start a", "ready a", "close a", "start a", "ready a"]
            assert len(scheduler.loaded()) == 1

    run(test)


@pytest.mark.parametrize("answer", [False, OSError("broken pipe")])
def test_a_hung_idle_child_is_replaced(answer: bool | Exception) -> None:
    """A child that does not answer after a long pause, in whatever way, never gets the request."""

    async def test() -> None:
        factory = FakeFactory()
        async with make(factory) as scheduler:
            await use(scheduler, wish())
            factory.runners[0].is_healthy = answer
            await asyncio.sleep(60)
            lease = await use(scheduler, wish())
            assert lease.runner is factory.runners[1]
            assert factory.log == ["start a", "ready a", "ping a", "close a", "start a", "ready a"]

    run(test)


def test_a_child_that_cannot_be_closed_does_not_wedge() -> None:
    """An error while closing is logged; the place is free."""

    async def test() -> None:
        factory = FakeFactory()
        async with make(factory, SchedulerConfig(max_loaded_models=1)) as scheduler:
            await use(scheduler, wish())
            factory.runners[0].close_error = OSError("stuck")
            await use(scheduler, wish("b"))
            assert [info.weights_key for info in scheduler.loaded()] == ["b"]

    run(test)


def test_eviction_waits_for_the_busy_one() -> None:
    """With one place a second model waits for the first one's lease, then gets the place."""

    async def test() -> None:
        factory = FakeFactory()
        async with make(factory, SchedulerConfig(max_loaded_models=1)) as scheduler:
            first = asyncio.create_task(use(scheduler, wish("a"), 30))
            await asyncio.sleep(2)
            await use(scheduler, wish("b"))
            assert first.done()
            assert factory.log == ["start a", "ready a", "close a", "start b", "ready b"]

    run(test)


def test_unload_is_immediate_when_idle_and_patient_when_busy() -> None:
    """`unload` returns at once; a running request is never cut."""

    async def test() -> None:
        factory = FakeFactory()
        async with make(factory) as scheduler:
            scheduler.unload("nothing")
            async with scheduler.lease(wish(), None):
                scheduler.unload("a")
                await asyncio.sleep(10)
                assert "close a" not in factory.log
            assert scheduler.loaded() == []
            await settled()
            assert factory.log[-1] == "close a"

    run(test)


def test_queue_full() -> None:
    """What is too much is refused at once, the rest is served."""

    async def test() -> None:
        async with make(FakeFactory(), SchedulerConfig(max_queue=1)) as scheduler:
            results = await asyncio.gather(
                *(use(scheduler, wish()) for _ in range(4)), return_exceptions=True
            )
            assert [type(result) for result in results] == [Lease, Lease, QueueFullError, QueueFullError]

    run(test)


def test_an_error_inside_a_lease_ends_it() -> None:
    """The caller's exception passes through and the runner is idle."""

    async def test() -> None:
        factory = FakeFactory()
        async with make(factory) as scheduler:
            with pytest.raises(KeyError):
                async with scheduler.lease(wish(), 0):
                    raise KeyError("x")
            await settled()
            assert factory.log[-1] == "close a"

    run(test)


def test_leaving_closes_everything() -> None:
    """Shutdown: waiters are told, loads cancelled, every child closed, later requests refused."""

    async def test() -> None:
        factory = FakeFactory()
        scheduler = make(factory)
        before = asyncio.all_tasks()
        async with scheduler:
            await use(scheduler, wish("a"))
            await use(scheduler, wish("b"))
            waiter = asyncio.create_task(use(scheduler, wish("c")))
            await asyncio.sleep(0.01)
            scheduler.unload("b")
            await asyncio.sleep(0.01)  # its end is under way
        with pytest.raises(SchedulingError, match="shutting down"):
            await waiter
        assert sorted(factory.log[4:]) == ["cancel c", "close a", "close b", "start c"]
        assert factory.kept == ["a"]  # b made room for somebody who waited
        with pytest.raises(SchedulingError, match="shutting down"):
            await use(scheduler, wish("a"))
        assert scheduler.loaded() == []
        assert asyncio.all_tasks() == before

    run(test)


def test_memory_of_a_gpu_is_awaited() -> None:
    """After a child left a GPU the next load waits until the driver has given its memory back."""

    async def test() -> None:
        factory = FakeFactory()
        free = [20 * GIB]

        async def measure() -> Machine:
            await asyncio.sleep(0)
            gpu = GPU(0, "RTX", "cuda", 24 * GIB, free[0])
            return Machine(CPU(2, 2), 64 * GIB, 64 * GIB, (gpu,))

        config = SchedulerConfig(max_loaded_models=1, ping_after_idle_ns=10**15)
        async with Scheduler(config, factory, measure=measure, clock_ns=clock_ns) as scheduler:
            await use(scheduler, wish("a"))
            [info] = scheduler.loaded()
            assert info.size_vram_bytes == info.size_bytes
            free[0] -= info.size_bytes
            loop = asyncio.get_running_loop()
            loop.call_later(3, lambda: free.__setitem__(0, 20 * GIB))
            started_s = loop.time()
            await use(scheduler, wish("b"))
            assert 4 <= loop.time() - started_s < 5  # 3 s for the driver, 1 s for the load
            # Memory that never comes back (another program took it) costs five seconds, not for ever.
            free[0] = 0
            started_s = loop.time()
            await use(scheduler, wish("a"))
            assert 6 <= loop.time() - started_s < 7

    run(test)


def test_many_clients_many_models() -> None:
    """A crowd on two places: everybody is served and every child but the last ones is closed."""

    async def test() -> None:
        factory = FakeFactory()
        config = SchedulerConfig(max_loaded_models=2)
        async with make(factory, config) as scheduler:

            async def client(number: int) -> None:
                for turn in range(5):
                    await asyncio.sleep((number * 7 + turn * 3) % 5 / 10)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1 + number % 3 if number % 4 == 0 else None):
                            await use(scheduler, wish("abcd"[(number + turn) % 4]), 0.3)

            async with asyncio.TaskGroup() as group:
                for number in range(40):
                    group.create_task(client(number))
            await settled()
            ready = sum(line.startswith("ready") for line in factory.log)
            closed = sum(line.startswith("close") for line in factory.log)
            assert ready - closed == len(scheduler.loaded()) <= 2

    run(test)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RunnerStartError("x", exit_code=-9), True),
        (RunnerStartError("x", exit_code=3, log_tail="E ggml_aligned_malloc: insufficient memory"), True),
        (RunnerStartError("cudaMalloc failed: out of memory"), True),
        (RunnerStartError("failed to allocate CUDA0 buffer of size 10"), True),
        (RunnerExitedError("x", log_tail="what():  std::bad_alloc"), True),
        (RunnerExitedError("x", log_tail="kIOGPUCommandBufferCallbackErrorOutOfMemory"), True),
        (RunnerExitedError("killed from outside", exit_code=-9), False),
        (RunnerStartError("failed to load model", exit_code=3), False),
        (CorralError("no such file"), False),
    ],
)
def test_is_out_of_memory(error: CorralError, expected: bool) -> None:
    """What the engines say when memory ran out, and what is something else."""
    assert is_out_of_memory(error) is expected


def test_weights_are_read_ahead() -> None:
    """From the moment a request comes that no runner can serve, also while room is made."""

    async def test() -> None:
        factory = FakeFactory()
        read: list[str] = []
        config = SchedulerConfig(max_loaded_models=1)
        async with make(factory, config, read_ahead=lambda path: read.append(path.name)) as scheduler:
            first = asyncio.create_task(use(scheduler, wish("a"), 30))
            await asyncio.sleep(2)
            await use(scheduler, wish("a"))
            assert read == ["a"]
            second = asyncio.create_task(use(scheduler, wish("b")))
            await asyncio.sleep(0.1)
            assert read == ["a", "b"]
            assert not first.done()
            await asyncio.gather(first, second)

    run(test)


def test_who_comes_does_not_wait_for_prompts_to_be_written() -> None:
    """They are given up then."""

    async def test() -> None:
        factory = FakeFactory()
        factory.keep_s = 9.0
        async with make(factory) as scheduler:
            await use(scheduler, wish("a"))
            scheduler.unload("a")
            await asyncio.sleep(1)
            assert factory.log == ["start a", "ready a"]
            started_s = asyncio.get_running_loop().time()
            await use(scheduler, wish("b"))
            assert asyncio.get_running_loop().time() - started_s < 2
            assert factory.kept == ["a"]

    run(test)


@pytest.mark.parametrize(("keep_s", "waited_s"), [(0.5, 0.5), (9.0, 2.0)])
def test_who_goes_on_waits_for_prompts_to_be_written(keep_s: float, waited_s: float) -> None:
    """For a bounded time: the prompt need not be computed again then."""

    async def test() -> None:
        factory = FakeFactory()
        factory.keep_s = keep_s
        async with make(factory) as scheduler:
            await use(scheduler, wish("a"))
            scheduler.unload("a")
            await asyncio.sleep(0)
            started_s = asyncio.get_running_loop().time()
            leased = asyncio.create_task(use(scheduler, wish("a")))
            while "close a" not in factory.log:
                await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() - started_s == pytest.approx(waited_s, abs=0.2)
            assert factory.kept_whole == (["a"] if keep_s == waited_s else [])
            await leased

    run(test)


def test_who_wants_it_otherwise_does_not_wait_for_prompts() -> None:
    async def test() -> None:
        factory = FakeFactory()
        factory.keep_s = 1.5
        async with make(factory) as scheduler:
            await use(scheduler, wish("a"))
            scheduler.unload("a")
            await asyncio.sleep(0)
            await use(scheduler, wish("a", num_ctx=77))
            assert factory.kept == ["a"] and factory.kept_whole == []

    run(test)
