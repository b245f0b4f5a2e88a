"""Assembles the server: settings, store, scheduler, services, routes, and the web server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corral.access.addresses import Proxies
from corral.access.keyring import Keyring
from corral.access.keystore import KeyStore, default_database
from corral.access.spent import Spent
from corral.announcing import announce
from corral.api.anthropic.routes import anthropic_surface
from corral.api.health.routes import health_surface
from corral.api.http.app import App
from corral.api.http.limits import BodyBudget, BodyLimits
from corral.api.http.origins import HostGuard, OriginRules
from corral.api.http.request_log import RequestLog
from corral.api.http.routing import Router, Surface
from corral.api.http.steps import Step, chain
from corral.api.http.steps.access import access_steps, audit_steps
from corral.api.http.steps.bodies import LogBodies
from corral.api.http.steps.client import FindClient
from corral.api.http.steps.dispatch import Dispatch
from corral.api.http.steps.failures import answer_errors
from corral.api.http.steps.host import CheckHost
from corral.api.http.steps.origin import CheckOrigin
from corral.api.http.steps.request_line import LogRequests
from corral.api.keys.routes import keys_surface
from corral.api.native.hosted_service import cloud_source
from corral.api.native.routes import Services, native_surface
from corral.api.openai.routes import openai_surface
from corral.api.openapi.routes import with_description
from corral.api.operations.parts import Watching
from corral.api.registry.routes import Registry
from corral.api.responses.routes import responses_surface
from corral.api.systemone.routes import systemone_surface
from corral.api.ui.routes import page_surface
from corral.config import Settings
from corral.configfile.rules import ModelRules
from corral.counting import Counting
from corral.devices import read_memory
from corral.errors import CorralError
from corral.homefolder import home_folder
from corral.inference.pipeline import Inference
from corral.inference.preloading import preload
from corral.inference.profile import Profiles
from corral.inference.sectioncheck import check_sections
from corral.library.blob_access import BlobAccess
from corral.library.create.jobs import Jobs
from corral.library.create.local import LocalFiles
from corral.library.create.service import Creator
from corral.library.models import Library
from corral.library.own_replicas import OwnReplicas
from corral.library.pull import Puller
from corral.library.verify import Verifier
from corral.lifetime import Lifetime
from corral.listening import BACKLOG, connection_limit, raise_descriptor_limit, steer_to_successor
from corral.liveparts import live_parts
from corral.logs import set_up_logging
from corral.loopguard import LoopGuard
from corral.metricsdoor import MetricsDoor
from corral.modelhosting import open_registry
from corral.operations.doors import Door, open_doors, open_metrics_doors
from corral.operations.entrance import Entrance, announce_page, open_certificates, own_url
from corral.operations.health import Health, check_engine_exists
from corral.operations.pulse import LoopPulse
from corral.operations.reload import follow_configuration
from corral.operations.sdnotify import notify, watchdog_interval_s
from corral.recentlog import recent_lines
from corral.registry.key import default_key_path, ensure_key
from corral.responses.store import ResponseArchive
from corral.runner.engines.automatic import Resolved, choice_of, gpus_of, resolve_engine
from corral.runner.engines.gpus import EngineGPUs
from corral.runner.engines.rpc import check_rpc
from corral.runner.factory import EngineFactory
from corral.runner.prompt_states import PromptStates
from corral.runner.spare import Spare
from corral.scheduler.loop import Scheduler
from corral.store.folder import check_models_folder
from corral.store.models import ModelStore
from corral.store.prune import prepare_store
from corral.types import Report
from corral.web.server import WebServer
from corral.weights.translate.cache import TranslatedFiles
from corral.workers.pool import set_work_timeout, shared_pool

if TYPE_CHECKING:
    from corral.clustering import Clustering
    from corral.registry.account import Account

_log = logging.getLogger("corral")
_NS_PER_S = 1_000_000_000
_HEAD_TIMEOUT_S = 30.0
# How long requests may continue after a signal to stop before they are aborted.
_GRACE_S = 1.5


def serve(settings: Settings) -> int:
    """Listen and serve until a signal. The status is 1 if a second signal cut the end short.

    Raises:
        CorralError: the address or the models folder cannot be used, or the configured engine does
            not exist.
    """
    logs = set_up_logging(settings.log_level, recent_lines(), is_json=settings.log_format == "json")
    lifetime = Lifetime(
        logs,
        drain_delay_s=settings.drain_delay_ns / _NS_PER_S,
        drain_timeout_s=settings.drain_timeout_ns / _NS_PER_S,
    )
    lifetime.can_reload = bool(settings.files) or settings.tls_cert is not None
    doors: list[Door] = []
    side_doors: list[Door] = []
    try:
        check_sections(settings.sections)
        for warning in settings.warnings:
            _log.warning(warning)
        descriptors = raise_descriptor_limit()
        if warning := check_models_folder(settings.models_dir):
            _log.warning(warning)
        doors = open_doors(settings)
        side_doors = open_metrics_doors(settings)
        certificates = open_certificates(settings, [*doors, *side_doors])
        # After the doors are open: cards may have to be asked first, and whoever comes meanwhile waits.
        parts = _assemble(settings, choose_engine(settings), doors, side_doors)
        lifetime.catch_signals()
        for door in (*doors, *side_doors):
            announce(door, settings, parts.keyring)
        metrics_door = MetricsDoor(parts.metrics_app, Entrance(side_doors, certificates))
        if "ui" not in settings.surfaces_off:
            announce_page(doors)
        most = settings.max_connections or connection_limit(descriptors)
        lifetime.run(
            lambda: _serve(settings, parts, Entrance(doors, certificates), metrics_door, most, lifetime)
        )
        return 1 if lifetime.is_hurried else 0
    except CorralError:
        raise
    except Exception as exc:
        _log.debug("the server failed", exc_info=exc)
        raise CorralError(f"the server failed: {type(exc).__name__}: {exc}") from exc
    finally:
        for door in (*doors, *side_doors):
            door.close()
        lifetime.close()
        logs.drain()


def choose_engine(settings: Settings) -> Resolved:
    """The configured engine, or the best one; what was passed over is said.

    Raises:
        CorralError: it does not exist.
    """
    resolved = resolve_engine(settings, home_folder())
    check_rpc(resolved.engine, is_wanted=settings.wants_rpc)
    for note in resolved.notes:
        _log.warning(note)
    if resolved.is_automatic and resolved.devices:
        names = ", ".join(device.name for device in resolved.devices if device.kind != "cpu")
        _log.info("engine name=%s devices=%s", resolved.engine.name, names)
    return resolved


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of the server; `close` runs at its end, after the scheduler."""

    app: App
    metrics_app: App | None
    inference: Inference
    scheduler: Scheduler
    spare: Spare
    rules: ModelRules
    store: ModelStore
    prompts: PromptStates
    puller: Puller
    registry: Registry | None
    keyring: Keyring
    gpus: EngineGPUs
    health: Health
    pulse: LoopPulse
    counting: Counting
    clustering: Clustering | None
    close: Callable[[], None]


async def _serve(
    settings: Settings,
    parts: _Parts,
    entrance: Entrance,
    metrics_door: MetricsDoor,
    max_connections: int,
    lifetime: Lifetime,
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
        async with (
            parts.scheduler,
            parts.spare.kept(lambda: parts.scheduler.is_idle),
            parts.clustering.running() if parts.clustering is not None else nullcontext(),
        ):
            if guard is not None:
                guard.start()
            parts.counting.lag.start()
            parts.pulse.start()
            await entrance.open(web)
            await metrics_door.open()
            follow_configuration(
                settings, live_parts(parts.rules, parts.scheduler), entrance.certificates, lifetime
            )
            may_prune = not (settings.no_prune or settings.is_read_only)
            lifetime.watch(_prepare(parts, may_prune=may_prune, show=lifetime.show))
            lifetime.watch(_preload(parts, settings.preload))
            lifetime.watch(_warn_of_unused_gpus(parts.gpus))
            notify("READY=1")
            await lifetime.until_stopped()
            await _drain(parts, web, lifetime, reuses_port=settings.reuses_port)
            await metrics_door.close()
            parts.counting.lag.stop()
            if guard is not None:
                guard.stop()
            if parts.registry is not None:
                await parts.registry.close()
            await parts.puller.close()
    finally:
        parts.close()


async def _drain(parts: _Parts, web: WebServer, lifetime: Lifetime, *, reuses_port: bool) -> None:
    """Not ready any more, then no new connections, then the rest of the requests."""
    parts.health.is_draining = True
    notify("STOPPING=1")
    web.announce_end()
    await lifetime.delay()
    hand_over = steer_to_successor if reuses_port else None
    await web.stop(parts.app.stop, drained=lifetime.drained, hand_over=hand_over, grace_s=_GRACE_S)
    parts.pulse.stop()


async def _prepare(parts: _Parts, *, may_prune: bool, show: Callable[[str], None]) -> None:
    """Work that is done once in the background after the start; serving does not depend on it."""
    await asyncio.to_thread(_make_key, show)
    await asyncio.to_thread(parts.prompts.sweep)
    try:
        await asyncio.to_thread(prepare_store, parts.store, may_prune=may_prune)
    except OSError as exc:
        _log.warning("the models folder cannot be pruned: %s", exc)
    finally:
        parts.health.end("store")


async def _preload(parts: _Parts, names: Sequence[str]) -> None:
    """Not ready before the models are loaded that the settings name, or have failed to."""
    if names:
        parts.health.begin("preload", f"{', '.join(names)}: being loaded")
    try:
        await preload(parts.inference, names)
    finally:
        parts.health.end("preload")


async def _warn_of_unused_gpus(gpus: EngineGPUs) -> None:
    problem, advice = await asyncio.to_thread(gpus.problem)
    if problem:
        _log.warning("%s; to use it: %s", problem, advice)


def _assemble(
    settings: Settings, resolved: Resolved, doors: Sequence[Door], side_doors: Sequence[Door]
) -> _Parts:
    engine = choice_of(settings, resolved)
    set_work_timeout(settings.work_timeout_ns / _NS_PER_S)
    translations = TranslatedFiles(settings.models_dir)
    states = PromptStates(settings.models_dir / "corral" / "prompts", settings.prompt_states_mib)
    store = ModelStore(settings.models_dir, (translations, states))
    profiles = Profiles(settings, store)
    spare = Spare(engine, read_memory, wanted=settings.keeps_spare)
    factory = EngineFactory(
        engine,
        max_waiting=max(settings.max_queue, 1),
        hang_timeout_s=settings.hang_timeout_ns / _NS_PER_S,
        states=states,
        spare=spare,
        has_cache_per_key=settings.has_cache_per_key,
    )
    gpus = gpus_of(settings, resolved)
    counting = Counting.from_settings(settings)
    journal = counting.journal()
    scheduler = Scheduler.from_settings(settings, factory, gpus, journal)
    counting.watch(scheduler)
    watching = Watching(scheduler, gpus.read)

    async def pull_base(text: str, report: Report) -> None:
        await puller.pull_base(text, report)

    jobs, access = Jobs(), BlobAccess(store)
    creator = Creator(store, may_prune=not settings.no_prune, puller=pull_base, jobs=jobs, access=access)
    puller = Puller(settings, store, creator)
    counting.watch_transfers(puller.counts)
    pulse = _loop_pulse()
    health = Health(
        settings.models_dir, lambda: check_engine_exists(engine.server_path, engine.package_folder), pulse
    )
    health.begin("store", "the models folder is being checked")
    services = Services(
        inference=Inference(settings, profiles, scheduler, translations),
        library=Library(settings, store, profiles),
        puller=puller,
        scheduler=scheduler,
        store=store,
        creator=creator,
        local_files=LocalFiles(store, jobs, settings.local_files),
        verifier=Verifier(store),
        blob_access=access,
        open_account=lambda: _account(settings),
        is_offline=settings.is_offline,
        cloud_source=cloud_source(),
        gpu_problem=lambda: gpus.known_problem,
        has_page=settings.redirects_root and "ui" not in settings.surfaces_off,
        health=health,
        live=watching.live,
    )
    archive = ResponseArchive(
        settings.responses_db,
        max_age_s=settings.responses_max_age_ns // _NS_PER_S,
        max_bytes=settings.responses_max_bytes,
    )
    registry = open_registry(settings, store, puller, access)

    keyring = Keyring(settings.keys_db or default_database())
    if settings.auth_mode != "off":
        keyring.load()
    spent = Spent((settings.keys_db or default_database()).with_name("spent.json"))
    spent.load()

    def close() -> None:
        factory.close()
        shared_pool().close()
        archive.close()
        keyring.close()
        spent.close()
        counting.close()
        services.local_files.close()

    keys = KeyStore(settings.keys_db or default_database())
    off = settings.surfaces_off
    operations = counting.surface(journal, watching, keyring)
    described = _surfaces(services, archive, keys, operations, off, settings.tool_origins)
    surfaces = [each for each in described if each.name not in off]
    replicas = OwnReplicas(store, puller, services.inference)
    clustering = None
    if settings.cluster_mode != "off":
        from corral.clustering import NodeParts, open_clustering  # nobody else has to wait for it

        node = NodeParts(
            store, scheduler, journal, gpus.read, profiles.rules, health, watching.live, archive, replicas
        )
        clustering = open_clustering(settings, node, doors, counting)
        if settings.takes_weights_from_peers:
            puller.use_peers(clustering.models)
            counting.watch_weights(puller.counts.peers, registry.turns if registry else None)
    app = _app(settings, surfaces, counting, watching, registry, keyring, spent, doors, clustering)
    metrics_app = None
    if side_doors:
        aside = counting.side_surface()
        metrics_app = _app(settings, [aside], counting, watching, None, keyring, spent, side_doors)
    return _Parts(
        app,
        metrics_app,
        services.inference,
        scheduler,
        spare,
        profiles.rules,
        store,
        states,
        puller,
        registry,
        keyring,
        gpus,
        health,
        pulse,
        counting,
        clustering,
        close,
    )


def _loop_pulse() -> LoopPulse:
    """Watches the event loop. As long as it is alive, systemd gets the signs of life that it wants."""
    every_s = watchdog_interval_s()
    return LoopPulse(lambda: notify("WATCHDOG=1"), min(every_s, 1.0)) if every_s else LoopPulse()


def _surfaces(
    services: Services,
    archive: ResponseArchive,
    keys: KeyStore,
    operations: Surface,
    off: frozenset[str] = frozenset(),
    tool_origins: Sequence[str] = (),
) -> list[Surface]:
    """The tables of routes of all APIs, but for the registry's, which is not always served.

    Those in `off` are not described.
    """
    inference = services.inference
    native = native_surface(services)
    described = (
        native,
        keys_surface(keys, native.error),
        openai_surface(inference, services.library),
        responses_surface(inference, archive),
        anthropic_surface(inference),
        systemone_surface(inference),
        operations,
        health_surface(services.health),
    )
    page = page_surface(native.error, tool_origins)
    return [*with_description([surface for surface in described if surface.name not in off]), page]


def _app(
    settings: Settings,
    surfaces: list[Surface],
    counting: Counting,
    watching: Watching,
    registry: Registry | None,
    keyring: Keyring,
    spent: Spent,
    doors: Sequence[Door],
    clustering: Clustering | None = None,
) -> App:
    """The routes with what happens to every request before and after them."""
    router = Router([*surfaces, *([clustering.surface()] if clustering is not None else [])])
    if registry is not None:
        router.mount("v2", registry.find)
    dispatch = Dispatch(router)
    addresses = [door.address for door in doors]
    ports = [address.port for address in addresses if not address.is_unix]
    guard = HostGuard(is_loopback=all(address.is_loopback for address in addresses), ports=ports)
    steps: list[Step] = [
        *counting.steps(),
        watching.recent,
        *([LogBodies()] if settings.logs_bodies else []),
        LogRequests(slow_s=settings.log_slow_ns / _NS_PER_S, has_fields=settings.log_format == "json"),
        *audit_steps(settings, keyring),
        answer_errors,
        dispatch.find,
        FindClient(Proxies(settings.trusted_proxies)),
        CheckOrigin(OriginRules(settings.origins), guard),
        CheckHost(guard),
        *access_steps(settings, keyring, spent, clustering.key if clustering is not None else None),
        *([clustering.step] if clustering is not None else []),
        watching.live,
    ]
    limits = BodyLimits(
        settings.max_body_bytes, settings.max_json_depth, BodyBudget(settings.max_bodies_bytes)
    )
    return App(
        chain(steps, dispatch.run),
        limits,
        stall_timeout_s=settings.client_timeout_ns / _NS_PER_S,
        request_log=RequestLog(own_url(addresses[0])) if settings.logs_requests else None,
    )


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


def _account(settings: Settings) -> Account:
    from corral.registry.account import Account  # imports TLS, so only when needed

    return Account(settings.cloud_base_url, default_key_path())
