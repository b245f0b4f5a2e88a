"""The scheduler's rules, one by one: events in, instructions out, time as a number."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from corral.devices import CPU, Machine
from corral.errors import CorralError, InsufficientMemoryError, QueueFullError, RunnerStartError
from corral.gpus import GPU
from corral.runner.interface import RunnerSpec
from corral.scheduler import events as ev
from corral.scheduler import instructions as ins
from corral.scheduler import reasons
from corral.scheduler.loaded import Phase
from corral.scheduler.placement import Fit
from corral.scheduler.spec import FOREVER_NS, LoadRequest, MemoryShape, SchedulerConfig
from corral.scheduler.state import SchedulerState
from corral.types import LoadOptions

GIB = 1 << 30
SECOND = 10**9
MINUTE = 60 * SECOND
OOM = RunnerStartError("insufficient memory")


def wish(key: str = "a", *, gib: float = 0.1, **changes: Any) -> LoadRequest:
    """A request for a model of some size; `num_ctx=…` and other options go into its load options."""
    names = {field.name for field in dataclasses.fields(LoadOptions)}
    options = LoadOptions(**{name: changes.pop(name) for name in list(changes) if name in names})
    shape = MemoryShape(file_bytes=int(gib * GIB), n_ctx_train=8192)
    return LoadRequest(Path(f"/m/{key}"), key, f"{key}:latest", "d" * 64, options, shape=shape, **changes)


class Driver:
    """Plays the loop: sends events, keeps what came out, answers measurements with `free_gib`."""

    def __init__(
        self, *, free_gib: float = 64, total_gib: float = 64, gpus: tuple[GPU, ...] = (), **config: Any
    ) -> None:
        self.now = 1_000 * SECOND
        self.machine = Machine(CPU(4, 8), int(total_gib * GIB), int(free_gib * GIB), gpus)
        self.state = SchedulerState(SchedulerConfig(**config), self.machine)
        self.ticket = 0
        self.out: list[ins.Instruction] = []

    def send(self, event: ev.Event) -> list[ins.Instruction]:
        out = self.state.handle(event, self.now)
        for instruction in list(out):
            if isinstance(instruction, ins.ReadMemory):
                out += self.send(ev.MemoryReported(self.machine))
        self.out = out
        return out

    def ask(self, request: LoadRequest, keep_alive_ns: int | None = None) -> int:
        self.ticket += 1
        self.send(ev.RequestArrived(self.ticket, request, keep_alive_ns))
        return self.ticket

    def load(self, request: LoadRequest, keep_alive_ns: int | None = None) -> tuple[int, int]:
        """Ask for a model that has to be loaded, and load it: its ticket and its runner."""
        ticket = self.ask(request, keep_alive_ns)
        runner = self.started()
        assert self.send(ev.LoadSucceeded(runner))[0] == ins.Grant(ticket, runner)
        return ticket, runner

    def idle(self, request: LoadRequest, keep_alive_ns: int | None = None) -> int:
        """Load a model and end its only lease."""
        ticket, runner = self.load(request, keep_alive_ns)
        self.send(ev.LeaseEnded(ticket))
        return runner

    def refused_for_memory(self) -> int:
        """The ticket of the only instruction: a refusal that names sizes and what helps."""
        (refusal,) = self.of()
        assert isinstance(refusal, ins.Refuse)
        assert isinstance(refusal.error, InsufficientMemoryError)
        assert "num_ctx" in str(refusal.error)
        return refusal.ticket

    def started(self) -> int:
        return next(i.runner_id for i in self.out if isinstance(i, ins.StartLoad))

    def spec(self) -> Any:
        return next(i.spec for i in self.out if isinstance(i, ins.StartLoad))

    def start_reason(self) -> str:
        return next(i.reason for i in self.out if isinstance(i, ins.StartLoad))

    def explained(self) -> list[tuple[int, str]]:
        """Tickets, and what they were last said to wait for."""
        return [(i.ticket, i.reason) for i in self.out if isinstance(i, ins.Explain)]

    def of(self, *kinds: type) -> list[ins.Instruction]:
        """What came out last, without timers and explanations unless asked for."""
        silent = (ins.WakeAt, ins.Explain)
        return [i for i in self.out if (isinstance(i, kinds) if kinds else not isinstance(i, silent))]

    def sleep(self, duration_ns: int) -> list[ins.Instruction]:
        self.now += duration_ns
        return self.send(ev.TimerFired())

    def phase(self, runner: int) -> Phase | None:
        return next((r.phase for r in self.state.runners if r.runner_id == runner), None)

    def keep_alive(self, runner: int) -> int:
        return next(r.keep_alive_ns for r in self.state.runners if r.runner_id == runner)


# --- load and reuse ----------------------------------------------------------------------------------------


def test_first_request_measures_and_loads() -> None:
    """A cold request reads the memory, starts a child, and is granted once that is ready."""
    d = Driver()
    out = d.state.handle(ev.RequestArrived(1, wish()), d.now)
    assert out == [ins.ReadMemory()]
    out = d.state.handle(ev.MemoryReported(d.machine), d.now)
    assert [type(i) for i in out] == [ins.StartLoad, ins.Explain, ins.WakeAt]
    assert d.state.handle(ev.LoadSucceeded(1), d.now)[0] == ins.Grant(1, 1)


def test_one_load_serves_all_waiters() -> None:
    """Compatible requests that arrive during a load are all granted by it, in order."""
    d = Driver()
    first = d.ask(wish())
    runner = d.started()
    others = [d.ask(wish()) for _ in range(3)]
    assert d.of() == []
    d.send(ev.LoadSucceeded(runner))
    assert d.of() == [ins.Grant(t, runner) for t in (first, *others)]


def test_warm_request_is_granted_at_once() -> None:
    """A compatible request on a ready runner gives exactly one instruction."""
    d = Driver()
    _, runner = d.load(wish())
    ticket = d.ask(wish())
    assert d.out == [ins.Grant(ticket, runner)]


@pytest.mark.parametrize(
    ("have", "want", "difference"),
    [
        ({}, {}, ""),
        ({}, {"num_ctx": 4096}, ""),  # the automatic value itself
        ({}, {"num_ctx": 512}, "num_ctx 4096 -> 512"),
        ({"num_ctx": 512}, {}, "num_ctx 512 -> 4096"),
        ({"num_ctx": 512}, {"num_ctx": 512}, ""),
        ({"num_ctx": 8192}, {"num_ctx": 100_000}, ""),  # both clamp to what was trained
        ({"num_ctx": -5}, {"num_ctx": 4}, ""),
        ({}, {"num_batch": 512}, ""),
        ({}, {"num_batch": 64}, "num_batch 512 -> 64"),
        ({"num_batch": 64}, {}, "num_batch 64 -> 512"),
        ({"num_gpu": 7}, {}, ""),  # a negative wish matches anything
        ({}, {"num_gpu": 0}, "num_gpu automatic -> 0"),
        ({"num_gpu": 7}, {"num_gpu": 8}, "num_gpu 7 -> 8"),
        ({}, {"main_gpu": 0}, "main_gpu automatic -> 0"),
        ({}, {"use_mmap": False}, "use_mmap automatic -> off"),
        ({"use_mmap": False}, {"use_mmap": False}, ""),
        ({"use_mmap": False}, {}, "use_mmap off -> automatic"),
        ({}, {"num_thread": 2}, "num_thread automatic -> 2"),
        ({}, {"draft_num_predict": 0}, ""),  # no draft model: 0 is the default
        ({}, {"draft_num_predict": 8}, "draft_num_predict 0 -> 8"),
        ({"context_shift": True}, {"context_shift": False}, "context shift on -> off"),
        ({}, {"adapter_paths": (Path("/m/lora"),)}, "other adapters"),
        ({}, {"projector_paths": (Path("/m/proj"),)}, "another projector"),
        ({}, {"draft_path": Path("/m/draft")}, "another draft model"),
        ({}, {"is_embedding": True}, "embeddings off -> on"),
        ({"is_embedding": True}, {}, ""),
        (
            {"is_embedding": True, "pooling": "mean"},
            {"is_embedding": True, "pooling": "rank"},
            "pooling mean -> rank",
        ),
        ({"family": "llama"}, {"family": "other"}, ""),  # not a load-time matter
        ({}, {"num_ctx": 512, "num_gpu": 0}, "num_ctx 4096 -> 512, num_gpu automatic -> 0"),
    ],
)
def test_reuse_or_reload(have: dict[str, Any], want: dict[str, Any], difference: str) -> None:
    """The reload rule, option by option, and what the log says of it."""
    d = Driver()
    runner = d.idle(wish(**have))
    ticket = d.ask(wish(**want))
    if not difference:
        assert d.of() == [ins.Grant(ticket, runner)]
        return
    assert d.of() == [ins.StopRunner(runner, f"reload for a:latest: {difference}", ticket)]
    d.send(ev.RunnerStopped(runner))
    assert d.started() != runner
    assert d.start_reason() == f"reload: {difference}"


def test_another_name_for_the_same_weights_shares_the_runner() -> None:
    """The runner keeps the name under which it was first loaded."""
    d = Driver()
    runner = d.idle(wish())
    ticket = d.ask(dataclasses.replace(wish(), name="alias:latest", manifest_digest="e" * 64))
    assert d.of() == [ins.Grant(ticket, runner)]
    assert d.state.runners[0].origin.name == "a:latest"


def test_reload_waits_for_running_requests() -> None:
    """A reload stops the runner only when its last lease ends; compatible newcomers queue behind it."""
    d = Driver()
    running, runner = d.load(wish())
    d.ask(wish(num_ctx=512))
    assert d.of() == []
    late = d.ask(wish())
    assert d.of() == []
    d.send(ev.LeaseEnded(running))
    assert d.of() == [ins.StopRunner(runner, "reload for a:latest: num_ctx 4096 -> 512", 2)]
    d.send(ev.RunnerStopped(runner))
    assert d.spec().num_ctx == 512
    second = d.started()
    d.send(ev.LoadSucceeded(second))
    assert late not in [i.ticket for i in d.out if isinstance(i, ins.Grant)]
    assert d.phase(second) is Phase.READY


# --- what the log says -------------------------------------------------------------------------------------


def test_every_load_has_a_reason() -> None:
    """A model that is loaded for the first time was not loaded; the instruction says for whom it is loaded."""
    d = Driver()
    ticket = d.ask(wish())
    [start] = d.of(ins.StartLoad)
    assert isinstance(start, ins.StartLoad)
    assert (start.reason, start.ticket, start.spec.name) == ("not loaded", ticket, "a:latest")
    assert start.predicted_bytes > 0


def test_a_retry_says_what_it_gives_up() -> None:
    """The automatic context shrinks; without anything to shrink the model has the machine to itself."""
    failed = RunnerSpec(Path("/m/a"), "a", num_ctx=32768, num_parallel=1)
    smaller = dataclasses.replace(failed, num_ctx=4096)
    assert reasons.retry(failed, smaller) == "retry after out of memory: num_ctx 32768 -> 4096"
    assert reasons.retry(failed, failed) == "retry after out of memory: no other model is loaded"


def test_what_requests_wait_for() -> None:
    """Each wait is explained once, and again when it is for something else."""
    d = Driver(max_loaded_models=1)
    first = d.ask(wish("a"))
    runner = d.started()
    second = d.ask(wish("a"))
    assert d.explained() == [(second, "a:latest to be loaded")]
    other = d.ask(wish("b"))
    assert d.explained() == [(other, "a:latest to be loaded")]
    last = d.ask(wish("c"))
    assert d.explained() == [(last, "3 earlier requests")]
    d.send(ev.LoadSucceeded(runner))
    reason = "room for b:latest: limit of 1 loaded model"
    assert d.explained() == [(other, f"a:latest to become idle ({reason})")]
    d.send(ev.LeaseEnded(first))
    assert d.explained() == []
    d.send(ev.LeaseEnded(second))
    assert d.of() == [ins.StopRunner(runner, reason, other)]
    assert d.explained() == [(other, "a:latest to be unloaded")]
    d.send(ev.RunnerStopped(runner))
    assert d.explained() == [(other, "b:latest to be loaded"), (last, "b:latest to be loaded")]


def test_a_request_that_awaits_a_ping_says_so() -> None:
    """The pause before a lease on a runner that was idle for long has a name."""
    d = Driver()
    d.idle(wish(), -1)
    d.now += 31 * SECOND
    ticket = d.ask(wish())
    assert d.explained() == [(ticket, "a ping")]


@pytest.mark.parametrize(
    ("needed", "free", "expected"),
    [
        (5_100_000_000, 3_900_000_000, "needs 5.1 GB, 3.9 GB free"),
        (700_000_000, 800_000_000, "needs 700.0 MB, 800.0 MB free (at most 80% is used)"),
        (9_000, 0, "needs 9.0 KB, 0.0 KB free"),
    ],
)
def test_a_shortfall_has_numbers(needed: int, free: int, expected: str) -> None:
    """Where the sizes alone do not explain it, the share that may be used does."""
    assert reasons.shortfall(Fit(needed, free)) == expected


# --- keep_alive --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep_alive_ns", "held_ns", "shown"),
    [
        (None, 5 * MINUTE, "5m0s"),
        (SECOND, SECOND, "1s"),
        (1, 1, "1ns"),
        (3600 * SECOND, 3600 * SECOND, "1h0m0s"),
    ],
)
def test_expiry(keep_alive_ns: int | None, held_ns: int, shown: str) -> None:
    """An idle runner is stopped when its time is over, not a nanosecond before."""
    d = Driver()
    runner = d.idle(wish(), keep_alive_ns)
    assert d.sleep(held_ns - 1) == [ins.WakeAt(d.now + 1)]
    assert d.sleep(1) == [ins.StopRunner(runner, f"idle for {shown}")]


def test_keep_alive_zero_unloads_when_idle() -> None:
    """0 stops the runner with its last lease."""
    d = Driver()
    ticket, runner = d.load(wish(), 0)
    other = d.ask(wish())
    d.send(ev.LeaseEnded(ticket))
    assert d.of() == []
    d.send(ev.LeaseEnded(other))
    assert d.of() == [ins.StopRunner(runner, "keep_alive 0")]


@pytest.mark.parametrize("keep_alive_ns", [-1, -MINUTE, FOREVER_NS, 2 * FOREVER_NS])
def test_keep_alive_forever(keep_alive_ns: int) -> None:
    """Negative values and the largest duration never expire and show about 292 years."""
    d = Driver()
    runner = d.idle(wish(), keep_alive_ns)
    assert d.out == []
    assert d.state.runners[0].expires_at_ns == d.now + FOREVER_NS
    d.sleep(10**9 * SECOND)
    assert d.phase(runner) is Phase.READY


def test_a_request_without_keep_alive_keeps_the_last_explicit_value() -> None:
    """Explicit values stick to the runner; silence changes nothing."""
    d = Driver()
    runner = d.idle(wish(), 20 * SECOND)
    d.now += SECOND
    d.send(ev.LeaseEnded(d.ask(wish())))
    assert d.keep_alive(runner) == 20 * SECOND
    assert d.state.runners[0].expires_at_ns == d.now + 20 * SECOND
    d.send(ev.LeaseEnded(d.ask(wish(), 7 * MINUTE)))
    d.send(ev.LeaseEnded(d.ask(wish())))
    assert d.keep_alive(runner) == 7 * MINUTE


def test_the_timer_restarts_only_when_the_last_lease_ends() -> None:
    """A busy runner keeps its old `expires_at` and does not expire."""
    d = Driver()
    runner = d.idle(wish(), SECOND)
    before = d.state.runners[0].expires_at_ns
    one, two = d.ask(wish()), d.ask(wish())
    d.sleep(MINUTE)
    assert d.of() == []
    d.send(ev.LeaseEnded(one))
    assert d.state.runners[0].expires_at_ns == before
    d.send(ev.LeaseEnded(two))
    assert d.state.runners[0].expires_at_ns == d.now + SECOND
    assert d.phase(runner) is Phase.READY


def test_the_default_keep_alive_comes_from_the_settings() -> None:
    """OLLAMA_KEEP_ALIVE is what a fresh model gets."""
    d = Driver(keep_alive_ns=-1)
    assert d.keep_alive(d.idle(wish())) == FOREVER_NS


def test_an_early_timer_is_armed_again() -> None:
    """A timer that fires too early asks for the rest of the time."""
    d = Driver()
    d.idle(wish(), SECOND)
    due = d.now + SECOND
    assert d.sleep(SECOND // 2) == [ins.WakeAt(due)]


# --- unload ------------------------------------------------------------------------------------------------


def test_unload_of_an_idle_model() -> None:
    """Asked to unload, an idle runner stops at once; an unknown model is nothing."""
    d = Driver()
    runner = d.idle(wish())
    assert d.send(ev.UnloadRequested("nope")) == []
    assert d.send(ev.UnloadRequested("a")) == [ins.StopRunner(runner, "unload requested")]
    assert d.send(ev.UnloadRequested("a")) == []


def test_unload_never_interrupts() -> None:
    """A busy runner is unloaded when it becomes idle."""
    d = Driver()
    ticket, runner = d.load(wish())
    assert d.send(ev.UnloadRequested("a")) == []
    d.send(ev.LeaseEnded(ticket))
    assert d.of() == [ins.StopRunner(runner, "unload requested")]


def test_unload_during_the_load() -> None:
    """The waiters of a load still get their runner, and then it goes, whatever keep_alive they brought."""
    d = Driver()
    ticket = d.ask(wish(), MINUTE)
    runner = d.started()
    d.send(ev.UnloadRequested("a"))
    d.send(ev.LoadSucceeded(runner))
    assert d.of() == [ins.Grant(ticket, runner)]
    d.send(ev.LeaseEnded(ticket))
    assert d.of() == [ins.StopRunner(runner, "unload requested")]


def test_a_request_while_the_runner_stops_loads_anew() -> None:
    """A request that comes too late for the old child waits until it is gone."""
    d = Driver()
    runner = d.idle(wish())
    d.send(ev.UnloadRequested("a"))
    d.ask(wish())
    assert d.of() == []
    d.send(ev.RunnerStopped(runner))
    assert d.started() == runner + 1


# --- capacity and eviction ---------------------------------------------------------------------------------


def test_three_models_on_a_cpu() -> None:
    """MAX_LOADED_MODELS 0 means three; the fourth evicts the idle one with the shortest keep-alive."""
    d = Driver()
    long = d.idle(wish("a"), 30 * MINUTE)
    short = d.idle(wish("b"), MINUTE)
    d.idle(wish("c"), -1)
    d.ask(wish("d"))
    assert d.of() == [ins.StopRunner(short, "room for d:latest: limit of 3 loaded models", 4)]
    d.send(ev.RunnerStopped(short))
    assert d.spec().weights_key == "d"
    assert d.phase(long) is Phase.READY


def test_ties_are_broken_by_path() -> None:
    """Equal keep-alives: the first weights path goes."""
    d = Driver(max_loaded_models=2)
    d.idle(wish("z"))
    first = d.idle(wish("b"))
    d.ask(wish("c"))
    assert d.of() == [ins.StopRunner(first, "room for c:latest: limit of 2 loaded models", 3)]


def test_an_idle_runner_goes_before_a_busy_one() -> None:
    """Order counts among the idle ones first."""
    d = Driver(max_loaded_models=2)
    d.load(wish("a"), SECOND)
    idle = d.idle(wish("b"), -1)
    d.ask(wish("c"))
    assert d.of() == [ins.StopRunner(idle, "room for c:latest: limit of 2 loaded models", 3)]


def test_a_busy_victim_gets_no_new_leases() -> None:
    """A model in constant use must let a waiting model in: once marked, its next requests queue behind."""
    d = Driver(max_loaded_models=1)
    running, runner = d.load(wish("a"))
    waiting = d.ask(wish("b"))
    assert d.of() == []
    queued = d.ask(wish("a"))
    assert d.of() == []
    d.send(ev.LeaseEnded(running))
    assert d.of() == [ins.StopRunner(runner, "room for b:latest: limit of 1 loaded model", waiting)]
    d.send(ev.RunnerStopped(runner))
    second = d.started()
    d.send(ev.LoadSucceeded(second))
    assert d.of() == [ins.Grant(waiting, second)]
    d.send(ev.LeaseEnded(waiting))
    assert d.of() == [ins.StopRunner(second, "room for a:latest: limit of 1 loaded model", queued)]
    d.send(ev.RunnerStopped(second))
    d.send(ev.LoadSucceeded(d.started()))
    assert [i.ticket for i in d.out if isinstance(i, ins.Grant)] == [queued]


def test_other_loaded_models_are_served_while_one_waits_for_an_eviction() -> None:
    """Unlike Ollama, a waiting load blocks nobody whose model is there."""
    d = Driver(max_loaded_models=2)
    d.load(wish("a"), SECOND)
    _, other = d.load(wish("b"), -1)
    d.ask(wish("c"))
    ticket = d.ask(wish("b"))
    assert d.of() == [ins.Grant(ticket, other)]


def test_whichever_is_idle_first_is_evicted() -> None:
    """The marked runner stays when another one becomes idle sooner."""
    d = Driver(max_loaded_models=2)
    _, marked = d.load(wish("a"), SECOND)
    ticket, other = d.load(wish("b"), -1)
    d.ask(wish("c"))
    d.send(ev.LeaseEnded(ticket))
    assert d.of() == [ins.StopRunner(other, "room for c:latest: limit of 2 loaded models", 3)]
    late = d.ask(wish("a"))
    assert d.of() == [ins.Grant(late, marked)]


def test_a_cancelled_candidate_frees_its_victim() -> None:
    """When the request that wanted room leaves, the marked runner serves again."""
    d = Driver(max_loaded_models=1)
    _, runner = d.load(wish("a"))
    waiting = d.ask(wish("b"))
    queued = d.ask(wish("a"))
    d.send(ev.RequestCanceled(waiting))
    assert d.of() == [ins.Grant(queued, runner)]


def test_a_model_that_does_not_fit_evicts() -> None:
    """Beside others a model must be predicted to take at most 80 % of the free memory."""
    d = Driver(free_gib=8)
    runner = d.idle(wish("a"))
    d.ask(wish("b", gib=7))
    reason = "room for b:latest: needs 7.6 GB, 8.6 GB free (at most 80% is used)"
    assert d.of() == [ins.ReadMemory(), ins.StopRunner(runner, reason, 2)]
    d.send(ev.RunnerStopped(runner))
    assert d.spec().weights_key == "b"


def test_a_model_that_fits_is_loaded_beside() -> None:
    """With room for both nobody is evicted."""
    d = Driver(free_gib=8)
    d.idle(wish("a"))
    d.ask(wish("b", gib=5))
    assert d.spec().weights_key == "b"


def test_the_first_model_is_loaded_regardless() -> None:
    """With nothing else loaded the prediction does not matter."""
    d = Driver(free_gib=2)
    d.ask(wish("a", gib=40))
    assert d.spec().weights_key == "a"


def test_only_one_load_at_a_time() -> None:
    """A second model's load starts after the first one's end, with memory measured again."""
    d = Driver()
    d.ask(wish("a"))
    first = d.started()
    d.ask(wish("b"))
    assert d.of() == []
    d.send(ev.LoadSucceeded(first))
    assert [type(i) for i in d.of()] == [ins.Grant, ins.ReadMemory, ins.StartLoad]


# --- the queue ---------------------------------------------------------------------------------------------


def test_queue_bound() -> None:
    """One request is in hand, `max_queue` wait behind it, the next one is refused with the 503 text."""
    d = Driver(max_queue=2)
    d.ask(wish("a"))
    d.ask(wish("b"))
    d.ask(wish("a"))
    assert d.of() == []
    ticket = d.ask(wish("a"))
    [refusal] = d.of()
    assert isinstance(refusal, ins.Refuse)
    assert refusal.ticket == ticket
    assert isinstance(refusal.error, QueueFullError)
    assert str(refusal.error) == "server busy, please try again.  maximum pending requests exceeded"


def test_a_queue_of_zero_accepts_only_when_idle() -> None:
    """Cold requests one by one; warm requests never pass the queue."""
    d = Driver(max_queue=0)
    d.ask(wish("a"))
    first = d.started()
    d.ask(wish("b"))
    assert isinstance(d.of()[0], ins.Refuse)
    d.send(ev.LoadSucceeded(first))
    d.ask(wish("b"))
    runner = d.started()
    warm = d.ask(wish("a"))
    assert d.of() == [ins.Grant(warm, first)]
    d.send(ev.LoadSucceeded(runner))
    assert [type(i) for i in d.of()] == [ins.Grant]


def test_cancelled_requests_leave_the_queue() -> None:
    """A place in the queue is free as soon as its request is cancelled."""
    d = Driver(max_queue=0)
    first = d.ask(wish("a"))
    runner = d.started()
    d.send(ev.RequestCanceled(first))
    assert d.of() == [ins.AbortLoad(runner, "no request waits for it any more")]
    d.ask(wish("b"))
    assert d.of() == []
    d.send(ev.RunnerStopped(runner))
    assert d.spec().weights_key == "b"


# --- cancellation and failure ------------------------------------------------------------------------------


def test_the_last_waiter_to_leave_aborts_the_load() -> None:
    """A load goes on while anybody waits for it."""
    d = Driver()
    one = d.ask(wish())
    runner = d.started()
    two = d.ask(wish())
    d.send(ev.RequestCanceled(one))
    assert d.of() == []
    d.send(ev.RequestCanceled(two))
    assert d.of() == [ins.AbortLoad(runner, "no request waits for it any more")]


def test_success_after_an_abort_is_ignored() -> None:
    """A child that got ready while it was aborted is not used."""
    d = Driver()
    ticket = d.ask(wish())
    runner = d.started()
    d.send(ev.RequestCanceled(ticket))
    assert d.send(ev.LoadSucceeded(runner)) == []
    d.send(ev.RunnerStopped(runner))
    assert d.state.runners == ()


def test_cancel_after_the_grant_ends_the_lease() -> None:
    """A cancellation that crosses its grant never leaks a lease."""
    d = Driver()
    ticket, runner = d.load(wish(), 0)
    d.send(ev.RequestCanceled(ticket))
    assert d.of() == [ins.StopRunner(runner, "keep_alive 0")]
    assert d.send(ev.LeaseEnded(ticket)) == []


def test_a_failed_load_refuses_its_waiters_only() -> None:
    """Both waiters get the error; the request behind them gets its own load."""
    d = Driver()
    one = d.ask(wish("a"))
    runner = d.started()
    other = d.ask(wish("b"))
    two = d.ask(wish("a"))
    error = RunnerStartError("llama-server process has terminated: exit status 1: bad")
    d.send(ev.LoadFailed(runner, error))
    assert d.of(ins.Refuse) == [ins.Refuse(one, error), ins.Refuse(two, error)]
    assert d.spec().weights_key == "b"
    d.send(ev.LoadSucceeded(d.started()))
    assert [i.ticket for i in d.out if isinstance(i, ins.Grant)] == [other]


def test_an_exit_ends_the_leases_and_the_next_request_loads() -> None:
    """A dead child is reaped; ends of its leases that come later are harmless."""
    d = Driver()
    ticket, runner = d.load(wish())
    d.send(ev.RunnerExited(runner))
    assert d.of() == [ins.StopRunner(runner, "the engine process ended")]
    assert d.send(ev.LeaseEnded(ticket)) == []
    d.ask(wish())
    d.send(ev.RunnerStopped(runner))
    assert d.started() == runner + 1
    assert d.send(ev.RunnerExited(runner)) == []


def test_running_out_of_memory_expires_the_others() -> None:
    """After a child ran out of memory the idle ones go at once, the busy ones when they are idle."""
    d = Driver()
    _, victim = d.load(wish("a"))
    idle = d.idle(wish("b"))
    ticket, busy = d.load(wish("c"))
    d.send(ev.RunnerExited(victim, is_out_of_memory=True))
    room = "room for a:latest: out of memory"
    assert d.of() == [ins.StopRunner(victim, "out of memory"), ins.StopRunner(idle, room)]
    d.send(ev.LeaseEnded(ticket))
    assert d.of() == [ins.StopRunner(busy, room)]


def test_stall_timeout() -> None:
    """Only a load without any sign of life for the whole time is given up."""
    d = Driver(load_timeout_ns=MINUTE)
    ticket = d.ask(wish())
    runner = d.started()
    assert d.of(ins.WakeAt) == [ins.WakeAt(d.now + MINUTE)]
    d.now += 50 * SECOND
    d.send(ev.LoadProgressed(runner, 0.5))
    assert d.sleep(50 * SECOND) == [ins.WakeAt(d.now + 10 * SECOND)]
    d.sleep(10 * SECOND)
    refusal, abort = d.of()
    assert abort == ins.AbortLoad(runner, "no progress for 1m0s, 50% loaded")
    assert isinstance(refusal, ins.Refuse)
    assert refusal.ticket == ticket
    text = "timed out waiting for llama-server to start - no progress after 50% of the model"
    assert str(refusal.error) == text


@pytest.mark.parametrize("load_timeout_ns", [0, -1])
def test_no_stall_timeout(load_timeout_ns: int) -> None:
    """OLLAMA_LOAD_TIMEOUT of 0 or less waits for ever."""
    d = Driver(load_timeout_ns=load_timeout_ns)
    d.ask(wish())
    assert d.of(ins.WakeAt) == []
    assert d.sleep(10**6 * SECOND) == []


def test_out_of_memory_evicts_the_others_and_retries_once() -> None:
    """The second attempt has the machine to itself and one slot; a second failure is final."""
    d = Driver(total_gib=200)
    other = d.idle(wish("a"))
    ticket = d.ask(wish("b"))
    first = d.started()
    assert d.spec().num_parallel == 4
    d.send(ev.LoadFailed(first, OOM, is_out_of_memory=True))
    assert d.of(ins.StopRunner) == [ins.StopRunner(other, "room for b:latest: out of memory", ticket)]
    d.send(ev.RunnerStopped(other))
    second = d.started()
    assert d.spec().num_parallel == 1
    assert d.spec().memory_limit_bytes == d.machine.total_bytes
    assert d.start_reason() == "retry after out of memory: slots 4 -> 1, memory limit raised to 214.7 GB"
    d.send(ev.LoadFailed(second, OOM, is_out_of_memory=True))
    assert d.refused_for_memory() == ticket


def test_a_gpu_that_never_was_unloads_nothing() -> None:
    """Who asks for one on a machine without is refused at once; the loaded model stays, and others go on."""
    d = Driver()
    runner = d.idle(wish("a"))
    ticket = d.ask(wish("a", device_policy="require_gpu"))
    (refusal,) = d.of()
    assert isinstance(refusal, ins.Refuse)
    assert refusal.ticket == ticket
    assert "device_policy is require_gpu" in str(refusal.error)
    assert d.phase(runner) is Phase.READY
    assert d.of(ins.StopRunner) == []
    ticket = d.ask(wish("a"))
    assert d.of() == [ins.Grant(ticket, runner)]


def test_after_a_suspension_models_on_gpus_are_loaded_again() -> None:
    """Idle ones at once, busy ones when they are idle; those on the processor stay."""
    gpu = GPU(0, "RTX", "cuda", 24 << 30, 24 << 30, device="CUDA0")
    d = Driver(gpus=(gpu,))
    idle = d.idle(wish("a"))
    ticket, busy = d.load(wish("b"))
    on_cpu = d.idle(wish("c", device_policy="cpu"))
    d.send(ev.MachineResumed())
    assert d.of(ins.StopRunner) == [ins.StopRunner(idle, "the machine was suspended")]
    assert (d.phase(busy), d.phase(on_cpu)) == (Phase.READY, Phase.READY)
    d.send(ev.LeaseEnded(ticket))
    assert d.of(ins.StopRunner) == [ins.StopRunner(busy, "the machine was suspended")]


def test_out_of_memory_with_nothing_to_give_up() -> None:
    """An explicit setup that had the whole machine is not tried twice."""
    d = Driver(total_gib=1, num_parallel=1)
    ticket = d.ask(wish(num_ctx=4096))
    d.send(ev.LoadFailed(d.started(), OOM, is_out_of_memory=True))
    assert d.refused_for_memory() == ticket


def test_every_error_class_reaches_the_waiter() -> None:
    """A refusal carries the very error of the load."""
    d = Driver()
    ticket = d.ask(wish())
    error = CorralError("x")
    d.send(ev.LoadFailed(d.started(), error))
    assert d.of() == [ins.Refuse(ticket, error)]


# --- the ping before a lease -------------------------------------------------------------------------------


def test_a_long_idle_runner_is_pinged_first() -> None:
    """After a long pause one ping decides for all who arrive meanwhile; they do not pass the queue."""
    d = Driver(max_queue=0)
    runner = d.idle(wish(), -1)
    d.now += 31 * SECOND
    one = d.ask(wish())
    assert d.of() == [ins.PingRunner(runner)]
    two = d.ask(wish())
    assert d.of() == []
    d.send(ev.PingAnswered(runner, is_healthy=True))
    assert d.of() == [ins.Grant(one, runner), ins.Grant(two, runner)]


def test_a_silent_runner_is_replaced() -> None:
    """No answer: the child is killed and the request gets a fresh one."""
    d = Driver()
    runner = d.idle(wish(), -1)
    d.now += 31 * SECOND
    ticket = d.ask(wish())
    d.send(ev.PingAnswered(runner, is_healthy=False))
    assert d.of() == [ins.StopRunner(runner, "unhealthy: no answer to a ping")]
    d.send(ev.RunnerStopped(runner))
    second = d.started()
    d.send(ev.LoadSucceeded(second))
    assert d.of() == [ins.Grant(ticket, second)]


def test_a_ping_whose_request_left() -> None:
    """The runner is idle again, and unloaded if that was asked for meanwhile."""
    d = Driver()
    runner = d.idle(wish(), -1)
    d.now += 31 * SECOND
    ticket = d.ask(wish())
    d.send(ev.RequestCanceled(ticket))
    d.send(ev.UnloadRequested("a"))
    d.send(ev.PingAnswered(runner, is_healthy=True))
    assert d.of() == [ins.StopRunner(runner, "unload requested")]


def test_a_busy_runner_is_not_pinged() -> None:
    """While it works its own watchdog looks after it."""
    d = Driver()
    _, runner = d.load(wish())
    d.now += MINUTE
    ticket = d.ask(wish())
    assert d.of() == [ins.Grant(ticket, runner)]


# --- what comes too late, or from nobody -------------------------------------------------------------------


def test_who_left_before_cannot_leave_again() -> None:
    """A cancellation may cross the answer, or come for a request that never was."""
    d = Driver()
    ticket, runner = d.load(wish(), -1)
    d.send(ev.LeaseEnded(ticket))
    for gone in (ticket, 99):
        assert d.send(ev.RequestCanceled(gone)) == []
    assert (d.phase(runner), d.state.lease_count, d.state.waiting_count) == (Phase.READY, 0, 0)


def test_progress_that_comes_too_late() -> None:
    """Of a runner that is ready, that is stopped and that is gone: none of it counts."""
    d = Driver(load_timeout_ns=10 * SECOND)
    ticket = d.ask(wish())
    runner = d.started()
    d.send(ev.LoadProgressed(runner, 0.5))
    d.send(ev.LoadProgressed(runner, -1.0))  # a sign of life that does not say how far it is
    (loading,) = d.state.runners
    assert (loading.load_share, loading.last_sign_ns) == (0.5, d.now)
    d.send(ev.RequestCanceled(ticket))
    d.now += SECOND
    assert d.send(ev.LoadProgressed(runner, 0.9)) == []
    assert (loading.load_share, loading.last_sign_ns) == (0.5, d.now - SECOND)
    d.send(ev.RunnerStopped(runner))
    assert d.send(ev.LoadProgressed(runner, 1.0)) == []


def test_a_failure_of_a_load_that_nobody_wants() -> None:
    """The answer to the abort follows; until then its memory is not back, and nothing else is loaded."""
    d = Driver()
    ticket = d.ask(wish("a"))
    runner = d.started()
    other = d.ask(wish("b"))
    d.send(ev.RequestCanceled(ticket))
    assert d.send(ev.LoadFailed(runner, OOM, is_out_of_memory=True)) == []
    assert d.phase(runner) is Phase.STOPPING
    d.send(ev.RunnerStopped(runner))
    d.send(ev.LoadSucceeded(d.started()))
    assert [i.ticket for i in d.out if isinstance(i, ins.Grant)] == [other]


def test_an_answer_to_a_ping_that_nobody_waits_for() -> None:
    d = Driver()
    runner = d.idle(wish(), -1)
    for healthy in (True, False):
        assert d.send(ev.PingAnswered(runner, healthy)) == []
        assert d.send(ev.PingAnswered(99, healthy)) == []
    assert d.phase(runner) is Phase.READY


# --- other settings and other machines ---------------------------------------------------------------------


def test_a_model_with_other_settings_of_the_engine_is_loaded_again() -> None:
    """Unless only its vocabulary is needed."""
    d = Driver()
    runner = d.idle(wish())
    vocabulary = wish(engine=(("num_parallel", 2),), takes_any_runner=True)
    d.send(ev.LeaseEnded(d.ask(vocabulary)))
    assert d.phase(runner) is Phase.READY
    d.ask(wish(engine=(("num_parallel", 2),)))
    assert d.of() == [ins.StopRunner(runner, "reload for a:latest: other settings of the engine", d.ticket)]
    d.send(ev.RunnerStopped(runner))
    assert d.spec().num_parallel == 2
    assert d.start_reason() == "reload: other settings of the engine"


def test_a_model_that_must_be_on_a_gpu_where_there_is_none() -> None:
    """It is refused before anything has to go for it; one for the processor is not."""
    d = Driver(max_loaded_models=1, device_policy="require_gpu")
    ticket = d.ask(wish("a"))
    (refusal,) = d.of()
    assert isinstance(refusal, ins.Refuse) and refusal.ticket == ticket
    assert "a:latest must run on a GPU" in str(refusal.error)
    assert "none that the engine can use" in str(refusal.error)
    d.load(wish("b", device_policy="cpu"))
    d.ask(wish("a"))
    assert [type(i) for i in d.of()] == [ins.Refuse]


def test_a_model_that_must_be_on_a_gpu_that_has_no_room() -> None:
    d = Driver(gpus=(GPU(0, "card", "cuda", 8 * GIB, GIB, device="CUDA0"),), device_policy="require_gpu")
    ticket = d.ask(wish("a", gib=4, num_gpu=0))
    (refusal,) = d.of(ins.Refuse)
    assert isinstance(refusal, ins.Refuse) and refusal.ticket == ticket
    assert "found: card" in str(refusal.error)


def test_how_a_model_was_started_in_the_end() -> None:
    """The engine may have got less than was planned: what it has decides whom it serves."""
    d = Driver()
    ticket = d.ask(wish(num_ctx=4096))
    spec = dataclasses.replace(d.spec(), num_ctx=2048)
    runner = d.started()
    d.send(ev.LoadSucceeded(runner, spec))
    assert d.of(ins.Grant) == [ins.Grant(ticket, runner)]
    assert d.state.runners[0].spec == spec
    d.send(ev.LeaseEnded(ticket))
    d.ask(wish(num_ctx=2048))
    assert d.of() == [ins.Grant(d.ticket, runner)]


def test_memory_is_measured_once_at_a_time() -> None:
    """Whatever happens until the answer is there; then it holds for one load."""
    d = Driver()
    assert d.state.handle(ev.RequestArrived(1, wish("a")), d.now) == [ins.ReadMemory()]
    out = d.state.handle(ev.RequestArrived(2, wish("b")), d.now)
    out += d.state.handle(ev.RequestCanceled(1), d.now)
    assert [i for i in out if isinstance(i, ins.ReadMemory)] == []
    out = d.state.handle(ev.MemoryReported(d.machine), d.now)
    assert [i.spec.weights_key for i in out if isinstance(i, ins.StartLoad)] == ["b"]
    d.state.handle(ev.LoadSucceeded(1), d.now)
    assert ins.ReadMemory() in d.state.handle(ev.RequestArrived(3, wish("c")), d.now)


def test_whichever_is_idle_first_makes_room() -> None:
    """One of several has to go for memory: that was measured, and holds until one of them is idle."""
    d = Driver(free_gib=2)
    first, _ = d.load(wish("a"))
    second, other = d.load(wish("b"))
    large = d.ask(wish("c", gib=8))
    assert d.of() == [ins.ReadMemory()]
    ((ticket, reason),) = d.explained()
    assert ticket == large and reason.startswith("a:latest to become idle (room for c:latest: ")
    d.send(ev.LeaseEnded(second))
    (stop,) = d.of()
    assert isinstance(stop, ins.StopRunner) and (stop.runner_id, stop.ticket) == (other, large)
    assert stop.reason == reason.removeprefix("a:latest to become idle (").removesuffix(")")
    d.send(ev.LeaseEnded(first))
