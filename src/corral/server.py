"""Assembles the server: settings, store, scheduler, services, routes, and the web server."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corral import __version__
from corral.api.anthropic.routes import AnthropicRoutes
from corral.api.http.app import App
from corral.api.http.origins import HostGuard, OriginRules
from corral.api.http.request_log import RequestLog
from corral.api.http.routing import Router
from corral.api.native.account import AccountRoutes
from corral.api.native.blobs_and_create import MakingRoutes
from corral.api.native.hosted_service import ElsewhereRoutes
from corral.api.native.inference import InferenceRoutes
from corral.api.native.library import LibraryRoutes
from corral.api.native.systemone import add_systemone_route
from corral.api.native.tokens import add_token_routes
from corral.api.native.verify import add_verify_route
from corral.api.openai.routes import add_openai_routes
from corral.api.openapi.document import add_openapi_route
from corral.api.registry.routes import RegistryRoutes
from corral.api.responses.routes import ResponsesRoutes
from corral.config import Settings
from corral.errors import CorralError
from corral.inference.pipeline import Inference
from corral.inference.profile import Profiles
from corral.library.create.jobs import Jobs
from corral.library.create.local import LocalFiles
from corral.library.create.service import Creator
from corral.library.models import Library
from corral.library.pull import Puller
from corral.library.pull_through import PullThrough
from corral.library.registry_server import Hosting
from corral.library.verify import Verifier
from corral.lifetime import Lifetime
from corral.listening import (
    BACKLOG,
    connection_limit,
    is_public,
    listen,
    public_warning,
    raise_descriptor_limit,
)
from corral.logs import set_up_logging
from corral.loopguard import LoopGuard
from corral.registry.key import default_key_path, ensure_key
from corral.responses.store import ResponseArchive
from corral.runner.engines.choice import chosen_name, find_engine, home_folder
from corral.runner.engines.environment import engine_variables
from corral.runner.engines.gpus import EngineGPUs
from corral.runner.factory import EngineFactory
from corral.runner.interface import EngineChoice
from corral.runner.prompt_states import PromptStates
from corral.scheduler.loop import Scheduler
from corral.store.folder import check_models_folder
from corral.store.models import ModelStore
from corral.store.prune import prepare_store
from corral.store.uploads import UploadStore
from corral.types import Report
from corral.web.server import WebServer
from corral.weights.translate.cache import TranslatedFiles
from corral.workers.pool import set_work_timeout, shared_pool

if TYPE_CHECKING:
    from corral.registry.account import Account

_log = logging.getLogger("corral")
_NS_PER_S = 1_000_000_000
_HEAD_TIMEOUT_S = 30.0
# How long requests may continue after a signal to stop before they are aborted.
_GRACE_S = 1.5


def serve(settings: Settings) -> None:
    """Listen and serve until a signal.

    Raises:
        CorralError: the address or the models folder cannot be used, or the configured engine does
            not exist.
    """
    logs = set_up_logging(settings.log_level)
    lifetime = Lifetime(logs)
    try:
        for warning in settings.warnings:
            _log.warning(warning)
        engine = choose_engine(settings)
        descriptors = raise_descriptor_limit()
        if warning := check_models_folder(settings.models_dir):
            _log.warning(warning)
        listener = listen(settings.host)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        own = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(shown, shown)
        parts = _assemble(settings, engine, port, own)
        lifetime.catch_signals()
        if is_public(settings.host.host):
            _log.warning(public_warning(host, port))
        _log.info("listening address=http://%s:%d version=%s", shown, port, __version__)
        most = settings.max_connections or connection_limit(descriptors)
        lifetime.run(lambda: _serve(settings, parts, listener, most, lifetime))
    except CorralError:
        raise
    except Exception as exc:
        _log.debug("the server failed", exc_info=exc)
        raise CorralError(f"the server failed: {type(exc).__name__}: {exc}") from exc
    finally:
        lifetime.close()
        logs.drain()


def choose_engine(settings: Settings) -> EngineChoice:
    """The configured engine.

    Raises:
        CorralError: it does not exist.
    """
    home = home_folder()
    name = settings.llama_server or settings.engine or chosen_name(home)
    engine = find_engine(name, home)
    return EngineChoice(engine.server_path, engine_variables(settings), engine.package_folder)


def engine_gpus(settings: Settings, engine: EngineChoice) -> EngineGPUs:
    """The GPUs of the engine; they are looked up later."""
    return EngineGPUs(
        server_path=engine.server_path,
        package_folder=engine.package_folder,
        extra_env=engine.extra_env,
        library=settings.llm_library,
        has_integrated=settings.counts_integrated,
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of the server; `close` runs at its end, after the scheduler."""

    app: App
    scheduler: Scheduler
    store: ModelStore
    puller: Puller
    registry: RegistryRoutes | None
    gpus: EngineGPUs
    close: Callable[[], None]


async def _serve(
    settings: Settings, parts: _Parts, listener: socket.socket, max_connections: int, lifetime: Lifetime
) -> None:
    """Own the scheduler, and with it every child, while the server runs."""
    guard = LoopGuard(settings.loop_guard_ns / _NS_PER_S) if settings.loop_guard_ns else None
    head_timeout_s = min(settings.client_timeout_ns / _NS_PER_S or _HEAD_TIMEOUT_S, _HEAD_TIMEOUT_S)
    web = WebServer(
        parts.app,
        max_connections=max_connections,
        backlog=BACKLOG,
        head_timeout_s=head_timeout_s,
    )
    try:
        async with parts.scheduler:
            if guard is not None:
                guard.start()
            await web.start(listener)
            lifetime.watch(_prepare(parts.store, may_prune=not settings.no_prune, show=lifetime.show))
            lifetime.watch(_warn_of_unused_gpus(parts.gpus))
            await lifetime.until_stopped()
            await web.stop(parts.app.stop, grace_s=_GRACE_S)
            if guard is not None:
                guard.stop()
            if parts.registry is not None:
                await parts.registry.close()
            await parts.puller.close()
    finally:
        parts.close()


async def _prepare(store: ModelStore, *, may_prune: bool, show: Callable[[str], None]) -> None:
    """Work that is done once in the background after the start; serving does not depend on it."""
    await asyncio.to_thread(_make_key, show)
    try:
        await asyncio.to_thread(prepare_store, store, may_prune=may_prune)
    except OSError as exc:
        _log.warning("the models folder cannot be pruned: %s", exc)


async def _warn_of_unused_gpus(gpus: EngineGPUs) -> None:
    problem, advice = await asyncio.to_thread(lambda: gpus.problem)
    if problem:
        _log.warning("%s; to use it: %s", problem, advice)


def _assemble(settings: Settings, engine: EngineChoice, port: int, host: str = "127.0.0.1") -> _Parts:
    set_work_timeout(settings.work_timeout_ns / _NS_PER_S)
    translations = TranslatedFiles(settings.models_dir)
    states = PromptStates(settings.models_dir / "corral" / "prompts", settings.prompt_states_mib)
    store = ModelStore(settings.models_dir, (translations, states))
    profiles = Profiles(settings, store)
    factory = EngineFactory(
        engine,
        max_waiting=max(settings.max_queue, 1),
        hang_timeout_s=settings.hang_timeout_ns / _NS_PER_S,
        states=states,
    )
    gpus = engine_gpus(settings, engine)
    scheduler = Scheduler.from_settings(settings, factory, lambda: gpus.is_used)

    async def pull_base(text: str, report: Report) -> None:
        await puller.pull_base(text, report)

    jobs = Jobs()
    creator = Creator(store, may_prune=not settings.no_prune, puller=pull_base, jobs=jobs)
    puller = Puller(settings, store, creator)
    local_files = LocalFiles(store, jobs, settings.local_files)
    limits = {"max_body_bytes": settings.max_body_bytes, "max_depth": settings.max_json_depth}
    service = Inference(settings, profiles, scheduler, translations)
    catalogue = Library(settings, store, profiles)
    inference = InferenceRoutes(service, **limits)
    anthropic = AnthropicRoutes(service, **limits)
    library = LibraryRoutes(catalogue, puller, scheduler, cloud_source=_cloud_source(), **limits)
    making = MakingRoutes(store, creator, local_files, **limits)
    archive = ResponseArchive(
        settings.responses_db,
        max_age_s=settings.responses_max_age_ns // _NS_PER_S,
        max_bytes=settings.responses_max_bytes,
    )
    responses = ResponsesRoutes(service, archive, **limits)
    registry = _registry(settings, store, puller) if settings.registry_mode != "off" else None

    def close() -> None:
        factory.close()
        shared_pool().close()
        archive.close()
        local_files.close()

    router = _with_elsewhere(_routes(inference, library, making), ElsewhereRoutes(**limits))
    add_openai_routes(router, service, catalogue, **limits)
    add_token_routes(router, service, **limits)
    add_verify_route(router, Verifier(store), **limits)
    add_systemone_route(router, service, **limits)
    _add_agent_routes(router, anthropic, responses)
    add_openapi_route(router)
    AccountRoutes(lambda: _account(settings), is_offline=settings.is_offline).register(router)
    if registry is not None:
        router.mount("v2", registry.handle)
    app = App(
        router,
        OriginRules(settings.origins),
        HostGuard(is_loopback=settings.host.is_loopback, port=port),
        stall_timeout_s=settings.client_timeout_ns / _NS_PER_S,
        max_bodies_bytes=settings.max_bodies_bytes,
        request_log=RequestLog(f"http://{host}:{port}") if settings.logs_requests else None,
    )
    return _Parts(app, scheduler, store, puller, registry, gpus, close)


def _make_key(show: Callable[[str], None]) -> None:
    """Create this machine's key for registries, once; users register its public half with an account."""
    path = default_key_path()
    try:
        public = ensure_key(path)
    except OSError as exc:
        _log.warning(
            "cannot create %s (%s): registries that require a key will refuse access", path, exc.strerror
        )
        return
    if public is not None:
        show(f"Couldn't find '{path}'. Generating new private key.\nYour new public key is: \n\n{public}\n\n")


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
    from corral.registry.account import Account  # imports TLS, so only when needed

    return Account(settings.cloud_base_url, default_key_path())


def _registry(settings: Settings, store: ModelStore, puller: Puller) -> RegistryRoutes:
    hosting = Hosting(store)
    uploads = UploadStore(settings.models_dir / "corral-uploads", store.blobs)
    mirror = None
    if settings.is_pull_through and not settings.is_offline:
        trusted = settings.registry_trusted_hosts
        mirror = PullThrough(store, hosting, puller, puller.open_gateway, trusted_hosts=trusted)
    may_push = settings.registry_mode == "push"
    return RegistryRoutes(hosting, store.blobs, uploads, may_push=may_push, mirror=mirror)


def _with_elsewhere(router: Router, elsewhere: ElsewhereRoutes) -> Router:
    router.add("POST", "/api/experimental/web_search", elsewhere.web_search)
    router.add("POST", "/api/experimental/web_fetch", elsewhere.web_fetch)
    router.add("GET", "/api/experimental/model-recommendations", elsewhere.recommendations)
    return router


def _cloud_source() -> str:
    """`env` if the variable is set, as in Ollama."""
    return "env" if os.environ.get("OLLAMA_NO_CLOUD", "").lower() in ("1", "t", "true") else "config"


def _add_agent_routes(router: Router, anthropic: AnthropicRoutes, responses: ResponsesRoutes) -> None:
    router.add("POST", "/v1/responses", responses.create)
    router.add("POST", "/v1/responses/compact", responses.compact)
    router.add("GET", "/v1/responses/:id", responses.find)
    router.add("DELETE", "/v1/responses/:id", responses.delete)
    router.add("GET", "/v1/responses/:id/input_items", responses.input_items)
    router.add("POST", "/v1/messages", anthropic.messages)
    router.add("POST", "/v1/messages/count_tokens", anthropic.count_tokens)
