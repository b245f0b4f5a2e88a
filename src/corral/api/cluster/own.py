"""How this node is, for the others: what it holds, what it does, how much room it has."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from corral import __version__
from corral.api.operations.memory import MemoryLook
from corral.cluster.state import NodeState
from corral.cluster.view import LoadedModel
from corral.errors import CorralError
from corral.names import ModelName, parse_ref
from corral.scheduler.journal import Journal
from corral.scheduler.spec import LoadedInfo, RunnerState
from corral.store.models import ModelStore

# Other programs change the folder too.
_LOOK_S = 1.0
_MAX_TIMES = 500


class Loads(Protocol):
    """What is in memory, and what requests wait for."""

    def loaded(self) -> list[LoadedInfo]: ...
    def loading(self) -> list[tuple[str, float]]: ...
    def states(self) -> list[RunnerState]: ...
    def waiting(self) -> list[str]: ...


class OwnState:
    """Belongs to the event loop. `read` is cheap; what needs the disk or a driver is read in the background.

    `aliases` are further names of models, `is_ending` says whether the server is about to stop.
    """

    def __init__(
        self,
        name: str,
        store: ModelStore,
        loads: Loads,
        journal: Journal,
        memory: MemoryLook,
        *,
        aliases: Callable[[], Mapping[str, str]] = dict,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = name
        self.epoch = secrets.token_hex(16)
        self.is_draining = False
        self._store = store
        self._loads = loads
        self._journal = journal
        self._memory = memory
        self._aliases = aliases
        self._is_ending = is_ending
        self._models: Mapping[str, str] = {}
        self._generation = -1
        self._free_bytes = self._total_bytes = self._disk_bytes = 0
        self._load_seconds: dict[str, float] = {}
        self._seen = 0

    async def run(self) -> None:
        """Look at the folder and at the memory again and again. Cancelled at the end."""
        while True:
            await self.look()
            for _ in range(int(_LOOK_S / 0.1)):
                await asyncio.sleep(0.1)
                if self._generation != self._store.manifests.generation:
                    break

    async def look(self) -> None:
        """Read what takes a while."""
        self._generation = self._store.manifests.generation
        models, self._disk_bytes = await asyncio.to_thread(self._read_disk)
        if models != self._models:
            self._models = models
        memory = await self._memory.fields()
        devices = [(device["free"], device["total"]) for device in memory["devices"]]
        self._free_bytes, self._total_bytes = max([(memory["free"], memory["total"]), *devices])

    def read(self) -> NodeState:
        """The state at this moment."""
        self._note_loads()
        loaded = self._loaded()
        return NodeState(
            name=self.name,
            epoch=self.epoch,
            version=__version__,
            clock_s=time.time(),
            is_draining=self.is_draining or self._is_ending(),
            models=self._models,
            loaded=loaded,
            free_bytes=self._free_bytes,
            total_bytes=self._total_bytes,
            disk_bytes=self._disk_bytes,
            load_seconds=dict(self._load_seconds),
        )

    def _loaded(self) -> dict[str, LoadedModel]:
        infos = {info.name: info for info in self._loads.loaded()}
        waiting: dict[str, int] = {}
        for name in self._loads.waiting():
            waiting[name] = waiting.get(name, 0) + 1
        found: dict[str, LoadedModel] = {}
        for state in self._loads.states():
            if info := infos.get(state.name):
                found[info.manifest_digest] = LoadedModel(
                    info.manifest_digest,
                    max(state.slot_count, 1),
                    state.running_count,
                    state.waiting_count + waiting.pop(state.name, 0),
                    memory_bytes=info.size_bytes,
                )
        for name, _share in self._loads.loading():
            digest = self._digest_of(name)
            if digest and digest not in found:
                found[digest] = LoadedModel(digest, waiting=waiting.get(name, 0), is_loading=True)
        return found

    def _note_loads(self) -> None:
        for decision in self._journal.since(self._seen):
            self._seen = decision.number
            if decision.kind == "loaded" and (digest := self._digest_of(decision.model)):
                self._load_seconds[digest] = float(decision.facts["seconds"])
                if len(self._load_seconds) > _MAX_TIMES:
                    del self._load_seconds[next(iter(self._load_seconds))]

    def _digest_of(self, short_name: str) -> str:
        with contextlib.suppress(CorralError):
            return self._models.get(ModelName.parse(short_name).full(), "")
        return ""

    def _read_disk(self) -> tuple[Mapping[str, str], int]:
        models = {stored.name.full(): stored.digest_hex for stored in self._store.manifests.stored()}
        for alias, target in self._aliases().items():
            with contextlib.suppress(CorralError):
                name = ModelName.parse(parse_ref(target).base).full()
                if digest := models.get(name):
                    models.setdefault(ModelName.parse(alias).full(), digest)
        try:
            free_bytes = shutil.disk_usage(self._store.folder).free
        except OSError:
            free_bytes = 0
        return models, free_bytes
