"""The words in which the scheduler's decisions are kept and logged."""

from __future__ import annotations

import logging

from corral.errors import CorralError, InsufficientMemoryError
from corral.logs import Sparing
from corral.runner.interface import Runner
from corral.scheduler import instructions, reasons
from corral.scheduler.journal import Journal

_log = logging.getLogger("corral.scheduler")
_DEBUG, _INFO, _WARNING = logging.DEBUG, logging.INFO, logging.WARNING


class Decisions:
    """Writes to the journal. `model` is a model's name, `request` the id of the request for which it happens."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        # A crowd that is turned away must not fill the log.
        self._refusals = Sparing(_log, lines_per_minute=60)
        self._last_shortage: CorralError | None = None

    def queued(self, model: str, reason: str, request: str) -> None:
        self._journal.note("queued", model, {"for": reason}, level=_DEBUG, request=request)

    def waiting(self, model: str, seconds: int, reason: str, request: str) -> None:
        self._journal.note("waiting", model, {"seconds": seconds, "for": reason}, request=request)

    def refused(self, model: str, error: CorralError, request: str) -> None:
        level = _INFO
        if isinstance(error, InsufficientMemoryError) and error is not self._last_shortage:
            self._last_shortage = error  # the first of those who wait for the same load
            level = _WARNING
        if not self._refusals.may_write():
            level = logging.NOTSET
        cause = type(error).__name__
        self._journal.note(
            "refused", model, {"reason": str(error)}, level=level, cause=cause, request=request
        )

    def loading(self, order: instructions.StartLoad, request: str) -> None:
        spec = order.spec
        facts: dict[str, int | str] = {
            "reason": order.reason,
            "num_ctx": spec.num_ctx,
            "slots": spec.num_parallel,
            "threads": spec.num_thread,
            "predicted_bytes": order.predicted_bytes,
        }
        if spec.gpus.listed:
            facts["devices"] = reasons.devices_of(spec)
        self._journal.note("loading", spec.name, facts, cause=reasons.cause_of(order.reason), request=request)

    def load_failed(self, model: str, error: Exception, *, level: int) -> None:
        cause = type(error).__name__
        self._journal.note("load failed", model, {"error": str(error)}, level=level, cause=cause)

    def load_aborted(self, model: str, reason: str) -> None:
        self._journal.note("load aborted", model, {"reason": reason}, cause=reasons.cause_of(reason))

    def loaded(self, runner: Runner, seconds: float) -> None:
        spec = runner.spec
        facts: dict[str, int | float | str] = {
            "seconds": seconds,
            "num_ctx": min(spec.num_ctx, runner.facts.num_ctx),
            "slots": spec.num_parallel,
            "threads": spec.num_thread,
        }
        if (load := runner.facts.load) is not None:
            facts["devices"] = " ".join(
                f"{part.name}={reasons.size(part.size_bytes)}" for part in load.devices
            )
            facts["gpu_layers"] = f"{load.offloaded}/{load.layer_count}"
        self._journal.note("loaded", spec.name, facts)

    def ended(self, model: str, error: CorralError) -> None:
        cause = type(error).__name__
        self._journal.note("runner ended", model, {"error": str(error)}, level=_WARNING, cause=cause)

    def unloaded(self, model: str, reason: str, request: str) -> None:
        cause = reasons.cause_of(reason)
        self._journal.note("unloaded", model, {"reason": reason}, cause=cause, request=request)
