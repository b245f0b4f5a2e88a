"""What all worlds have in common: a seed, a trace, what must never happen, and a run to the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from corral import requestfacts
from tests.simulation import patches
from tests.simulation.loop import BEGIN_S, StuckError, VirtualLoop
from tests.simulation.threads import LoopBlockedError

# Nothing of Corral waits for longer than this without being asked to.
_END_S = 100_000.0


@dataclass(frozen=True, slots=True)
class Violation:
    """`invariant` is one of `World.invariants`, or "an end" and "no surprise", which all worlds have."""

    invariant: str
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a world did. `trace` is the same for the same seed, byte by byte."""

    world: str
    seed: int
    seconds: float
    trace: str
    violation: Violation | None = None


class World:
    """One run. Derive from it, and write `live`."""

    name: ClassVar[str]
    # What must hold whatever happens, by a short name.
    invariants: ClassVar[dict[str, str]]

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = Random(f"{self.name} {seed}")
        self.loop = VirtualLoop(Random(f"{self.name} {seed} below"))
        self.loop.set_exception_handler(self._on_loop_error)
        self._lines: list[str] = []
        self._violation: Violation | None = None

    async def live(self) -> None:
        """Everything that happens."""
        raise NotImplementedError

    # For those who write worlds.

    @property
    def now_s(self) -> float:
        """Since the beginning."""
        return self.loop.time() - BEGIN_S

    def note(self, text: str) -> None:
        """A line of the trace."""
        self._lines.append(f"{self.loop.time() - BEGIN_S:12.6f}  {text}")

    def check(self, holds: bool, invariant: str, detail: Callable[[], str] | str = "") -> None:
        """Something that must hold; the first that does not ends the run."""
        if not holds:
            self.fail(invariant, detail if isinstance(detail, str) else detail())

    def fail(self, invariant: str, detail: str) -> None:
        assert invariant in self.invariants or invariant in ("an end", "no surprise"), invariant
        if self._violation is None:
            self._violation = Violation(invariant, detail)
            self.note(f"VIOLATION {invariant}: {detail}")
            self.loop.stop()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """A task whose failure is a surprise, with facts of its own as a request has them."""

        async def run() -> None:
            requestfacts.begin(name)
            try:
                await work
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self.fail("no surprise", f"{name}: {type(error).__name__}: {error}")
                raise

        return self.loop.create_task(run(), name=name)

    def maybe(self, share: float) -> bool:
        return self.chance.random() < share

    # The run.

    def run(self) -> Outcome:
        with patches.running(self.loop):
            self._run()
        return Outcome(self.name, self.seed, self.now_s, "\n".join(self._lines) + "\n", self._violation)

    def _run(self) -> None:
        asyncio.set_event_loop(None)
        main = self.loop.create_task(self._live(), name="world")
        try:
            self.loop.run_until_complete(main)
        except StuckError as error:
            self.fail("an end", str(error))
        except LoopBlockedError as error:
            self.fail("no surprise", str(error))
        except BaseException as error:
            if self._violation is None:
                self.fail("no surprise", f"{type(error).__name__}: {error}")
        finally:
            self._tear_down()

    async def _live(self) -> None:
        async with asyncio.timeout(_END_S):
            await self.live()

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, LoopBlockedError):
            self.fail("no surprise", str(error))
        self.fail("no surprise", f"{context.get('message')}: {type(error).__name__}: {error}")

    def _tear_down(self) -> None:
        """After a violation much is still under way; none of it may speak any more."""
        self.loop.set_exception_handler(lambda _loop, _context: None)
        if self._violation is not None:
            tasks = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
            for task in tasks:
                task.cancel()
            with contextlib.suppress(StuckError):
                for _ in range(20):
                    self.loop.call_soon(self.loop.stop)
                    self.loop.run_forever()
        self.loop.threads.end_all()
        self.loop.close()


def simulate(kind: type[World], seed: int) -> Outcome:
    """Run one world; `patches.installed` has to be in force."""
    was_enabled = gc.isenabled()
    gc.disable()  # when it collects depends on what else the process has done
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        return kind(seed).run()
    finally:
        logging.disable(previous)
        if was_enabled:
            gc.enable()
