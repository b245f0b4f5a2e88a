"""Traces every request but those that only look whether the server is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corral import requestfacts, tracenotes
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.api.http.steps.request_line import is_polled
from corral.requestfacts import RequestFacts
from corral.tracenotes import Answered

if TYPE_CHECKING:
    from corral.traces.otel import Tracing


class TraceRequests:
    """The step, around all others. The answer tells its client of the trace."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        if is_polled(exchange.path):
            await following(exchange)
            return
        trace = self._tracing.begin(exchange.all_headers)
        facts = requestfacts.current()
        facts.trace_id = trace.trace_id if trace.notes is not None else ""
        tracenotes.begin(trace.notes, trace.outgoing)
        exchange.extra_headers += [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in trace.outgoing
        ]
        try:
            await following(exchange)
        finally:
            trace.end(_answered(exchange, facts), facts)


def _answered(exchange: Exchange, facts: RequestFacts) -> Answered:
    route = exchange.route
    # The class of an error is its kind; its text may hold anything.
    reason = (exchange.failure or facts.error).partition("(")[0]
    return Answered(
        "https" if exchange.is_encrypted else "http",
        exchange.method,
        exchange.path,
        route.path if route is not None else "",
        exchange.status,
        reason or ("refused" if exchange.refusal else ""),
    )
