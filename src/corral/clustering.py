"""Puts together what makes this server one of a cluster: members, what they say, and the step that asks them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from corral.access.clusterkey import ClusterKey, read_cluster_key
from corral.api.cluster.attempts import Sender
from corral.api.cluster.changes import Changes
from corral.api.cluster.gateway import Gateway, Prompts
from corral.api.cluster.lists import ClusterLists
from corral.api.cluster.measures import ClusterMetrics
from corral.api.cluster.own import Loads, OwnState
from corral.api.cluster.routes import cluster_surface
from corral.api.cluster.status import StatusHandlers
from corral.api.cluster.step import ClusterStep
from corral.api.cluster.stored import StoredResponses
from corral.api.cluster.watch import WatchHandler
from corral.api.http.routing import Surface
from corral.api.operations.memory import MemoryLook
from corral.cluster.choose import Rules
from corral.cluster.directory import Directory
from corral.cluster.membership import DnsMembers, JoinedMembers, Member, Membership, StaticMembers
from corral.cluster.peers.announcing import Announcer
from corral.cluster.peers.hands import OwnHands
from corral.cluster.peers.peer import SILENCE_S
from corral.cluster.peers.peers import Peers, beat_of, client_context
from corral.cluster.peers.replicaparts import ReplicaParts
from corral.cluster.ray.members import RayMembers
from corral.cluster.ray.record import cluster_folder
from corral.cluster.ray.tablefile import NAME as TABLE
from corral.cluster.router import Router
from corral.cluster.weights import ClusterModels
from corral.clustervalues import is_node_name
from corral.config import Settings
from corral.configfile.rules import ModelRules
from corral.counting import Counting
from corral.errors import CorralError
from corral.gpus import GPU
from corral.homefolder import home_folder
from corral.metrics.instruments import Family
from corral.operations.doors import Door
from corral.scheduler.journal import Journal
from corral.store.models import ModelStore

_USUAL_PORT = 11434
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


class Ending(Protocol):
    """Whether the server is about to stop."""

    is_draining: bool


class Working(Protocol):
    """Whether requests are under way."""

    @property
    def is_empty(self) -> bool: ...


class Archive(Protocol):
    """Stored responses by their owners."""

    async def has(self, response_id: str, owner: str = "") -> bool: ...


class Replicas(OwnHands, Protocol):
    """What a plan for the whole cluster does here; `sizes` are those of models by full name, and block."""

    def sizes(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What of this server the others are told: see `OwnState`."""

    store: ModelStore
    loads: Loads
    journal: Journal
    read_devices: Callable[[int, int], tuple[GPU, ...]]
    rules: ModelRules
    ending: Ending
    working: Working
    archive: Archive
    replicas: Replicas

    def is_over(self) -> bool:
        """Whether the server is about to stop, and has nothing left to do."""
        return self.ending.is_draining and self.working.is_empty


class Clustering:
    """A server in a cluster.

    Raises:
        CorralError: the key, a certificate or a name cannot be used.
    """

    def __init__(self, settings: Settings, parts: NodeParts, port: int) -> None:
        self.key = cluster_key(settings)
        name = node_name(settings, port)
        self.own = OwnState(
            name,
            parts.store,
            parts.loads,
            parts.journal,
            MemoryLook(parts.read_devices),
            aliases=lambda: parts.rules.aliases,
            is_ending=lambda: parts.ending.is_draining,
        )
        rules = Rules(
            settings.cluster_affinity, settings.cluster_imbalance_abs, settings.cluster_imbalance_rel
        )
        # The connections see silence first; this is for what they do not see.
        self.router = Router(Directory(name, suspect_after_s=SILENCE_S * 1.25), rules)
        self.announcer = Announcer(self.own.read, self._heard_self)
        context = client_context(settings.cluster_ca_file, settings.tls_cert, settings.tls_key)
        self.peers = Peers(
            members_of(settings),
            self.router,
            self.key.text_for,
            name=name,
            epoch=self.own.epoch,
            context=context,
        )
        self._replicas = ReplicaParts(self.peers, parts.replicas, parts.rules)
        self.models = ClusterModels(name, self._replicas.latest, self._member, self.key.text_for, tls=context)
        self._metrics = ClusterMetrics(self.peers)
        self._status = StatusHandlers(
            settings.cluster_mode, self.own, self.announcer, self.peers, self._replicas.replicator
        )
        self._watch = WatchHandler(self.announcer, parts.is_over)
        self.step = self._make_step(settings, parts)

    def _member(self, node: str) -> Member | None:
        peer = self.peers.named(node)
        return peer.member if peer is not None else None

    def _heard_self(self, state: object, number: int) -> None:
        beat = beat_of(self.announcer.state, number, "")
        self.router.heard(beat, asyncio.get_running_loop().time())

    def _make_step(self, settings: Settings, parts: NodeParts) -> ClusterStep:
        lists = ClusterLists(self.peers)
        changes = Changes(self.peers, lambda: self.announcer.state.disk_bytes)
        stored = StoredResponses(self.peers, parts.archive.has)
        prompts = Prompts(
            settings.cluster_block_chars, settings.cluster_max_blocks, settings.has_cache_per_key
        )
        sender = Sender(self.peers, self._metrics, settings.cluster_retries)
        one = "/v1/responses/:id"
        special = {
            ("GET", "/api/tags"): lists.tags,
            ("GET", "/api/ps"): lists.loaded,
            ("GET", "/api/loading"): lists.loading,
            ("GET", "/api/origins"): lists.origins,
            ("GET", "/api/queue"): lists.queue,
            ("GET", "/v1/models"): lists.openai_models,
            ("DELETE", "/api/requests/:id"): lists.cancel,
            ("POST", "/api/show"): changes.details,
            ("POST", "/api/push"): changes.details,
            ("GET", "/v1/models/:model"): changes.details,
            ("POST", "/api/copy"): changes.copy,
            ("DELETE", "/api/delete"): changes.delete,
            ("POST", "/api/create"): changes.create,
            ("POST", "/api/pull"): changes.pull,
            ("GET", one): stored.handle,
            ("DELETE", one): stored.handle,
            ("GET", f"{one}/input_items"): stored.handle,
        }
        return ClusterStep(Gateway(sender, stored, prompts, changes), special)

    def surface(self) -> Surface:
        return cluster_surface(self._status, self._watch)

    def families(self) -> Sequence[Family]:
        """What is counted."""
        return self._metrics.families()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Speak to the others, and listen to them."""
        await self.own.look()
        self.announcer.look()
        tasks = [
            asyncio.create_task(work)
            for work in (self.own.run(), self.announcer.run(), self.peers.run(), *self._replicas.runs())
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def open_clustering(
    settings: Settings, parts: NodeParts, doors: Sequence[Door], counting: Counting
) -> Clustering:
    """What the settings ask for.

    Raises:
        CorralError
    """
    port = next((door.address.port for door in doors if not door.address.is_unix), 0)
    found = Clustering(settings, parts, port)
    counting.add(found.families())
    return found


def members_of(settings: Settings) -> Membership:
    """All sources of members that the settings name."""
    sources: list[Membership] = [StaticMembers(settings.cluster_peers)]
    if settings.cluster_dns:
        sources.append(DnsMembers(settings.cluster_dns))
    if settings.cluster_mode == "ray":
        sources.append(RayMembers(cluster_folder(home_folder()) / TABLE))
    return sources[0] if len(sources) == 1 else JoinedMembers(sources)


def cluster_key(settings: Settings) -> ClusterKey:
    """Raises CorralError."""
    return read_cluster_key((settings.cluster_key_file or home_folder() / "cluster.key").expanduser())


def node_name(settings: Settings, port: int) -> str:
    """The name in the settings, or that of the host, with the port if that is an unusual one.

    Raises:
        CorralError: the host's name has no letter that a name can have.
    """
    if settings.cluster_name:
        return settings.cluster_name
    host = _NO_NAME.sub("-", socket.gethostname()).strip("-._")[:50]
    name = host if port in (0, _USUAL_PORT) else f"{host}-{port}"
    if not is_node_name(name):
        raise CorralError("this host's name cannot be a node's name", hint="set CORRAL_CLUSTER_NAME")
    return name
