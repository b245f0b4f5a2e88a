"""The table of routes for those who run the server."""

from __future__ import annotations

from corral.api.http.routing import Route, Surface
from corral.api.http.sse import EVENT_STREAM
from corral.api.native.answers import ERROR
from corral.api.operations.events import EventsHandler
from corral.api.operations.metrics import MetricsHandler
from corral.api.reading.schema import ANYTHING, INTEGER, STRING, Answer, array_of, object_of
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


def operations_surface(journal: Journal, metrics: MetricsHandler | None) -> Surface:
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
        *(_metrics(metrics) if metrics is not None else ()),
    )
    return Surface("operations", "Operations", routes, ERROR)


def _metrics(handler: MetricsHandler) -> tuple[Route, ...]:
    return (Route("GET", "/metrics", handler.get, "Counters for Prometheus", scope="read", answers=ANYTHING),)
