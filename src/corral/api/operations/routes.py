"""The table of routes for those who run the server."""

from __future__ import annotations

from corral.api.http.routing import Route, Surface
from corral.api.http.sse import EVENT_STREAM
from corral.api.native.answers import ERROR
from corral.api.operations.events import EventsHandler
from corral.api.operations.logs import LogsHandler
from corral.api.operations.metrics import MetricsHandler
from corral.api.operations.queue import QueueHandler
from corral.api.operations.top import TopHandler
from corral.api.operations.usage import UsageHandler
from corral.api.reading.schema import ANYTHING, INTEGER, NUMBER, STRING, Answer, array_of, object_of
from corral.priorities import PRIORITIES
from corral.recentlog import recent_lines
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


_PLACE = object_of(
    "id model path priority state position waited_ms tokens",
    id=STRING,
    model=STRING,
    path=STRING,
    key=STRING,
    priority={"enum": list(PRIORITIES)},
    state=STRING,
    position=INTEGER,
    waited_ms=NUMBER,
    eta_ms=NUMBER,
    tokens=INTEGER,
    tokens_per_s=NUMBER,
)
_QUEUE = Answer("Queue", object_of("queue", queue=array_of(_PLACE)))


_REQUEST = object_of(
    "id path status ended_at ms prompt_tokens tokens",
    id=STRING,
    model=STRING,
    path=STRING,
    key=STRING,
    status=INTEGER,
    ended_at=STRING,
    ms=NUMBER,
    prompt_tokens=INTEGER,
    tokens=INTEGER,
    tokens_per_s=NUMBER,
    error=STRING,
)
_MODEL = object_of(
    "name state waiting generated_tokens",
    name=STRING,
    state=STRING,
    progress=NUMBER,
    size=INTEGER,
    size_vram=INTEGER,
    context_length=INTEGER,
    expires_at=STRING,
    slots=INTEGER,
    running=INTEGER,
    waiting=INTEGER,
    generated_tokens=INTEGER,
)
_DEVICE = object_of(
    "name description total free", name=STRING, description=STRING, total=INTEGER, free=INTEGER
)
_TOP = Answer(
    "Top",
    object_of(
        "version started_at memory models requests recent",
        version=STRING,
        started_at=STRING,
        memory=object_of("total free devices", total=INTEGER, free=INTEGER, devices=array_of(_DEVICE)),
        models=array_of(_MODEL),
        requests=array_of(_PLACE),
        recent=array_of(_REQUEST),
    ),
)
_CANCELLED = Answer("Cancelled", object_of("cancelled", cancelled=INTEGER))


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

_LOGS = Answer(
    "Logs",
    object_of(
        "lines",
        lines=array_of(
            object_of(
                "number at level logger message",
                number=INTEGER,
                at=STRING,
                level=STRING,
                logger=STRING,
                message=STRING,
            )
        ),
    ),
)


def operations_surface(
    journal: Journal,
    queue: QueueHandler,
    top: TopHandler,
    metrics: MetricsHandler | None,
    usage: UsageHandler | None,
) -> Surface:
    """Routes that Ollama does not have. `metrics` and `usage`: None where nothing is counted."""
    events = EventsHandler(journal)
    logs = LogsHandler(recent_lines())
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
        Route(
            "DELETE",
            "/api/requests/:id",
            queue.cancel,
            "End a request that uses a model or waits for one",
            scope="infer",
            answers=_CANCELLED,
        ),
        Route(
            "GET",
            "/api/top",
            top.get,
            "Models, memory, slots and requests, for a live view",
            scope="read",
            answers=_TOP,
        ),
        Route("GET", "/api/logs", logs.get, "The last lines of the log", scope="admin", answers=_LOGS),
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
