"""The server's models under `/v2/`, for other machines: pull always, push when allowed.

This is the distribution protocol, with what Ollama's client needs besides: a whole blob carries its own `Location`,
and locations of uploads are absolute. Names of repositories have slashes, so the paths are matched by other rules
(`protocol.parse_path`), and what is not in the table is refused in the protocol's form.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from corral.api.http.errors import disk_text, log_failure, status_of, text_of
from corral.api.http.exchange import JSON_UTF8, ClientGoneError, Exchange
from corral.api.http.routing import Route
from corral.api.reading.schema import ANYTHING
from corral.api.registry import protocol
from corral.api.registry.models import ModelHandlers
from corral.api.registry.protocol import Resource
from corral.api.registry.uploads import UploadHandlers
from corral.caller import Scope
from corral.errors import CorralError
from corral.library.pull_through import PullThrough
from corral.library.registry_server import Hosting
from corral.library.upload_turns import NoTurnError, UploadTurns
from corral.store.blobs import BlobStore
from corral.store.uploads import UploadStore

_log = logging.getLogger("corral.registry")
_MAX_MANIFEST_BYTES = 4 << 20
_Handler = Callable[[Exchange, Resource], Awaitable[None]]


class Registry:
    """The table of routes, and the rules by which a request finds one."""

    def __init__(
        self,
        hosting: Hosting,
        blobs: BlobStore,
        uploads: UploadStore,
        *,
        may_push: bool,
        mirror: PullThrough | None = None,
        turns: UploadTurns | None = None,
        scope: Scope = "registry:pull",
    ) -> None:
        """`scope` is what a key needs to pull."""
        self._may_push = may_push
        self.turns = turns or UploadTurns()
        models = ModelHandlers(hosting, blobs, mirror, self.turns)
        self.close = models.close
        self.routes = _read_routes(models, scope)
        if may_push:
            self.routes += _write_routes(models, UploadHandlers(uploads, blobs, hosting.access))
        self._table: dict[tuple[str, str], Route] = {}
        for route in self.routes:
            resource = protocol.parse_path(route.path)
            assert resource is not None, route.path
            for method in route.methods.split():
                self._table[method, resource.kind] = route
        self._unknown = Route("", "", _answer_unknown, "No such path", scope="open")
        self._refused = Route("", "", _serving(self._refuse_method), "No such method", scope="open")

    def find(self, exchange: Exchange) -> Route:
        """The route of a request below `/v2/`; one that refuses it if there is none."""
        exchange.error_encoder = protocol.encode_error
        resource = protocol.parse_path(exchange.path)
        if resource is None:
            return self._unknown
        return self._table.get((exchange.method, resource.kind), self._refused)

    async def _refuse_method(self, exchange: Exchange, resource: Resource) -> None:
        if exchange.method in ("PUT", "POST", "PATCH") and not self._may_push:
            body = protocol.error_body("DENIED", "this server does not take pushes (CORRAL_REGISTRY=push)")
            await exchange.respond(403, body, JSON_UTF8)
            return
        allowed = sorted(
            {method for method, kind in self._table if kind == resource.kind and method != "HEAD"}
        )
        body = protocol.error_body("UNSUPPORTED", f"{exchange.method} is not supported here")
        await exchange.respond(405, body, JSON_UTF8, [(b"allow", ", ".join(allowed).encode())])


def _read_routes(models: ModelHandlers, scope: Scope) -> tuple[Route, ...]:
    """What every machine may do."""
    route = partial(Route, "GET HEAD", scope=scope, answers=ANYTHING)
    name = "/v2/:repository"
    return (
        route("/v2/", _serving(models.root), "Whether this is a registry"),
        route("/v2/_catalog", _serving(models.catalog), "All repositories"),
        route(f"{name}/tags/list", _serving(models.tags), "The tags of a repository"),
        route(f"{name}/manifests/:reference", _serving(models.manifest), "A manifest"),
        route(f"{name}/blobs/:digest", _serving(models.blob), "A blob, or a part of it"),
    )


def _write_routes(models: ModelHandlers, uploads: UploadHandlers) -> tuple[Route, ...]:
    """What is added for machines that may push."""
    name = "/v2/:repository"
    upload = f"{name}/blobs/uploads/:id"
    return (
        Route(
            "PUT",
            f"{name}/manifests/:reference",
            _serving(models.put_manifest),
            "Store a manifest",
            scope="registry:push",
            limit_bytes=_MAX_MANIFEST_BYTES,
        ),
        Route(
            "POST",
            f"{name}/blobs/uploads/",
            _serving(uploads.start),
            "Begin an upload",
            scope="registry:push",
        ),
        Route("GET HEAD", upload, _serving(uploads.show), "How far an upload is", scope="registry:push"),
        Route("PATCH", upload, _serving(uploads.append), "Send a piece of a blob", scope="registry:push"),
        Route("PUT", upload, _serving(uploads.finish), "End an upload", scope="registry:push"),
        Route("DELETE", upload, _serving(uploads.cancel), "Cancel an upload", scope="registry:push"),
    )


_VERSION = (b"docker-distribution-api-version", b"registry/2.0")


async def _answer_unknown(exchange: Exchange) -> None:
    exchange.extra_headers.append(_VERSION)
    await exchange.respond(404, b"404 page not found", "text/plain")


def _serving(handler: _Handler) -> Callable[[Exchange], Awaitable[None]]:
    """The handler with errors in the protocol's own form."""

    async def serve(exchange: Exchange) -> None:
        exchange.extra_headers.append(_VERSION)
        resource = protocol.parse_path(exchange.path)
        assert resource is not None, "the path has matched"
        try:
            await handler(exchange, resource)
        except ClientGoneError:
            raise
        except (CorralError, OSError) as error:
            if exchange.is_started or not (isinstance(error, CorralError) or disk_text(error)):
                raise
            if isinstance(error, OSError):
                log_failure(_log, exchange.request_id, error)
            status, body = protocol.refusal(error, status_of(error), text_of(error))
            headers = []
            if isinstance(error, NoTurnError):
                headers.append((b"retry-after", b"%d" % error.retry_after_s))
            await exchange.respond(status, body, JSON_UTF8, headers)

    return serve
