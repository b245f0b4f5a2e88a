"""What counting costs: metrics and the usage ledger, beside the same without them.

    python -m bench.bench_metrics [--rounds 15] [--requests 2000]

The step around each request and the notes of each token as the server has them, taking turns with nothing in their
place, in CPU time of all threads (the ledger's writes included); and the text of `/metrics` with 100 loaded models,
each with requests on three APIs, as long as it holds the event loop. Medians of the rounds. The budget is 20 µs a
request, 1.5 µs a token and 5 ms a look; the status is 1 if it is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from corral import requestfacts
from corral.api.http.exchange import Exchange
from corral.api.http.steps.measure import Measure, use_of
from corral.metrics.lag import LoopLag
from corral.metrics.server import Served, ServerMetrics
from corral.metrics.text import OPEN, PLAIN, render
from corral.requestfacts import RequestFacts
from corral.scheduler.spec import RunnerState
from corral.usage.ledger import UsageLedger

_MODELS = [f"registry.example/library/model-{number}:q4_K_M" for number in range(100)]
_SURFACES = {"native": "/api/chat", "openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
_TOKENS = 2000
_LOOKS = 5
_BUDGETS = {"µs a request": 20.0, "µs a token": 1.5, "ms a look, plain": 5.0, "ms a look, OpenMetrics": 5.0}


@dataclass(frozen=True, slots=True)
class Counted:
    """What counts, with requests to 100 models in it."""

    metrics: ServerMetrics
    ledger: UsageLedger

    def step(self) -> Measure:
        def use(served: Served, facts: RequestFacts) -> None:
            if served.is_use:
                self.ledger.note(use_of(served, facts))

        return Measure([self.metrics.served, use])


def counted(folder: Path) -> Counted:
    metrics = ServerMetrics(sources=[LoopLag().family()])
    states = [RunnerState(name, 5 << 30, 1 << 30, 4, 1, 0, 0.3) for name in _MODELS]
    metrics.watch(lambda: states, lambda: ())
    return Counted(metrics, UsageLedger(folder / "usage.sqlite3", keep_days=400))


async def requests(step: Measure | None, count: int) -> float:
    """CPU time in seconds of requests to all models and APIs, which do nothing."""
    exchanges = [
        SimpleNamespace(
            surface=surface, route=SimpleNamespace(path=path, scope="infer"), method="POST", status=200,
            failure="", refusal="", model=model,
        )
        for model in _MODELS for surface, path in _SURFACES.items()
    ]  # fmt: skip
    facts = requestfacts.begin("r")

    async def following(exchange: Exchange) -> None:
        facts.served_model = cast("Any", exchange).model

    facts.prompt_tokens, facts.cached_tokens, facts.tokens, facts.predicted_ns = 1000, 900, 200, 10**9
    facts.note_pieces(200)
    began_s = time.process_time()
    for number in range(count):
        exchange = cast("Exchange", exchanges[number % len(exchanges)])
        if step is None:
            await following(exchange)
        else:
            await step(exchange, following)
    return time.process_time() - began_s


def tokens(count: int, *, is_counted: bool) -> float:
    """CPU time in seconds of so many tokens that come one by one."""
    facts = RequestFacts()
    note: Callable[[int], None] = facts.note_pieces if is_counted else lambda _count: None
    began_s = time.process_time()
    for _ in range(count):
        note(1)
    return time.process_time() - began_s


def look(metrics: ServerMetrics, kind: str) -> float:
    """Seconds that the event loop is held; the best of a few, as others run on the machine."""
    best_s = float("inf")
    for _ in range(_LOOKS):
        began_s = time.thread_time()
        text = render(metrics.families, kind)
        best_s = min(best_s, time.thread_time() - began_s)
        assert len(text) > len(_MODELS) * 1000
    return best_s


def measure(rounds: int, count: int, folder: Path) -> dict[str, list[float]]:
    """By figure, one value for each round."""
    found: dict[str, list[float]] = {name: [] for name in _BUDGETS}
    all_counted = counted(folder)
    step = all_counted.step()
    for number in range(rounds + 1):
        with_s = asyncio.run(requests(step, count))
        without_s = asyncio.run(requests(None, count))
        token_s = tokens(_TOKENS, is_counted=True) - tokens(_TOKENS, is_counted=False)
        looks = [look(all_counted.metrics, kind) for kind in (PLAIN, OPEN)]
        if number:  # the first round begins all series
            values = ((with_s - without_s) / count * 1e6, token_s / _TOKENS * 1e6, *(s * 1e3 for s in looks))
            for name, value in zip(_BUDGETS, values, strict=True):
                found[name].append(value)
    all_counted.ledger.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=2000)
    arguments = parser.parse_args()
    is_kept = True
    with tempfile.TemporaryDirectory(prefix="corral-metrics-") as folder:
        found = measure(arguments.rounds, arguments.requests, Path(folder))
    for name, values in found.items():
        middle, budget = statistics.median(values), _BUDGETS[name]
        is_kept &= middle < budget
        print(f"{middle:.2f} {name} ({min(values):.2f} to {max(values):.2f}); the budget is {budget:g}")
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
