"""Puts together what counts: the metrics for Prometheus, and the usage ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corral.access.keyring import Keyring
from corral.api.http.routing import Surface
from corral.api.http.steps import Step
from corral.api.http.steps.measure import Count, Measure, use_of
from corral.api.http.steps.trace import TraceRequests
from corral.api.native.answers import ERROR
from corral.api.operations.metrics import MetricsHandler
from corral.api.operations.parts import Watching
from corral.api.operations.routes import metrics_routes, operations_surface
from corral.api.operations.usage import UsageHandler
from corral.config import Settings
from corral.homefolder import home_folder
from corral.metrics.instruments import Family
from corral.metrics.lag import LoopLag
from corral.metrics.server import Served, ServerMetrics
from corral.metrics.transfers import Turns, ledger_family, transfer_families, weight_families
from corral.registry.counts import PeerCounts, TransferCounts
from corral.requestfacts import RequestFacts
from corral.scheduler.journal import Journal
from corral.scheduler.loop import Scheduler
from corral.traces.opening import open_tracing
from corral.usage.ledger import UsageLedger

if TYPE_CHECKING:
    from corral.traces.otel import Tracing


@dataclass(frozen=True, slots=True)
class Counting:
    """What is counted, as the settings have it; None is switched off."""

    settings: Settings
    lag: LoopLag
    metrics: ServerMetrics | None
    ledger: UsageLedger | None
    tracing: Tracing | None

    @classmethod
    def from_settings(cls, settings: Settings) -> Counting:
        lag, metrics, ledger = LoopLag(), None, None
        if settings.has_metrics:
            metrics = ServerMetrics(
                sources=[lag.family()],
                has_vllm_names=settings.has_vllm_metrics,
                has_keys=settings.has_key_metrics,
            )
        if settings.has_usage:
            path = settings.usage_db or home_folder() / "usage.sqlite3"
            ledger = UsageLedger(path.expanduser(), keep_days=settings.usage_keep_days)
            if metrics is not None:
                metrics.add([ledger_family(lambda: ledger.is_failing)])
        tracing = open_tracing(is_wanted=settings.has_traces)
        return cls(settings, lag, metrics, ledger, tracing)

    def journal(self) -> Journal:
        """A journal whose decisions are counted."""
        return Journal(self.metrics.decided) if self.metrics is not None else Journal()

    def watch(self, scheduler: Scheduler) -> None:
        if self.metrics is not None:
            self.metrics.watch(scheduler.states, scheduler.waiting)

    def add(self, families: Sequence[Family]) -> None:
        """Show what others count."""
        if self.metrics is not None:
            self.metrics.add(families)

    def watch_transfers(self, counts: TransferCounts) -> None:
        if self.metrics is not None:
            self.metrics.add(transfer_families(counts))

    def watch_weights(self, counts: PeerCounts, turns: Turns | None) -> None:
        """Show what other servers of the cluster send, and get."""
        self.add(weight_families(counts, turns))

    def steps(self) -> list[Step]:
        """What goes around everything that happens to a request."""
        counters: list[Count] = []
        if self.metrics is not None:
            counters.append(self.metrics.served)
        if self.ledger is not None:
            counters.append(self._use)
        measure: list[Step] = [Measure(counters)] if counters else []
        return [TraceRequests(self.tracing), *measure] if self.tracing is not None else measure

    def surface(self, journal: Journal, watching: Watching, keyring: Keyring) -> Surface:
        """The routes of `api/operations`."""
        usage = None
        metrics = None if self.settings.metrics_listen else self._metrics_handler()
        if self.ledger is not None:
            usage = UsageHandler(self.ledger, keyring.names)
        return operations_surface(journal, watching.queue, watching.top, metrics, usage)

    def side_surface(self) -> Surface:
        """What there is at the address for metrics alone."""
        handler = self._metrics_handler()
        assert handler is not None
        return Surface("operations", "", metrics_routes(handler), ERROR)

    def _metrics_handler(self) -> MetricsHandler | None:
        if self.metrics is None:
            return None
        return MetricsHandler(self.metrics, self.settings.models_dir / "blobs")

    def close(self) -> None:
        """Write down what was used, and send the last spans. Blocks."""
        if self.ledger is not None:
            self.ledger.close()
        if self.tracing is not None:  # may wait for a collector that does not answer
            self.tracing.close()

    def _use(self, served: Served, facts: RequestFacts) -> None:
        assert self.ledger is not None
        if served.is_use and not served.is_hop:
            self.ledger.note(use_of(served, facts))
