"""One gateway, many nodes and many clients in virtual time: a heap of events, and no work for nodes that none of them
concerns. The router, the scaler and the placement are those of the server."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from random import Random
from statistics import fmean, pstdev
from time import monotonic
from typing import Any

from bench.cluster.node import Job, Machine, Model, Node
from bench.cluster.trace import Conversation, Load, conversations, zipf
from corral.cluster.directory import Directory
from corral.cluster.placement import plan
from corral.cluster.replicas import Managed, Replicas, Scaler
from corral.cluster.retries import Attempt, may_retry
from corral.cluster.router import Routed, Router
from corral.cluster.view import Wanted


@dataclass(frozen=True, slots=True)
class Setup:
    """What is simulated.

    Attributes:
        requests: the simulation ends when so many have been answered or given up.
        speak_s: between two words of a node; in between it speaks when a model is loaded or gone.
        plan_s: between two looks at the numbers of replicas.
        loss_s: between two losses of a node, on average; it comes back empty after `away_s`, on average. 0: none.
        replicas: of each model, before anybody asks.
        begin_s: when the first client comes.
        warm_up: the share of the requests, in the order of their arrival, that does not count.
    """

    nodes: int = 1000
    requests: int = 1_000_000
    load: Load = field(default_factory=Load)
    machine: Machine = field(default_factory=Machine)
    speak_s: float = 5.0
    plan_s: float = 30.0
    loss_s: float = 20.0
    away_s: float = 120.0
    replicas: int = 1
    begin_s: float = 20.0
    warm_up: float = 0.1
    seed: int = 1


@dataclass(slots=True)
class Results:
    """What came of it; times in seconds of requests that count."""

    requests: int = 0
    hits: int = 0
    blocks: int = 0
    queue_s: array[float] = field(default_factory=lambda: array("d"))
    first_s: array[float] = field(default_factory=lambda: array("d"))
    whys: Counter[str] = field(default_factory=Counter)
    imbalance: list[float] = field(default_factory=list)
    retried: int = 0
    broken: int = 0
    lost: int = 0
    lost_nodes: int = 0
    seconds: float = 0.0

    @property
    def hit_share(self) -> float:
        """Of all blocks of all prompts, those that a node had computed already."""
        return self.hits / max(1, self.blocks)


@dataclass(slots=True)
class _Request:
    """One question on its way. `number`: in the order of arrival."""

    talk: Conversation
    wanted: Wanted
    answer_bytes: int
    keys_after: tuple[bytes, ...]
    asked_s: float
    number: int
    attempt: int = 1
    routed: Routed | None = None
    job: Job | None = None


class Simulation:
    def __init__(self, setup: Setup, policy: Callable[[Directory], Router]) -> None:
        self._setup = setup
        # Nodes speak more seldom than in a real cluster, so silence means something later.
        silent_s = 3.0 * setup.speak_s
        self._router = policy(Directory(suspect_after_s=silent_s, gone_after_s=5 * silent_s))
        self._models = _models(setup.load.models)
        self._managed = [
            Managed(
                model.name, model.digest, Replicas(min=setup.replicas, max=setup.nodes), model.needs_bytes
            )
            for model in self._models
        ]
        self._scaler = Scaler()
        self._nodes = {node.name: node for node in _nodes(setup, self._models)}
        self._at_work: dict[str, dict[int, _Request]] = {name: {} for name in self._nodes}
        self._by_job: dict[int, _Request] = {}
        self._trace = conversations(setup.load, setup.seed)
        self._chance = Random(setup.seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = self._asked = self._ended = 0
        self.now = 0.0
        self.results = Results()

    def run(self, *, limit_s: float = inf) -> Results:
        """The whole of it, or as much as takes so long: `Results.requests` says how many have ended."""
        end_s = monotonic() + limit_s
        for i, name in enumerate(self._nodes):
            self._at(self._setup.speak_s * i / len(self._nodes), self._speak, name)
        self._at(self._setup.speak_s, self._plan)
        begin_s = self._setup.begin_s
        self._next_conversation(begin_s)
        if self._setup.loss_s:
            self._at(begin_s + self._chance.expovariate(1 / self._setup.loss_s), self._lose)
        while self._ended < self._setup.requests and monotonic() < end_s:
            self.now, _, call, arguments = heappop(self._events)
            call(*arguments)
        self.results.seconds, self.results.requests = self.now, self._ended
        return self.results

    def _at(self, when: float, call: Callable[..., None], *arguments: object) -> None:
        self._order += 1
        heappush(self._events, (when, self._order, call, arguments))

    # Clients.

    def _next_conversation(self, begin_s: float = 0.0) -> None:
        after_s, talk = next(self._trace)
        self._at(begin_s + after_s, self._begin, begin_s, talk)

    def _begin(self, begin_s: float, talk: Conversation) -> None:
        self._next_conversation(begin_s)
        self._ask(talk)

    def _ask(self, talk: Conversation) -> None:
        if self._asked >= self._setup.requests:
            return
        keys, answers = talk.ask(self._setup.load)
        model = self._models[talk.app.model]
        wanted = Wanted(
            model.name, keys=keys, answers=answers, session=str(talk.number), needs_bytes=model.needs_bytes
        )
        size = talk.answer(self._setup.load)
        request = _Request(talk, wanted, size, tuple(talk.keys), self.now, self._asked)
        self._asked += 1
        self._send(request)

    def _send(self, request: _Request) -> None:
        self._order += 1
        wanted = request.wanted
        request.wanted = wanted = Wanted(
            wanted.model,
            keys=wanted.keys,
            answers=wanted.answers,
            session=wanted.session,
            needs_bytes=wanted.needs_bytes,
            tried=wanted.tried,
            seed=self._order,
        )
        request.routed = routed = self._router.route(wanted, self.now)
        if routed.sent is None:
            self._give_up(request)
            return
        node = self._nodes[routed.sent.node]
        if not node.is_up:
            self._fail(request)
            return
        model = self._models[request.talk.app.model]
        request.job = job = Job(wanted.keys, model, request.answer_bytes, self.now)
        self._at_work[node.name][id(job)] = request
        self._by_job[id(job)] = request
        self._loading(node, node.take(job, self.now), model)
        self._started(node)

    def _fail(self, request: _Request) -> None:
        """A node did not answer: another one, as the gateway would."""
        routed = request.routed
        assert routed is not None
        self._router.failed(routed, None, self.now)
        if not may_retry(Attempt(None, request.attempt), has_capacity=False):
            self._give_up(request)
            return
        self.results.retried += 1
        request.attempt += 1
        wanted = request.wanted
        request.wanted = Wanted(
            wanted.model,
            keys=wanted.keys,
            answers=wanted.answers,
            session=wanted.session,
            needs_bytes=wanted.needs_bytes,
            tried=wanted.tried | {routed.decision.node},
        )
        self._send(request)

    def _give_up(self, request: _Request) -> None:
        self.results.lost += 1
        self._end(request)

    def _end(self, request: _Request) -> None:
        self._ended += 1
        if request.talk.turns_left > 0:
            self._at(self.now + request.talk.think_s(self._setup.load), self._ask, request.talk)

    # Nodes.

    def _started(self, node: Node) -> None:
        for job in node.started:
            request = self._by_job[id(job)]
            end_s = job.first_s + job.answer_bytes / self._setup.machine.answer_bytes_per_s
            self._at(job.first_s, self._first_byte, request, job)
            self._at(end_s, self._finish, node, request, job)
        node.started.clear()

    def _first_byte(self, request: _Request, job: Job) -> None:
        if request.job is not job or request.routed is None:
            return
        self._router.answered(request.routed, self.now)
        if request.number < self._setup.warm_up * self._setup.requests:
            return
        results = self.results
        results.hits += job.warm
        results.blocks += len(job.keys)
        results.queue_s.append(job.began_s - request.asked_s)
        results.first_s.append(self.now - request.asked_s)
        results.whys[request.routed.decision.why] += 1

    def _finish(self, node: Node, request: _Request, job: Job) -> None:
        if request.job is not job or request.routed is None:
            return  # it was lost with its node
        self._router.ended(request.routed, self.now)
        self._drop(node.name, request)
        self._end(request)
        self._loading(node, node.finish(job, request.keys_after, self.now), job.model)
        self._started(node)

    def _drop(self, name: str, request: _Request) -> None:
        del self._at_work[name][id(request.job)], self._by_job[id(request.job)]
        request.job = None

    def _loading(self, node: Node, ready_s: float | None, model: Model) -> None:
        if ready_s is None:
            return
        # Which model it is: the newest one that is not ready at this moment.
        for digest, replica in node.replicas.items():
            if replica.ready_s == ready_s:
                self._at(ready_s, self._ready, node, node.epoch, digest)
        self._say(node)

    def _ready(self, node: Node, epoch: int, digest: str) -> None:
        if node.is_up and node.epoch == epoch:
            node.ready(digest, self.now)
            self._say(node)
            self._started(node)

    def _say(self, node: Node) -> None:
        self._router.heard(node.speak(self.now), self.now)

    def _speak(self, name: str) -> None:
        node = self._nodes[name]
        if node.is_up:
            self._say(node)
        self._at(self.now + self._setup.speak_s, self._speak, name)

    def _lose(self) -> None:
        """A node dies. Its connections break: what had no first byte goes elsewhere, the rest is broken off."""
        node = self._nodes[self._chance.choice(sorted(self._nodes))]
        self._at(self.now + self._chance.expovariate(1 / self._setup.loss_s), self._lose)
        if not node.is_up:
            return
        self.results.lost_nodes += 1
        node.die()
        self._at(self.now + self._chance.expovariate(1 / self._setup.away_s), self._return, node)
        for request in list(self._at_work[node.name].values()):
            job = request.job
            assert job is not None and request.routed is not None
            has_begun = 0 <= job.first_s <= self.now
            self._drop(node.name, request)
            if has_begun:
                self.results.broken += 1
                self._router.ended(request.routed, self.now, is_whole=False)
                self._end(request)
            else:
                self._fail(request)

    def _return(self, node: Node) -> None:
        node.come_back()
        self._say(node)

    def _plan(self) -> None:
        view = self._router.view(self.now)
        wanted = self._scaler.wanted(view, self._managed, self.now)
        steps = plan(view, self._managed, wanted)
        by_digest = {model.digest: model for model in self._models}
        for unload in steps.unloads:
            if self._nodes[unload.node].unload(unload.digest):
                self._say(self._nodes[unload.node])
        for load in steps.loads:
            node = self._nodes[load.node]
            if node.is_up:
                ready_s = node.load(by_digest[load.digest], self.now, has_weights=load.has_weights)
                self._loading(node, ready_s, by_digest[load.digest])
        self._measure()
        self._at(self.now + self._setup.plan_s, self._plan)

    def _measure(self) -> None:
        """How unequal nodes with the same model are: deviation over mean of requests, for models that are busy."""
        counts: dict[str, list[int]] = {}
        for node in self._nodes.values():
            for digest, replica in node.replicas.items():
                if replica.ready_s <= self.now:
                    counts.setdefault(digest, []).append(replica.running + len(replica.asked))
        for busy_at in counts.values():
            if len(busy_at) > 1 and fmean(busy_at) >= 1:
                self.results.imbalance.append(pstdev(busy_at) / fmean(busy_at))


def _models(count: int) -> list[Model]:
    """Of 4 to 20 GB."""
    return [
        Model(f"registry.ollama.ai/library/m{i}:latest", f"sha256:{i:064x}", (4 + i * 7 % 17) * 10**9)
        for i in range(count)
    ]


def _nodes(setup: Setup, models: Sequence[Model]) -> Iterator[Node]:
    """Each has the files of a tenth of the models; the more a model is asked for, the more nodes have it."""
    chance, shares = Random(setup.seed + 1), zipf(len(models))
    few = max(2, len(models) // 10)
    for i in range(setup.nodes):
        held: Mapping[str, str] = {
            model.name: model.digest for model in chance.choices(models, cum_weights=shares, k=few)
        }
        spare = models[i % len(models)]  # so that each is somewhere
        yield Node(f"n{i:04}", setup.machine, {**held, spare.name: spare.digest})
