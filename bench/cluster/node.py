"""One server in virtual time: memory for models, slots of each, and prompts that it has computed."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from corral.cluster.directory import Heartbeat
from corral.cluster.view import LoadedModel, PromptKeys


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the simulation."""

    name: str
    digest: str
    needs_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What a node can do.

    Attributes:
        prompt_bytes_per_s: of a prompt that is not warm.
        answer_bytes_per_s: of each slot.
        load_bytes_per_s: from its disk; `fetch_bytes_per_s`: from another node.
        cached_blocks: of prompts, for each model.
        keep_alive_s: a model that nobody asks for is unloaded after it.
    """

    memory_bytes: int = 64 * 10**9
    slots: int = 4
    prompt_bytes_per_s: float = 2000.0
    answer_bytes_per_s: float = 160.0
    load_bytes_per_s: float = 1.5e9
    fetch_bytes_per_s: float = 0.5e9
    cached_blocks: int = 4096
    keep_alive_s: float = 300.0


@dataclass(slots=True)
class Job:
    """A request at a node. `began_s`: when it got a slot."""

    keys: PromptKeys
    model: Model
    answer_bytes: int
    arrived_s: float
    began_s: float = -1.0
    first_s: float = -1.0
    warm: int = 0


@dataclass(slots=True)
class _Replica:
    """A model in memory. `ready_s`: from then on it answers. `asked`: jobs that have no slot yet."""

    model: Model
    ready_s: float
    used_s: float
    is_kept: bool = False
    running: int = 0
    asked: deque[Job] = field(default_factory=deque)
    prompts: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    def warm_count(self, keys: PromptKeys) -> int:
        low, high = 0, len(keys)
        while low < high:
            middle = (low + high + 1) // 2
            if keys[middle - 1] in self.prompts:
                low = middle
            else:
                high = middle - 1
        return low

    def compute(self, keys: PromptKeys, limit: int) -> None:
        for key in reversed(keys):
            if key in self.prompts:
                self.prompts.move_to_end(key)
            else:
                self.prompts[key] = None
        while len(self.prompts) > limit:
            self.prompts.popitem(last=False)


class Node:
    """`started` are jobs that have got a slot since it was last asked; the simulation takes them from there."""

    def __init__(self, name: str, machine: Machine, models: Mapping[str, str]) -> None:
        self.name = name
        self.machine = machine
        self.models = dict(models)
        self.replicas: dict[str, _Replica] = {}
        self.epoch, self.number = 0, 0
        self.is_up = True
        self.started: list[Job] = []
        # Asked for a model that has no room yet.
        self._waiting: deque[Job] = deque()

    def take(self, job: Job, now: float) -> float | None:
        """A request arrives. When a load ends that it has begun, in seconds."""
        replica = self.replicas.get(job.model.digest)
        if replica is not None:
            replica.asked.append(job)
            self._start(replica, now)
            return None
        self._waiting.append(job)
        return self._load_waiting(now)

    def load(self, model: Model, now: float, *, has_weights: bool = True) -> float | None:
        """Loads a model if there is room. When it will be ready."""
        if model.digest in self.replicas or not self._make_room(model.needs_bytes, now):
            return None
        seconds = model.needs_bytes / self.machine.load_bytes_per_s
        if not has_weights:
            seconds += model.needs_bytes / self.machine.fetch_bytes_per_s
        self.models[model.name] = model.digest
        replica = _Replica(model, now + seconds, now + seconds)
        self.replicas[model.digest] = replica
        return replica.ready_s

    def unload(self, digest: str) -> bool:
        """Whether it was idle, and is gone."""
        replica = self.replicas.get(digest)
        if replica is None or replica.running or replica.asked:
            return False
        del self.replicas[digest]
        return True

    def ready(self, digest: str, now: float) -> None:
        """A load has ended."""
        replica = self.replicas.get(digest)
        if replica is not None:
            self._start(replica, now)

    def finish(self, job: Job, keys: PromptKeys, now: float) -> float | None:
        """A request has its answer; `keys` with the answer. When a load ends that now has room."""
        replica = self.replicas[job.model.digest]
        replica.running -= 1
        replica.used_s = now
        replica.compute(keys, self.machine.cached_blocks)
        self._start(replica, now)
        return self._load_waiting(now) if self._waiting else None

    def die(self) -> list[Job]:
        """Everything in memory is lost. Jobs that had not got a slot; those that had are known to the caller."""
        lost = [job for replica in self.replicas.values() for job in replica.asked] + list(self._waiting)
        self.replicas.clear()
        self._waiting.clear()
        self.is_up = False
        return lost

    def come_back(self) -> None:
        self.is_up = True
        self.epoch += 1
        self.number = 0

    def speak(self, now: float) -> Heartbeat:
        """What it says of itself; models that nobody has asked for in time are gone by now."""
        self.number += 1
        for digest, replica in list(self.replicas.items()):
            if now - max(replica.used_s, replica.ready_s) > self.machine.keep_alive_s:
                self.unload(digest)
        loaded = {
            digest: LoadedModel(
                digest,
                self.machine.slots,
                replica.running,
                len(replica.asked),
                replica.ready_s > now,
                replica.model.needs_bytes,
            )
            for digest, replica in self.replicas.items()
        }
        seconds = {
            digest: item.memory_bytes / self.machine.load_bytes_per_s for digest, item in loaded.items()
        }
        return Heartbeat(
            self.name,
            str(self.epoch),
            self.number,
            f"http://{self.name}",
            models=self.models if len(self.models) == 0 else dict(self.models),
            loaded=loaded,
            free_bytes=self._free_bytes(),
            total_bytes=self.machine.memory_bytes,
            load_seconds=seconds,
        )

    def _free_bytes(self) -> int:
        return self.machine.memory_bytes - sum(item.model.needs_bytes for item in self.replicas.values())

    def _start(self, replica: _Replica, now: float) -> None:
        while replica.asked and replica.running < self.machine.slots and replica.ready_s <= now:
            job = replica.asked.popleft()
            replica.running += 1
            job.began_s = now
            job.warm = replica.warm_count(job.keys)
            cold = len(job.keys) - job.warm
            job.first_s = now + cold * 512 / self.machine.prompt_bytes_per_s
            replica.used_s = now
            replica.compute(job.keys, self.machine.cached_blocks)
            self.started.append(job)

    def _load_waiting(self, now: float) -> float | None:
        """The first model that has been asked for and has room is loaded; its jobs wait for it."""
        model = self._waiting[0].model
        ready_s = self.load(model, now)
        if ready_s is None:
            return None
        replica = self.replicas[model.digest]
        replica.asked += [job for job in self._waiting if job.model is model]
        self._waiting = deque(job for job in self._waiting if job.model is not model)
        return ready_s

    def _make_room(self, needs_bytes: int, now: float) -> bool:
        """Unloads idle models, the longest unused first, if that is enough."""
        idle = sorted(
            (item.used_s, digest)
            for digest, item in self.replicas.items()
            if not item.running and not item.asked and item.ready_s <= now
        )
        free = self._free_bytes()
        if free + sum(self.replicas[digest].model.needs_bytes for _, digest in idle) < needs_bytes:
            return False
        for _, digest in idle:
            if free >= needs_bytes:
                break
            free += self.replicas.pop(digest).model.needs_bytes
        return True
