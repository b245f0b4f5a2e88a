"""The table of routes for those who run the server."""

from __future__ import annotations

from corral.api.http.routing import Route, Surface
from corral.api.http.sse import EVENT_STREAM
from corral.api.native.answers import ERROR
from corral.api.operations.events import EventsHandler
from corral.api.operations.metrics import MetricsHandler
from corral.api.operations.queue import QueueHandler
from corral.api.operations.usage import UsageHandler
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


_FIGURES = {
    "requests": INTEGER,
    "errors": INTEGER,
    "cancelled": INTEGER,
    "prompt_tokens": INTEGER,
    "cached_tokens": INTEGER,
    "generated_tokens": INTEGER,
    "drafted_tokens": INTEGER,
    "ms": NUMBER,
}
_NEEDED = " ".join(_FIGURES)
_USAGE = Answer(
    "Usage",
    object_of(
        "since until by usage total",
        since=STRING,
        until=STRING,
        by=array_of(STRING),
        usage=array_of(
            object_of(
                _NEEDED, day=STRING, key=STRING, key_name=STRING, model=STRING, surface=STRING, **_FIGURES
            )
        ),
        total=object_of(_NEEDED, **_FIGURES),
    ),
)


def operations_surface(
    journal: Journal, queue: QueueHandler, metrics: MetricsHandler | None, usage: UsageHandler | None
) -> Surface:
    """Routes that Ollama does not have. `metrics` and `usage`: None where nothing is counted."""
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
        *(_usage(usage) if usage is not None else ()),
        *(metrics_routes(metrics) if metrics is not None else ()),
    )
    return Surface("operations", "Operations", routes, ERROR)


def _usage(handler: UsageHandler) -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            "/api/usage",
            handler.get,
            "Requests and tokens by day, API key, model and API",
            scope="infer",
            answers=_USAGE,
        ),
    )


def metrics_routes(handler: MetricsHandler) -> tuple[Route, ...]:
    """The route that Prometheus looks at."""
    return (Route("GET", "/metrics", handler.get, "Counters for Prometheus", scope="read", answers=ANYTHING),)
