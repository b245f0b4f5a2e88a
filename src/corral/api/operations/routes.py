"""The table of routes for those who run the server."""

from __future__ import annotations

from corral.api.http.routing import Route, Surface
from corral.api.http.sse import EVENT_STREAM
from corral.api.native.answers import ERROR
from corral.api.operations.events import EventsHandler
from corral.api.operations.metrics import MetricsHandler
from corral.api.operations.queue import QueueHandler
from corral.api.reading.schema import ANYTHING, INTEGER, NUMBER, STRING, Answer, array_of, object_of
from corral.scheduler.journal import Journal

_EVENTS = Answer(
    "Events",
    object_of(
        "events",
        events=array_of(
            object_of(
                "id at event model",
                id=INTEGER,
                at=STRING,
                event=STRING,
                model=STRING,
                cause=STRING,
                request=STRING,
                reason=STRING,
            )
        ),
    ),
)


_QUEUE = Answer(
    "Queue",
    object_of(
        "queue",
        queue=array_of(
            object_of(
                "id model path state position waited_ms tokens",
                id=STRING,
                model=STRING,
                path=STRING,
                key=STRING,
                state=STRING,
                position=INTEGER,
                waited_ms=NUMBER,
                eta_ms=NUMBER,
                tokens=INTEGER,
            )
        ),
    ),
)


def operations_surface(journal: Journal, queue: QueueHandler, metrics: MetricsHandler | None) -> Surface:
    """Routes that Ollama does not have. `metrics`: None where nothing is counted."""
    events = EventsHandler(journal)
    routes = (
        Route(
            "GET",
            "/api/events",
            events.get,
            "Why models were loaded, unloaded and kept waiting",
            scope="read",
            answers=_EVENTS,
            streams=EVENT_STREAM,
        ),
        Route(
            "GET",
            "/api/queue",
            queue.get,
            "Requests that use a model or wait for one",
            scope="infer",
            answers=_QUEUE,
        ),
        *(_metrics(metrics) if metrics is not None else ()),
    )
    return Surface("operations", "Operations", routes, ERROR)


def _metrics(handler: MetricsHandler) -> tuple[Route, ...]:
    return (Route("GET", "/metrics", handler.get, "Counters for Prometheus", scope="read", answers=ANYTHING),)
