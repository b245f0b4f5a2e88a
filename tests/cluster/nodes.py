"""Nodes of a cluster in this process: a store each, served under `/v2/`, and pulls that know the others.

What a node has is what its store says, so that everybody knows at once who has got a model.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corral import caller
from corral.api.http.app import App
from corral.api.http.exchange import Exchange
from corral.api.http.limits import BodyLimits
from corral.api.http.routing import Handler, Router
from corral.api.http.steps import chain
from corral.api.http.steps.dispatch import Dispatch
from corral.api.http.steps.failures import answer_errors
from corral.api.registry.routes import Registry
from corral.caller import CLUSTER_SCOPES, Caller
from corral.cluster.membership import Member
from corral.cluster.view import NodeView, View
from corral.cluster.weights import ClusterModels
from corral.config import Settings
from corral.digest import Digest
from corral.errors import UnauthorizedError
from corral.library.blob_access import BlobAccess
from corral.library.registry_server import Hosting
from corral.library.upload_turns import UploadTurns
from corral.names import ModelName
from corral.registry.client_pool import Gateway
from corral.registry.request import TransferRequest
from corral.store.manifests import Layer, Manifest
from corral.store.models import ModelStore
from corral.store.uploads import UploadStore
from corral.web.server import WebServer

KEY = "the key of the cluster, long enough"
NAME = ModelName.parse("m")


class CountedTurns(UploadTurns):
    """Knows whom it served."""

    def __init__(self) -> None:
        super().__init__(grace_s=0.0)
        self.peers: Counter[str] = Counter()
        self.most = 0

    @contextmanager
    def turn(self, peer: str, *, rests: bool = True) -> Iterator[None]:
        with super().turn(peer, rests=rests):
            self.peers[peer] += 1
            self.most = max(self.most, len(self._active))
            yield


class Node:
    """One node; `cluster` has all by name."""

    def __init__(self, name: str, folder: Path, cluster: dict[str, Node], registry: str, **env: str) -> None:
        self.name = name
        self.key = KEY
        self.cluster = cluster
        self.store = ModelStore(folder / name)
        self.turns = CountedTurns()
        settings = Settings.from_env(
            {
                "OLLAMA_MODELS": str(folder / name),
                "CORRAL_DEFAULT_REGISTRY": registry,
                "CORRAL_PULL_RETRY_DELAY": "10ms",
                **env,
            }
        )
        models = ClusterModels(name, self.view, self._member, lambda _url: self.key)
        self.gateway = Gateway(settings, self.store, peers=models)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._web = WebServer(self._app(), max_connections=100)

    def _app(self) -> App:
        hosting = Hosting(self.store, BlobAccess(self.store))
        uploads = UploadStore(self.store.folder / "uploads", self.store.blobs)
        registry = Registry(hosting, self.store.blobs, uploads, may_push=False, turns=self.turns)
        router = Router([])
        router.mount("v2", registry.find)
        dispatch = Dispatch(router)
        return App(chain([answer_errors, dispatch.find, check_key], dispatch.run), BodyLimits())

    async def open(self) -> None:
        await self._web.start(self._listener)

    async def close(self) -> None:
        await self.gateway.close()
        await self._web.stop(lambda: None, grace_s=0.1)

    def view(self) -> View:
        """What everybody has, at this moment."""
        nodes = {
            node.name: NodeView(
                node.name,
                node.url,
                models={s.name.full(): s.digest_hex for s in node.store.manifests.stored()},
            )
            for node in self.cluster.values()
        }
        return View(nodes, self.name)

    def _member(self, name: str) -> Member | None:
        return Member(self.cluster[name].url) if name in self.cluster and name != self.name else None

    def has(self) -> bool:
        return bool(self.store.manifests.entries(NAME))

    def add(self, weights: bytes) -> Manifest:
        """Put a model there."""
        layers = []
        for kind, data in (("model", weights), ("template", b"{{ .Prompt }}")):
            result = self.store.blobs.put_bytes(data)
            layers.append(Layer(f"application/vnd.ollama.image.{kind}", result.digest, len(data)))
        config = b'{"model_format":"gguf","model_family":"llama"}'
        digest = self.store.blobs.put_bytes(config).digest
        manifest = Manifest(
            Layer("application/vnd.docker.container.image.v1+json", digest, len(config)), tuple(layers)
        )
        self.store.manifests.write(NAME, manifest.encode())
        return manifest

    async def pull(self) -> list[dict[str, Any]]:
        """Pull the model; the lines that the client would get after `pulling manifest`."""
        lines: list[dict[str, Any]] = []

        async def report(line: dict[str, Any]) -> None:
            lines.append(dict(line))

        async def assemble(_files: dict[str, str]) -> None:
            raise AssertionError("these are not files of Hugging Face")

        await self.gateway.pull(NAME, report, TransferRequest(), assemble)
        return lines

    def blob(self, digest: Digest) -> bytes:
        return self.store.blobs.path(digest).read_bytes()


async def check_key(exchange: Exchange, following: Handler) -> None:
    """Whoever shows the key is another node."""
    if exchange.header(b"authorization") != f"Bearer {KEY}":
        raise UnauthorizedError("a valid API key is required")
    caller.begin(Caller("cluster", "cluster", CLUSTER_SCOPES))
    await following(exchange)


class Nodes:
    """All of them, as an asynchronous context."""

    def __init__(
        self, folder: Path, names: Sequence[str], registry: str = "http://127.0.0.1:9", **env: str
    ) -> None:
        self.all: dict[str, Node] = {}
        for name in names:
            self.all[name] = Node(name, folder, self.all, registry, **env)

    async def __aenter__(self) -> dict[str, Node]:
        for node in self.all.values():
            await node.open()
        return self.all

    async def __aexit__(self, *_exc: object) -> None:
        await asyncio.gather(*(node.close() for node in self.all.values()))
