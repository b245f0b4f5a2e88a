"""The table of routes of the cluster."""

from __future__ import annotations

from corral.api.cluster.status import PEER_PATH, StatusHandlers
from corral.api.cluster.watch import WatchHandler
from corral.api.http.exchange import NDJSON
from corral.api.http.limits import SMALL_BODY
from corral.api.http.routing import Handler, Route, Scope, Surface
from corral.api.native.answers import ERROR
from corral.api.reading.schema import ANYTHING, BOOLEAN, INTEGER, OBJECT, STRING, Answer, array_of, object_of

_NODE = object_of(
    "url standing health",
    name=STRING,
    url=STRING,
    standing=STRING,
    health=STRING,
    problem=STRING,
    draining=BOOLEAN,
    breaker_open=BOOLEAN,
    version=STRING,
    epoch=STRING,
    models=INTEGER,
    loaded=array_of(
        object_of(
            "model slots running waiting loading",
            model=STRING,
            slots=INTEGER,
            running=INTEGER,
            waiting=INTEGER,
            loading=BOOLEAN,
        )
    ),
    sent=INTEGER,
    free=INTEGER,
    total=INTEGER,
    disk=INTEGER,
    clock_skew_ms=INTEGER,
    silent_ms=INTEGER,
)
_REPLICAS = object_of(
    "model wanted nodes", model=STRING, wanted=INTEGER, nodes=array_of(STRING), problems=array_of(STRING)
)
_CONFLICT = object_of("model digest nodes", model=STRING, digest=STRING, nodes=OBJECT)
_CLUSTER = Answer(
    "Cluster",
    object_of(
        "mode name nodes",
        mode=STRING,
        name=STRING,
        nodes=array_of(_NODE),
        planner=STRING,
        replicas=array_of(_REPLICAS),
        conflicts=array_of(_CONFLICT),
    ),
)
_DONE = Answer("Done", object_of("status", status=STRING))


def cluster_surface(status: StatusHandlers, watch: WatchHandler) -> Surface:
    """Routes that Ollama does not have."""
    node = "/api/cluster/nodes/:name"
    routes = (
        Route(
            "GET", "/api/cluster", status.get, "The servers of the cluster", scope="read", answers=_CLUSTER
        ),
        Route(
            "GET",
            "/api/cluster/watch",
            watch.get,
            "How this server is, for the others, as long as they listen",
            scope="cluster",
            answers=ANYTHING,
            streams=NDJSON,
        ),
        _act(f"{node}/drain", status.drain, "Have a server take nothing new", "admin"),
        _act(f"{node}/undrain", status.undrain, "Have a server take requests again", "admin"),
        _act(f"{node}/remove", status.remove, "Have nothing to do with a server any more", "admin"),
        _act(f"{PEER_PATH}/drain", status.own_drain, "Take nothing new", "cluster"),
        _act(f"{PEER_PATH}/undrain", status.own_undrain, "Take requests again", "cluster"),
        _act(f"{PEER_PATH}/remove/:name", status.own_remove, "Have nothing to do with a server", "cluster"),
        _act(f"{PEER_PATH}/restore/:name", status.own_restore, "Let a server in again", "cluster"),
    )
    return Surface("cluster", "The cluster", routes, ERROR)


def _act(path: str, handler: Handler, summary: str, scope: Scope) -> Route:
    return Route("POST", path, handler, summary, scope=scope, answers=_DONE, limit_bytes=SMALL_BODY)
