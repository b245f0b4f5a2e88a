"""The table of routes for API keys. Ollama does not have them."""

from __future__ import annotations

from corral.access.keys import LIMITS
from corral.access.keystore import KeyStore
from corral.api.http.limits import SMALL_BODY
from corral.api.http.routing import Route, Surface
from corral.api.keys.handlers import KeyHandlers
from corral.api.keys.protocol import NEW_KEY, ROTATION
from corral.api.reading.schema import INTEGER, STRING, Answer, array_of, json_body, object_of
from corral.priorities import PRIORITIES

_MEMBERS = {
    "id": STRING,
    "name": STRING,
    "status": {"enum": ["active", "expired", "revoked"]},
    "scopes": array_of(STRING),
    "models": {"type": ["array", "null"], "items": STRING},
    "created_at": STRING,
    "expires_at": STRING,
    "revoked_at": STRING,
    "previous_valid_until": STRING,
    "note": STRING,
    "priority": {"enum": list(PRIORITIES)},
    **dict.fromkeys(LIMITS, INTEGER),
}
_REQUIRED = "id name status scopes models created_at priority"
_KEY = Answer("Key", object_of(_REQUIRED, **_MEMBERS))
_NEW = Answer("NewKey", object_of(f"key {_REQUIRED}", key=STRING, **_MEMBERS))
_KEYS = Answer("Keys", object_of("keys", keys=array_of(object_of(_REQUIRED, **_MEMBERS))))


def keys_surface(store: KeyStore, error: Answer) -> Surface:
    """API keys; errors have the native form, which `error` describes."""
    handlers = KeyHandlers(store)
    one = "/api/keys/:id"
    routes = (
        Route("GET", "/api/keys", handlers.list_keys, "All API keys", scope="admin", answers=_KEYS),
        Route(
            "POST",
            "/api/keys",
            handlers.create,
            "Make an API key; the answer alone has its text",
            scope="admin",
            reads=json_body(
                NEW_KEY,
                "name",
                {"name": "notebook", "scopes": ["infer", "read"], "models": ["qwen3*"], "expires": "30d"},
            ),
            answers=_NEW,
            limit_bytes=SMALL_BODY,
            statuses=(201,),
        ),
        Route(
            "GET",
            "/api/keys/me",
            handlers.me,
            "The API key that the request is sent with",
            scope="key",
            answers=_KEY,
        ),
        Route("GET", one, handlers.show, "An API key, by id or name", scope="admin", answers=_KEY),
        Route("DELETE", one, handlers.revoke, "Revoke an API key", scope="admin", answers=_KEY),
        Route(
            "POST",
            f"{one}/rotate",
            handlers.rotate,
            "Give an API key a new text; the old one holds for a grace time",
            scope="admin",
            reads=json_body(ROTATION, "", {"grace": "24h"}),
            answers=_NEW,
            limit_bytes=SMALL_BODY,
        ),
    )
    return Surface("keys", "API keys", routes, error)
