"""Puts together what plans replicas on a node, and what any thread may ask about the cluster."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from corral.cluster.demand import DemandFile
from corral.cluster.managed import managed_models
from corral.cluster.peers.hands import NodeHands, OwnHands
from corral.cluster.peers.peers import Peers
from corral.cluster.replicas import Managed
from corral.cluster.replicator import Replicator
from corral.cluster.view import View
from corral.configfile.rules import ModelRules
from corral.homefolder import home_folder
from corral.names import ModelName

_log = logging.getLogger("corral.cluster")
# How old what other threads know may be.
_LOOK_S = 0.25
_SIZES_S = 5.0


class OwnModels(OwnHands, Protocol):
    """This server's models. `sizes`: bytes by full name; blocks."""

    def sizes(self) -> Mapping[str, int]: ...


class ReplicaParts:
    """Belongs to the event loop, whose thread makes it, but for `latest`."""

    def __init__(self, peers: Peers, here: OwnModels, rules: ModelRules) -> None:
        self._peers = peers
        self._here = here
        self._rules = rules
        self._latest = View({})
        self._thread = threading.get_ident()
        self._sizes: Mapping[str, int] = {}
        file = DemandFile(home_folder() / f"cluster-demand-{peers.name}.json")
        self.replicator = Replicator(peers.name, self._view, self._managed, NodeHands(peers, here), file)

    def latest(self) -> View:
        """What is known; for other threads, what was known a moment ago."""
        if threading.get_ident() == self._thread:
            self._latest = self._view()
        return self._latest

    def runs(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """What runs as long as the server is one of the cluster."""
        return self._look(), self._measure(), self.replicator.run()

    async def _look(self) -> None:
        while True:
            self._latest = self._view()
            await asyncio.sleep(_LOOK_S)

    async def _measure(self) -> None:
        while True:
            try:
                if any(section.replicas for section in self._rules.sections.models):
                    self._sizes = await asyncio.to_thread(self._here.sizes)
            except OSError as exc:
                _log.warning("the sizes of models cannot be read: %s", exc)
            await asyncio.sleep(_SIZES_S)

    def _view(self) -> View:
        return self._peers.router.view(asyncio.get_running_loop().time())

    def _managed(self, view: View) -> list[Managed]:
        return managed_models(view, self._rules, self._size_of)

    def _size_of(self, name: ModelName) -> int:
        return self._sizes.get(name.full(), 0)
