"""Limits of callers: the step that admits requests, reservations of tokens, and the file of what was spent today.

What is true is kept beside it, by true time: when requests were admitted, and what an engine really made.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

from corral import allowance, caller
from corral.access import limits as limits_module
from corral.access.limits import DAY_S, WINDOW_S
from corral.access.spent import Spent
from corral.api.http.steps.limits import CheckLimits
from corral.caller import Caller, Limits
from corral.errors import RateLimitError, RunnerExitedError
from corral.runner.interface import CompletionRequest, Final, Piece, Runner
from corral.runner.metered import metered
from corral.types import SamplingOptions
from tests.simulation import patches
from tests.simulation.world import World

# How long an entry of a window counts beyond a minute at most.
_GRAIN_S = 0.11
# What was spent is in the file a second later, and writing takes a moment.
_UNWRITTEN_S = 1.2
_FEW_SUBJECTS = 4
_KINDS = {
    "at a time": "parallel",
    "a day": "day",
    "too many tokens": "tokens",
    "too many requests": "requests",
}


class _NoEngineError(Exception):
    """A caller whose handler fails."""


@dataclass(slots=True)
class Truth:
    """What one caller really did. Times are true ones."""

    limits: Limits
    admitted_s: list[float] = field(default_factory=list)
    used: list[tuple[float, int]] = field(default_factory=list)
    days: dict[int, int] = field(default_factory=dict)
    running: int = 0
    reserved: int = 0
    # Of the day, what a crash may have made the server forget.
    forgiven: int = 0
    noted: list[tuple[float, int]] = field(default_factory=list)


class LimitsWorld(World):
    name = "limits"
    invariants: ClassVar[dict[str, str]] = {
        "requests a minute": "in no 60 seconds more requests than allowed",
        "tokens a minute": "in no 60 seconds more tokens than allowed",
        "tokens a day": "on no day more tokens than allowed, over restarts too",
        "at a time": "never more requests at a time than allowed",
        "no false refusal": "nobody is refused who has not used up what is said",
        "when": "who comes again when it was said is not refused for the same",
        "settled": "at the end nothing is reserved, nothing runs, and what was used is what is counted",
        "bounded": "ledgers of strangers do not pile up",
    }

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        chance = self.chance
        self._folder = Path(tempfile.mkdtemp(prefix="corral-sim-", dir=patches.fast_folder()))
        self._is_crowded = self.maybe(0.15)
        self._most = chance.choice((_FEW_SUBJECTS, 8)) if self._is_crowded else 4096
        # Midnight comes in the middle of some runs.
        self.loop.epoch_s = 20_000.0 * DAY_S + (DAY_S - chance.uniform(1, 90) if self.maybe(0.3) else 40_000)
        self._truths = {f"k{i}": Truth(self._limits()) for i in range(chance.randint(1, 3))}
        if self._is_crowded:
            self._truths |= {f"k{i}": Truth(self._limits()) for i in range(3, 14)}
        self._step: CheckLimits
        self._spent: Spent

    def _limits(self) -> Limits:
        chance = self.chance
        return Limits(
            rpm=chance.choice((0, 2, 5)),
            tpm=chance.choice((0, 0, 60, 300)),
            tokens_per_day=chance.choice((0, 0, 100, 900)),
            max_parallel=chance.choice((0, 1, 2)),
            max_predict=chance.choice((0, 0, 20)),
        )

    async def live(self) -> None:
        try:
            with patches.replaced(limits_module, "_MAX_SUBJECTS", self._most):
                self._open()
                for _ in range(self.chance.choice((1, 1, 2))):
                    await self._period()
                    await self._restart()
                self._check_days()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self) -> None:
        self._spent = Spent(self._folder / "spent.json")
        self._spent.load()
        self._step = CheckLimits(Limits(), self._spent)

    async def _period(self) -> None:
        clients = []
        for name in self._truths:
            count = 1 if self._is_crowded else self.chance.randint(1, 4)
            clients += [self.spawn(self._client(name), f"client of {name}") for _ in range(count)]
        if self.maybe(0.2):
            clients.append(self.spawn(self._adjust_clock(), "clock"))
        await asyncio.wait(clients)
        self._check_settled()

    async def _restart(self) -> None:
        """The server ends, by itself or killed. Windows are forgotten, the day is not."""
        is_kill = self.maybe(0.4)
        self.note("the server is killed" if is_kill else "the server ends")
        if is_kill:
            for truth in self._truths.values():
                truth.forgiven += sum(used for at_s, used in truth.noted if at_s > self.now_s - _UNWRITTEN_S)
            if self._spent._timer is not None:
                self._spent._timer.cancel()
        else:
            self._spent.close()
        await asyncio.sleep(0.1)
        for truth in self._truths.values():
            truth.admitted_s.clear()
            truth.used.clear()
        self._open()

    async def _adjust_clock(self) -> None:
        await asyncio.sleep(self.chance.uniform(0, 60))
        by_s = self.chance.choice((-3600.0, -20.0, -0.5, 0.5, 20.0, 45.0))
        if int((self.loop.wall_s() + by_s) // DAY_S) == int(self.loop.wall_s() // DAY_S):
            self.note(f"the clock of the machine is set by {by_s:+} s")
            self.loop.epoch_s += by_s

    # --- clients ---

    async def _client(self, name: str) -> None:
        chance = self.chance
        for _ in range(chance.randint(1, 6)):
            await asyncio.sleep(chance.choice((0.0, chance.uniform(0, 1), chance.uniform(0, 30))))
            work = asyncio.ensure_future(self._ask(name))
            await asyncio.wait({work}, timeout=chance.uniform(0, 2) if self.maybe(0.2) else None)
            work.cancel()
            await asyncio.wait({work})
            if not work.cancelled():
                work.result()

    async def _ask(self, name: str) -> None:
        truth = self._truths[name]
        caller.begin(Caller(key_id=name, limits=truth.limits))
        exchange: Any = SimpleNamespace(extra_headers=[], route=SimpleNamespace(scope="infer"))
        try:
            await self._step(exchange, self._handler(name, truth))
        except RateLimitError as error:
            self.note(f"{name} is refused: {error}, again in {error.retry_after_s:.3f} s")
            self._check_refusal(name, truth, error)
        except (_NoEngineError, RunnerExitedError) as error:
            self.note(f"{name}: {type(error).__name__}")
        self._check_number()

    def _handler(self, name: str, truth: Truth) -> Any:
        async def handle(_exchange: Any) -> None:
            truth.running += 1
            truth.admitted_s.append(self.now_s)
            before = sum(truth.days.values())
            self.note(f"{name} is admitted")
            self._check_admitted(name, truth)
            try:
                await self._work(name, truth)
            finally:
                truth.running -= 1
                truth.noted.append((self.now_s, sum(truth.days.values()) - before))

        return handle

    async def _work(self, name: str, truth: Truth) -> None:
        """What a handler does: nothing, an answer, or several in turn."""
        chance = self.chance
        await asyncio.sleep(chance.uniform(0, 0.2))
        if self.maybe(0.1):
            raise _NoEngineError
        for _ in range(chance.choice((0, 1, 1, 2))):
            runner = metered(cast(Runner, _Engine(self, name, truth)))
            prompt = [1] * chance.randint(1, 30)
            wanted = chance.choice((-1, 5, 40, 400))
            request = CompletionRequest(prompt, SamplingOptions(num_predict=wanted))
            async with runner.complete(request) as pieces:
                async for _some in pieces:
                    if self.maybe(0.02):
                        break

    # --- what must hold ---

    def _check_admitted(self, name: str, truth: Truth) -> None:
        limits = truth.limits
        if limits.max_parallel:
            most = limits.max_parallel
            self.check(truth.running <= most, "at a time", lambda: f"{name}: {truth.running} of {most}")
        if limits.rpm and not self._is_crowded:
            count = sum(at_s > self.now_s - WINDOW_S for at_s in truth.admitted_s)
            self.check(count <= limits.rpm, "requests a minute", lambda: f"{name}: {count} of {limits.rpm}")

    def spend(self, name: str, truth: Truth, tokens: int) -> None:
        """An engine has made tokens, or read some."""
        truth.used.append((self.now_s, tokens))
        day = int(self.loop.wall_s() // DAY_S)
        truth.days[day] = truth.days.get(day, 0) + tokens
        if truth.limits.tpm and not self._is_crowded:
            used = sum(count for at_s, count in truth.used if at_s > self.now_s - WINDOW_S)
            most = truth.limits.tpm
            self.check(used <= most, "tokens a minute", lambda: f"{name}: {used} of {most}")

    def _check_days(self) -> None:
        for name, truth in self._truths.items():
            most = truth.limits.tokens_per_day
            for day, used in truth.days.items():
                allowed = most + truth.forgiven
                if most and not self._is_crowded:
                    self.check(used <= allowed, "tokens a day", f"{name}: {used} of {allowed} on day {day}")

    def _check_refusal(self, name: str, truth: Truth, error: RateLimitError) -> None:
        kind = next(kind for words, kind in _KINDS.items() if words in str(error))
        limits, now_s = truth.limits, self.now_s
        if self._is_crowded:
            return
        if kind == "parallel":
            is_true = truth.running >= limits.max_parallel
        elif kind == "requests":
            is_true = sum(at_s > now_s - WINDOW_S - _GRAIN_S for at_s in truth.admitted_s) >= limits.rpm
        elif kind == "tokens":
            used = sum(count for at_s, count in truth.used if at_s > now_s - WINDOW_S - _GRAIN_S)
            is_true = used + truth.reserved + 30 + 16 > limits.tpm
        else:
            used = truth.days.get(int(self.loop.wall_s() // DAY_S), 0)
            is_true = used + truth.reserved + 30 + 16 > limits.tokens_per_day
        self.check(is_true, "no false refusal", lambda: f"{name}: {error}")
        if kind == "requests":
            self._check_when(name, error)

    def _check_when(self, name: str, error: RateLimitError) -> None:
        """If nobody else comes meanwhile, the next request at that time is not refused for the same."""
        ledger = copy.deepcopy(self._step._ledgers._ledgers[f"key {name}"])
        ledger.running = 0
        then_s = self._clock_of_windows() + error.retry_after_s + 1e-6
        ledger.look(then_s, ledger.day)
        refusal = ledger.admit(then_s)
        is_same = refusal is not None and refusal.kind == "requests"
        self.check(not is_same, "when", lambda: f"{name}: refused again after {error.retry_after_s:.3f} s")

    def _clock_of_windows(self) -> float:
        return self.loop.time()

    def _check_number(self) -> None:
        in_use = sum(truth.running > 0 for truth in self._truths.values())
        count, most = len(self._step._ledgers), self._most + in_use + 1
        self.check(count <= most, "bounded", lambda: f"{count} ledgers, {most} allowed")

    def _check_settled(self) -> None:
        for subject, ledger in self._step._ledgers._ledgers.items():
            left = f"{subject} still runs {ledger.running} and has {ledger.reserved} reserved"
            self.check(not (ledger.running or ledger.reserved), "settled", left)
            truth = self._truths[subject.removeprefix("key ")]
            used = truth.days.get(ledger.day, 0)
            if truth.limits.tokens_per_day and not (truth.forgiven or self._is_crowded):
                counts = f"{subject} used {used} today, {ledger.spent_today} are counted"
                self.check(ledger.spent_today == used, "settled", counts)


class _Engine:
    """A runner that makes tokens, breaks, or is slow."""

    def __init__(self, world: LimitsWorld, name: str, truth: Truth) -> None:
        self._world, self._name, self._truth = world, name, truth
        self.spec: Any = None
        self.exited: Any = None
        self.facts: Any = SimpleNamespace(num_ctx=4096)
        self.tokenize = self.tokenize_many = self.tokenize_pieces = self.detokenize = None
        self.ping = self.keep_prompts = self.close = None

    @contextlib.asynccontextmanager
    async def complete(self, request: CompletionRequest) -> AsyncIterator[AsyncIterator[list[Piece]]]:
        reserved = 0
        if allowance.current() is not None and (self._truth.limits.tpm or self._truth.limits.tokens_per_day):
            reserved = len(request.prompt) + request.sampling.num_predict
        self._truth.reserved += reserved
        self._used = 0
        try:
            if self._world.maybe(0.1):
                await asyncio.sleep(0.1)
                raise RunnerExitedError("it broke before it began")
            await asyncio.sleep(self._world.chance.uniform(0, 0.5))
            self._used = len(request.prompt)
            yield self._pieces(request)
        finally:
            self._truth.reserved -= reserved
            self._world.spend(self._name, self._truth, self._used)

    async def _pieces(self, request: CompletionRequest) -> AsyncIterator[list[Piece]]:
        chance = self._world.chance
        wanted = request.sampling.num_predict
        count = min(wanted if wanted >= 0 else 50, chance.choice((3, 30, 1000)))
        breaks_at = chance.randint(0, 30) if self._world.maybe(0.15) else count
        done = 0
        while done < count:
            await asyncio.sleep(chance.choice((0.001, 0.01, 0.1)))
            if done >= breaks_at:
                raise RunnerExitedError("it broke")
            some = min(chance.choice((1, 5)), count - done)
            done += some
            self._used += some
            yield [Piece("x") for _ in range(some)]
        yield [Piece("", final=_final(len(request.prompt), done))]


def _final(prompt_count: int, count: int) -> Final:
    return Final("stop", prompt_count, 0, 1, count, 1)
