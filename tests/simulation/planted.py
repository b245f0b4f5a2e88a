"""Faults that are planted one at a time, to see that the simulation finds them.

A fault is a change of the text of one function. What is compiled of it takes the place of the code of that function,
so that everything else stays as it is. A text that is not found, or found twice, is an error.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from tests.simulation import patches
from tests.simulation.world import Outcome, simulate

# In how many seeds a fault has to be found.
MOST_SEEDS = 400


@dataclass(frozen=True, slots=True)
class Fault:
    """`old` becomes `new` in the function at `place`, which is `module:Class.function`. `was_real`: Corral had it."""

    world: str
    what: str
    place: str
    old: str
    new: str
    was_real: bool = False


@contextlib.contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """Have the fault for as long as the block lasts."""
    module_name, _, path = fault.place.partition(":")
    module = importlib.import_module(f"corral.{module_name}")
    function = _function(module, path)
    source = inspect.getsource(function)
    found = source.count(fault.old)
    if found != 1:
        raise LookupError(f"{fault.place} has the text of the fault {fault.what!r} {found} times")
    whole = inspect.getsource(module)
    changed = whole.replace(source, source.replace(fault.old, fault.new), 1)
    before = function.__code__
    after = _code(compile(changed, str(module.__file__), "exec", dont_inherit=True), function.__qualname__)
    function.__code__ = after
    try:
        yield
    finally:
        function.__code__ = before


def _function(module: Any, path: str) -> FunctionType:
    found: Any = module
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    if isinstance(found, property):
        found = found.fget
    function = inspect.unwrap(found)
    assert isinstance(function, FunctionType), path
    return function


def _code(code: CodeType, qualified_name: str) -> CodeType:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            if const.co_qualname == qualified_name:
                return const
            with contextlib.suppress(LookupError):
                return _code(const, qualified_name)
    raise LookupError(qualified_name)


def find(fault: Fault, *, most: int = MOST_SEEDS) -> Outcome | None:
    """The first seed that finds a fault; `patches.installed` has to be in force."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a violation ends is in the middle of its work
        with planted(fault):
            outcome = _first(fault.world, most)
        gc.collect()
    return outcome


def _first(world: str, most: int) -> Outcome | None:
    from tests.simulation.campaign import WORLDS

    outcomes = (simulate(WORLDS[world], seed) for seed in range(most))
    return next((outcome for outcome in outcomes if outcome.violation is not None), None)


def table() -> Iterator[tuple[Fault, Outcome | None]]:
    """All faults, each with what found it."""
    with patches.installed():
        for fault in FAULTS:
            yield fault, find(fault)


FAULTS = (
    # --- the scheduler and the supervisor of engines ---
    Fault(
        "scheduler",
        "a model is loaded while another one still ends",
        "scheduler.state:SchedulerState._pursue",
        "in {Phase.LOADING, Phase.STOPPING}:",
        "in {Phase.LOADING}:",
    ),
    Fault(
        "scheduler",
        "a model is loaded beside others whether it fits or not",
        "scheduler.placement:fit",
        "return Fit(plan.estimate.total_bytes, machine.free_bytes)",
        "return Fit(0, machine.free_bytes)",
    ),
    Fault(
        "scheduler",
        "the limit of loaded models is one too high",
        "scheduler.state:SchedulerState._pursue",
        "if len(movable) >= limit:",
        "if len(movable) > limit:",
    ),
    Fault(
        "scheduler",
        "a model whose time is over stays loaded",
        "scheduler.state:SchedulerState._end_lease",
        "runner.expires_at_ns = self._now_ns + runner.keep_alive_ns",
        "pass",
    ),
    Fault(
        "scheduler",
        "a model that works may be unloaded",
        "scheduler.state:SchedulerState._evict",
        "(runner for runner in order if runner.is_idle)",
        "(runner for runner in order)",
    ),
    Fault(
        "scheduler",
        "a request that is given up while it waits is not forgotten",
        "scheduler.state:SchedulerState._on_request_canceled",
        "if self._waiting.leave(event.ticket):",
        "if False:",
    ),
    Fault(
        "scheduler",
        "a load without progress is never given up",
        "scheduler.loaded:LoadedRunner.deadline_ns",
        "return self.last_sign_ns + load_timeout_ns if load_timeout_ns > 0 else None",
        "return None",
    ),
    Fault(
        "scheduler",
        "a queue of any length is full",
        "scheduler.state:SchedulerState._on_request_arrived",
        "len(self._waiting) > self._config.max_queue",
        "len(self._waiting) > 1",
    ),
    Fault(
        "scheduler",
        "an engine that says nothing is not noticed",
        "runner.engine:EngineRunner._watch_for_hang",
        "if self._hang_timeout_s <= 0:",
        "if True:",
    ),
    Fault(
        "scheduler",
        "the slot of a request that was broken off is not given back",
        "runner.engine:EngineRunner._slot",
        "            self._slots.give_back(turn)",
        "            self._may_be_stuck or self._slots.give_back(turn)",
    ),
    Fault(
        "scheduler",
        "an event of the engine that comes in two pieces is lost",
        "runner.engine:EngineRunner._pieces",
        "llama_server.take_events(tail + data,",
        "llama_server.take_events(data,",
    ),
    Fault(
        "scheduler",
        "an engine whose load was given up goes on",
        "runner.factory:EngineFactory._start",
        "        except BaseException:\n            await process.close()\n            raise\n        return runner",
        "        except BaseException:\n            raise\n        return runner",
    ),
    Fault(
        "scheduler",
        "engines outlive the server",
        "scheduler.loop:Scheduler.__aexit__",
        "await asyncio.gather(*(close(runner) for runner in runners))",
        "pass",
    ),
    # --- transfers ---
    Fault(
        "registry",
        "what arrived is not compared with its digest",
        "registry.download:BlobDownload._fetch_all",
        "if found_hex == self.digest.hex.lower():",
        "if found_hex:",
    ),
    Fault(
        "registry",
        "wrong bytes that an earlier attempt left cost another pull",
        "registry.download:BlobDownload._fetch_all",
        "self._has_doubtful = self.resumed_bytes > 0",
        "pass",
        was_real=True,
    ),
    Fault(
        "registry",
        "Retry-After of a storage is not heeded",
        "registry.download:BlobDownload._recover",
        "status != 429 and failures == 1",
        "failures == 1",
        was_real=True,
    ),
    Fault(
        "registry",
        "connections stay open after a transfer",
        "registry.transport:Transport.close",
        "close_pools(manager)",
        "manager.clear()",
        was_real=True,
    ),
    Fault(
        "registry",
        "the files of a download stay after it",
        "registry.part_state:PartFiles.finish",
        "self._remove_files()",
        "pass",
    ),
    Fault(
        "registry",
        "tokens go wherever the registry points",
        "registry.client:RegistryClient.is_own",
        'if mine.scheme != other.scheme or "@" in other.netloc:\n            return False',
        "return True",
    ),
    Fault(
        "registry",
        "redirects are followed without a bound",
        "registry.client:RegistryClient.follow",
        "range(_MAX_REDIRECTS + 1)",
        "range(1000)",
    ),
    Fault(
        "registry",
        "progress goes back where bytes are fetched again",
        "registry.active_downloads:Downloads.fetch",
        "reported = max(reported, min(shared.download.completed_bytes, size_bytes))",
        "reported = min(shared.download.completed_bytes, size_bytes)",
    ),
    Fault(
        "registry",
        "a slot is not given back",
        "registry.slots:HostSlots._release",
        "self._held[host] -= 1",
        "pass",
    ),
    # --- limits ---
    Fault(
        "limits",
        "a clock that is set changes the length of a minute",
        "api.http.steps.limits:CheckLimits._limited",
        "time.monotonic(), time.time()",
        "time.time(), time.time()",
        was_real=True,
    ),
    Fault(
        "limits",
        "what was reserved stays reserved",
        "access.limits:Ledger.settle",
        "self.reserved -= reserved",
        "pass",
    ),
    Fault(
        "limits",
        "requests at the same time use more tokens than allowed together",
        "access.limits:Ledger._short_of",
        "self.tokens.total + self.reserved + count - limits.tpm",
        "self.tokens.total + count - limits.tpm",
    ),
    Fault(
        "limits",
        "a minute has 50 seconds",
        "access.limits:Window.forget",
        "+ WINDOW_S <= now_s",
        "+ 50 <= now_s",
    ),
    Fault(
        "limits",
        "a restart gives everybody another day",
        "access.limits:Ledgers.find",
        "spent_today=self._spent(subject, day)",
        "spent_today=0",
    ),
    Fault(
        "limits",
        "a request that fails counts as one that runs",
        "api.http.steps.limits:CheckLimits._limited",
        "        finally:\n            ledger.leave()",
        "        finally:\n            pass",
    ),
    Fault(
        "limits",
        "room is never made for other callers",
        "access.limits:Ledgers._make_room",
        "if ledger.is_idle or (is_hard and not (ledger.running or ledger.reserved)):",
        "if False:",
    ),
    # --- the gateway of a cluster ---
    Fault(
        "cluster",
        "requests go to nodes that drain",
        "cluster.view:NodeView.is_usable",
        "self.health is Health.ALIVE and not self.is_draining and not self.is_open",
        "self.health is Health.ALIVE and not self.is_open",
    ),
    Fault(
        "cluster",
        "requests go to nodes that are not heard",
        "cluster.view:NodeView.is_usable",
        "self.health is Health.ALIVE and not self.is_draining and not self.is_open",
        "not self.is_draining and not self.is_open",
    ),
    Fault(
        "cluster",
        "a node that fails each time gets request after request",
        "cluster.breaker:Breaker.failed",
        "if len(circuit.failures) == FAILURES and",
        "if False and",
    ),
    Fault(
        "cluster",
        "a node that failed is tried again",
        "api.cluster.attempts:Attempts.run",
        "tried=self._wanted.tried | {routed.decision.node}",
        "tried=self._wanted.tried",
    ),
    Fault(
        "cluster",
        "a request goes on to any number of nodes",
        "cluster.retries:may_retry",
        "or attempt.number > max_further:",
        "or attempt.number > 9:",
    ),
    Fault(
        "cluster",
        "a request that failed counts as under way",
        "cluster.router:Router.failed",
        "self.directory.ended(routed.sent, now, is_measured=False)",
        "pass",
    ),
    Fault(
        "cluster",
        "what was set aside for a caller is not given back",
        "api.cluster.attempts:Attempts._there",
        "reservation.settle(facts.prompt_tokens + facts.tokens - before)",
        "pass",
    ),
    Fault(
        "cluster",
        "an answer that breaks off looks whole",
        "api.cluster.forwarding:_deliver",
        "await exchange.write(words)",
        "pass",
    ),
    Fault(
        "cluster",
        "an error follows the end of an answer",
        "api.cluster.forwarding:_deliver",
        "if pieces.is_over:",
        "if False:",
        was_real=True,
    ),
    Fault(
        "cluster",
        "a failure before the first byte is passed on although others could answer",
        "api.cluster.attempts:Attempts._may_go_on",
        "return may_retry(",
        "return False and may_retry(",
    ),
)
