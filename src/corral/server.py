"""Puts the parts together: settings, store, scheduler, services, routes, and the web server around them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

import uvicorn

from corral import __version__
from corral.api.anthropic.routes import AnthropicRoutes
from corral.api.app import App
from corral.api.http import Receive, Send
from corral.api.native.account import AccountRoutes
from corral.api.native.elsewhere import ElsewhereRoutes
from corral.api.native.inference import InferenceRoutes
from corral.api.native.library import LibraryRoutes
from corral.api.native.making import MakingRoutes
from corral.api.native.tokens import add_token_routes
from corral.api.openai.routes import add_openai_routes
from corral.api.openapi.document import add_openapi_route
from corral.api.origins import HostGuard, OriginRules
from corral.api.registry.routes import RegistryRoutes
from corral.api.responses.routes import ResponsesRoutes
from corral.api.routing import Router
from corral.config import Settings
from corral.create.jobs import Jobs
from corral.create.local import LocalFiles
from corral.create.service import Creator, Report
from corral.engines.choice import chosen_name, find_engine, home_folder
from corral.errors import CorralError
from corral.registry.key import default_key_path, ensure_key
from corral.runner.engine import EngineFactory
from corral.runner.interface import EngineChoice
from corral.scheduler.loop import Scheduler
from corral.service.archive import ResponseArchive
from corral.service.hosting import Hosting
from corral.service.inference import Inference
from corral.service.library import Library
from corral.service.mirror import Mirror
from corral.service.profile import Profiles
from corral.service.pull import Puller
from corral.store.models import ModelStore
from corral.store.prune import prepare_store
from corral.store.uploads import UploadStore
from corral.workers.pool import shared_pool

if TYPE_CHECKING:
    from corral.registry.account import Account

__all__ = ["serve"]

_log = logging.getLogger("corral")
_NS_PER_S = 1_000_000_000
_BACKLOG = 2048


def serve(settings: Settings) -> None:
    """Listen and serve until a signal.

    Raises:
        CorralError: the address cannot be listened on, or the named engine does not exist.
    """
    _set_up_logging(settings.log_level)
    for warning in settings.warnings:
        _log.warning(warning)
    engine = choose_engine(settings)
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        _application(settings, engine),
        log_config=None,
        access_log=False,
        server_header=False,
        http="httptools",
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=2,
        backlog=_BACKLOG,
    )
    shown = f"[{host}]" if ":" in host else host
    _log.info("listening address=http://%s:%d version=%s", shown, port, __version__)
    _WebServer(config).run(sockets=[listener])


class _WebServer(uvicorn.Server):
    """Ends with status 0 on a signal that asked it to; the base class raises the signal again afterwards."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        previous = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def choose_engine(settings: Settings) -> EngineChoice:
    """The engine that the settings name.

    Raises:
        CorralError: there is no such engine.
    """
    home = home_folder()
    name = settings.llama_server or settings.engine or chosen_name(home)
    engine = find_engine(name, home)
    return EngineChoice(engine.server_path, package_folder=engine.package_folder)


def _listen(settings: Settings) -> socket.socket:
    """Bind before anything slow happens, so that early clients wait instead of failing.

    Raises:
        CorralError
    """
    address = settings.host
    try:
        family, kind, protocol, _, sockaddr = socket.getaddrinfo(
            address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(sockaddr)
        listener.listen(_BACKLOG)
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise CorralError(
            f"listen tcp {address.host}:{address.port}: bind: {reason}",
            hint="another server may be running; OLLAMA_HOST chooses another address",
        ) from exc
    listener.setblocking(False)
    return listener


def _application(settings: Settings, engine: EngineChoice) -> App:
    store = ModelStore(settings.models_dir)
    profiles = Profiles(settings, store)
    factory = EngineFactory(
        engine,
        max_waiting=max(settings.max_queue, 1),
        hang_timeout_s=settings.hang_timeout_ns / _NS_PER_S,
        cache_ram_mib=settings.cache_ram_mib,
    )
    scheduler = Scheduler.from_settings(settings, factory)

    async def pull_base(text: str, report: Report) -> None:
        await puller.pull_base(text, report)

    jobs = Jobs()
    creator = Creator(store, may_prune=not settings.no_prune, puller=pull_base, jobs=jobs)
    puller = Puller(settings, store, creator)
    local_files = LocalFiles(store, jobs, settings.local_files)
    limits = {"max_body_bytes": settings.max_body_bytes, "max_depth": settings.max_json_depth}
    service = Inference(settings, profiles, scheduler)
    catalogue = Library(settings, store, profiles)
    inference = InferenceRoutes(service, **limits)
    anthropic = AnthropicRoutes(service, **limits)
    library = LibraryRoutes(catalogue, puller, scheduler, **limits)
    making = MakingRoutes(store, creator, local_files, **limits)
    archive = ResponseArchive(
        settings.responses_db,
        max_age_s=settings.responses_max_age_ns // _NS_PER_S,
        max_bytes=settings.responses_max_bytes,
    )
    responses = ResponsesRoutes(service, archive, **limits)
    registry = _registry(settings, store, puller) if settings.registry_mode != "off" else None

    async def lifespan(_scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Own the scheduler, and with it every child, as long as the server runs."""
        await receive()
        try:
            async with scheduler:
                await send({"type": "lifespan.startup.complete"})
                await asyncio.to_thread(_make_key)
                await asyncio.to_thread(prepare_store, store, may_prune=not settings.no_prune)
                await receive()
                if registry is not None:
                    await registry.close()
                await puller.close()
        finally:
            factory.close()
            shared_pool().close()
            archive.close()
            local_files.close()
        await send({"type": "lifespan.shutdown.complete"})

    guard = HostGuard(is_loopback=settings.host.is_loopback)
    router = _with_elsewhere(_routes(inference, library, making), ElsewhereRoutes(**limits))
    add_openai_routes(router, service, catalogue, **limits)
    add_token_routes(router, service, **limits)
    _add_agent_routes(router, anthropic, responses)
    add_openapi_route(router)
    AccountRoutes(lambda: _account(settings), is_offline=settings.is_offline).register(router)
    if registry is not None:
        router.mount("v2", registry.handle)
    return App(
        router,
        OriginRules(settings.origins),
        guard,
        lifespan,
        stall_timeout_s=settings.client_timeout_ns / _NS_PER_S,
    )


def _make_key() -> None:
    """Who this machine is to registries, made once; the person registers the public half with an account."""
    path = default_key_path()
    try:
        public = ensure_key(path)
    except OSError as exc:
        _log.warning("cannot make %s (%s): registries that want a key will refuse", path, exc.strerror)
        return
    if public is not None:
        print(f"Couldn't find '{path}'. Generating new private key.", flush=True)
        print(f"Your new public key is: \n\n{public}\n", flush=True)


def _routes(inference: InferenceRoutes, library: LibraryRoutes, making: MakingRoutes) -> Router:
    router = Router()
    router.add("GET HEAD", "/", library.root)
    router.add("GET HEAD", "/api/version", library.version)
    router.add("GET", "/api/status", library.status)
    router.add("GET HEAD", "/api/tags", library.tags)
    router.add("GET", "/api/ps", library.ps)
    router.add("GET", "/api/loading", library.loading)
    router.add("GET", "/api/origins", library.origins)
    router.add("POST", "/api/show", library.show)
    router.add("POST", "/api/generate", inference.generate)
    router.add("POST", "/api/chat", inference.chat)
    router.add("POST", "/api/embed", inference.embed)
    router.add("POST", "/api/embeddings", inference.embeddings)
    router.add("POST", "/api/create", making.create)
    router.add("POST", "/api/copy", library.copy)
    router.add("DELETE", "/api/delete", library.delete)
    router.add("POST", "/api/pull", library.pull)
    router.add("POST", "/api/push", library.push)
    router.add("HEAD", "/api/blobs/:digest", making.blob_exists)
    router.add("POST", "/api/blobs/:digest", making.blob_upload)
    router.add("GET", "/api/local-blobs", making.token_file)
    router.add("POST", "/api/local-blobs", making.take_in)
    return router


def _account(settings: Settings) -> Account:
    from corral.registry.account import Account  # TLS is loaded when somebody asks

    return Account(settings.cloud_base_url, default_key_path())


def _registry(settings: Settings, store: ModelStore, puller: Puller) -> RegistryRoutes:
    hosting = Hosting(store)
    uploads = UploadStore(settings.models_dir / "corral-uploads", store.blobs)
    mirror = None
    if settings.is_pull_through and not settings.is_offline:
        trusted = settings.registry_trusted_hosts
        mirror = Mirror(store, hosting, puller, puller.open_gateway, trusted_hosts=trusted)
    may_push = settings.registry_mode == "push"
    return RegistryRoutes(hosting, store.blobs, uploads, may_push=may_push, mirror=mirror)


def _with_elsewhere(router: Router, elsewhere: ElsewhereRoutes) -> Router:
    router.add("POST", "/api/experimental/web_search", elsewhere.web_search)
    router.add("POST", "/api/experimental/web_fetch", elsewhere.web_fetch)
    router.add("GET", "/api/experimental/model-recommendations", elsewhere.recommendations)
    return router


def _add_agent_routes(router: Router, anthropic: AnthropicRoutes, responses: ResponsesRoutes) -> None:
    router.add("POST", "/v1/responses", responses.create)
    router.add("GET", "/v1/responses/:id", responses.find)
    router.add("DELETE", "/v1/responses/:id", responses.delete)
    router.add("GET", "/v1/responses/:id/input_items", responses.input_items)
    router.add("POST", "/v1/messages", anthropic.messages)
    router.add("POST", "/v1/messages/count_tokens", anthropic.count_tokens)


class _Formatter(logging.Formatter):
    """One line an event: time, level, logger, then `key=value` words."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created)) + f".{record.msecs:03.0f}"


def _set_up_logging(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("corral").setLevel(level)
