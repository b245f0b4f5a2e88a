"""Spans of requests: one for HTTP, one for the model's work in it, and one for each of its phases.

Names and attributes are those of OpenTelemetry's conventions for HTTP servers and for generative AI. Spans are
made when their request ends, of what was noted: while tokens come, nothing is done for them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

from opentelemetry import propagate
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from corral import __version__
from corral.requestfacts import RequestFacts
from corral.tracenotes import Answered, TraceNotes, Value
from corral.traces.exporters import exporters, log_sparingly
from corral.urlsecrets import without_userinfo

_log = logging.getLogger("corral.traces")
# How long the end of the server waits for the last spans to be sent.
_CLOSE_TIMEOUT_S = 2.0
_UNKNOWN_SERVICE = "unknown_service"
_MAX_NAME_CHARS = 100
# What a route does in the words of the conventions; other routes are HTTP only.
_OPERATIONS = {
    "/api/chat": "chat",
    "/api/generate": "text_completion",
    "/api/embed": "embeddings",
    "/api/embeddings": "embeddings",
    "/api/rerank": "rerank",
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
    "/v1/messages": "chat",
    "/v1/responses": "chat",
    "/v1/responses/compact": "chat",
    "/v1/rerank": "rerank",
    "/v1/systemone": "decide",
}


class Trace:
    """The trace of one request. `notes`: None where it is not sampled; `outgoing`: headers for what it causes."""

    def __init__(self, span: Span, tracer: Tracer) -> None:
        self._span = span
        self._tracer = tracer
        self._offset_ns = time.time_ns() - time.perf_counter_ns()
        carrier: dict[str, str] = {}
        propagate.inject(carrier, set_span_in_context(span))
        self.outgoing = tuple(carrier.items())
        self.notes = TraceNotes() if span.is_recording() else None
        self.trace_id = f"{span.get_span_context().trace_id:032x}"

    def end(self, answered: Answered, facts: RequestFacts) -> None:
        """Make the spans, if the request is traced."""
        if self.notes is None:
            return
        span = self._span
        span.update_name(f"{answered.method} {answered.route}".rstrip())
        span.set_attributes(_http_attributes(answered, facts))
        _set_error(span, answered, is_server=True)
        if operation := _OPERATIONS.get(answered.route):
            self._end_work(operation, answered, facts, self.notes)
        span.end()

    def _end_work(self, operation: str, answered: Answered, facts: RequestFacts, notes: TraceNotes) -> None:
        model = facts.served_model or _asked_for(facts)
        work = self._tracer.start_span(
            f"{operation} {model}".rstrip(),
            set_span_in_context(self._span),
            SpanKind.INTERNAL,
            _work_attributes(operation, facts, notes),
            start_time=facts.begun_ns + self._offset_ns,
        )
        _set_error(work, answered, is_server=False)
        context = set_span_in_context(work)
        for phase in notes.phases:
            span = self._tracer.start_span(
                phase.name,
                context,
                attributes=dict(phase.facts),
                start_time=phase.began_ns + self._offset_ns,
            )
            span.end(phase.ended_ns + self._offset_ns)
        work.end()


class Tracing:
    """Begins traces, and sends spans in a thread. An exporter that hangs holds up that thread alone."""

    def __init__(self, sent_to: Iterable[SpanExporter]) -> None:
        resource = Resource.create({SERVICE_VERSION: __version__})
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith(_UNKNOWN_SERVICE):
            resource = resource.merge(Resource({SERVICE_NAME: "corral"}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        for exporter in sent_to:
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("corral", __version__)

    @classmethod
    def from_environment(cls) -> Tracing:
        log_sparingly()
        return cls(exporters())

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> Trace:
        """A trace that goes on where the headers of a request say; sampled as its parent, or as the sampler says."""
        carrier: dict[str, str] = {}
        for name, value in headers:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            carrier[key] = f"{carrier[key]},{text}" if key in carrier else text
        context = propagate.extract(carrier)
        return Trace(self._tracer.start_span("request", context, SpanKind.SERVER), self._tracer)

    def close(self) -> None:
        """Send what is left, within two seconds. Blocks."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(_CLOSE_TIMEOUT_S)
        if ending.is_alive():
            _log.warning("the last spans are not sent: the exporter does not answer")


def _http_attributes(answered: Answered, facts: RequestFacts) -> dict[str, Value]:
    return {
        "http.request.method": answered.method,
        "http.route": answered.route,
        "http.response.status_code": answered.status,
        "url.path": answered.path,
        "url.scheme": answered.scheme,
        "corral.request.id": facts.request_id,
    }


def _work_attributes(operation: str, facts: RequestFacts, notes: TraceNotes) -> dict[str, Value]:
    found: dict[str, Value] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "corral",
        "gen_ai.request.model": _asked_for(facts) or facts.served_model,
        "gen_ai.response.model": facts.served_model,
        "gen_ai.usage.input_tokens": facts.prompt_tokens,
        "gen_ai.usage.cache_read.input_tokens": facts.cached_tokens,
        "gen_ai.usage.output_tokens": facts.tokens,
        **notes.facts,
    }
    if facts.first_piece_ns:
        found["gen_ai.response.time_to_first_chunk"] = (facts.first_piece_ns - facts.begun_ns) / 1e9
    return {name: value for name, value in found.items() if value != ""}


def _asked_for(facts: RequestFacts) -> str:
    """The model as the client named it, which may be anything."""
    return without_userinfo(facts.model)[:_MAX_NAME_CHARS]


def _set_error(span: Span, answered: Answered, *, is_server: bool) -> None:
    """By the conventions for HTTP a client's error is not one of the server's span."""
    if not answered.reason and answered.status < 400:
        return
    span.set_attribute("error.type", answered.reason or str(answered.status))
    if answered.status >= 500 or not is_server or answered.status < 400:
        span.set_status(Status(StatusCode.ERROR))
