"""The gateway of a cluster: what it hears of nodes, where requests go, and what clients get when nodes fail."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar, cast

import httptools

from corral import allowance, requestfacts
from corral.api.cluster.attempts import Attempts, Sender
from corral.api.cluster.glance import Glance
from corral.api.cluster.measures import ClusterMetrics
from corral.api.http.exchange import ClientGoneError, Exchange
from corral.api.http.limits import BodyLimits
from corral.cluster.breaker import FAILURES, OPEN_S, WITHIN_S
from corral.cluster.directory import SUSPECT_AFTER_S, Directory, Heartbeat
from corral.cluster.membership import StaticMembers
from corral.cluster.peers.peers import Peers
from corral.cluster.retries import MAX_FURTHER
from corral.cluster.router import Routed, Router
from corral.cluster.view import Wanted
from corral.errors import CorralError, RunnerExitedError
from corral.web.call import Call
from corral.web.connection import Connection
from corral.web.heads import Request
from tests.simulation.network import Stream
from tests.simulation.nodes import MODEL, Node
from tests.simulation.world import World

ME = "gateway"
_BOUND_S = 60.0


@dataclass
class Client:
    """What one client sent and got. It stands for the connection too."""

    number: str
    data: bytes = b""
    is_over: bool = False
    is_broken: bool = False
    # What a call asks of its connection.
    peer: str = "203.0.113.5"
    is_encrypted: bool = False
    is_blocked: bool = False
    is_closing_soon: bool = False
    status: int = 0
    heads: int = 0
    body: bytes = b""
    # The nodes that it was at, and in which of their lives.
    at: set[str] = field(default_factory=set)
    lives: set[str] = field(default_factory=set)

    def write(self, data: bytes) -> None:
        self.data += data

    def common_headers(self) -> bytes:
        return b"server: x\r\n"

    def resume_reading(self) -> None:
        """The body is here."""

    async def drain(self) -> None:
        """It reads fast."""

    def end_call(self, _call: Call) -> None:
        self.is_over = True

    def abort(self) -> None:
        self.is_broken = True

    # httptools

    def on_headers_complete(self) -> None:
        self.heads += 1

    def on_body(self, body: bytes) -> None:
        self.body += body

    def read(self) -> None:
        """Understand what came."""
        parser = httptools.HttpResponseParser(self)
        parser.feed_data(self.data)
        self.status = parser.get_status_code()


class Reserved:
    """A caller with limits: what was set aside has to be settled, once."""

    def __init__(self, world: ClusterWorld) -> None:
        self._world = world
        self.predict = 40
        self._is_settled = False

    def reserve(self, _prompt_tokens: int, _wanted: int) -> Reserved:
        self._world.reserved += 1
        return Reserved(self._world)

    def settle(self, used: int) -> None:
        self._world.check(not self._is_settled and used >= 0, "settled", "a reservation is settled twice")
        self._is_settled = True
        self._world.reserved -= 1


class ClusterWorld(World):
    name = "cluster"
    invariants: ClassVar[dict[str, str]] = {
        "one answer": "a client gets one answer, of one node, whole and in order, or an end that says why",
        "no second beginning": "a request goes to no other node once its client has had a byte",
        "not to the dead": "nothing goes to a node that was not heard for too long, or that drains",
        "breaker": "nothing goes to a node that has just failed three times",
        "tries": "a request goes to a few nodes at most, and to none twice",
        "served": "without faults every request is served",
        "survives": "with one node lost at a time a request that has no answer yet gets one",
        "bounded": "a request ends in a bounded time",
        "settled": "what was set aside for a caller is settled once",
        "leaks": "at the end no request counts as under way, and nothing is connected",
    }

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        chance = self.chance
        self._mode = chance.choice(("calm", "one lost", "bad", "bad", "worse"))
        count = 3 if self._mode == "one lost" else chance.randint(1, 4)
        rate = {"bad": 0.2, "worse": 0.6}.get(self._mode, 0.0)
        self._nodes = {
            f"n{i}": Node(self, f"n{i}", f"10.0.0.{i}:11434", rate, slots=chance.randint(1, 3))
            for i in range(count)
        }
        for node in self._nodes.values():
            node.on_request = self._watcher(node)  # type: ignore[method-assign]
        self._serves = self._mode != "one lost" and self.maybe(0.3)
        self._router = Router(Directory(ME if self._serves else ""))
        self._clients: dict[str, Client] = {}
        self._heard_s: dict[str, float] = {}
        self._draining: set[str] = set()
        self._failures: dict[str, list[float]] = {}
        self._open_until_s: dict[str, float] = {}
        self.reserved = 0
        self._peers: Peers
        self._sender: Sender

    async def live(self) -> None:
        members = StaticMembers([f"http://{node.address}" for node in self._nodes.values()])
        self._peers = Peers(members, self._router, lambda _url: "k", name=ME, epoch="e" * 16)
        self._sender = Sender(self._peers, ClusterMetrics(self._peers))
        self._observe()
        for node in self._nodes.values():
            node.start()
        watching = self.loop.create_task(self._peers.run())
        speaking = self.loop.create_task(self._speak())
        await asyncio.sleep(1.0)
        troubles = [] if self._mode == "calm" else [self.spawn(self._trouble(), "trouble")]
        clients = [self.spawn(self._client(f"r{i}"), f"r{i}") for i in range(self.chance.randint(3, 14))]
        _, late = await asyncio.wait(clients, timeout=10 * _BOUND_S)
        self.check(not late, "bounded", lambda: f"{len(late)} requests have no end")
        for task in (watching, speaking, *troubles):
            task.cancel()
        await asyncio.gather(watching, speaking, *troubles, return_exceptions=True)
        await asyncio.sleep(1.0)
        self._check_end()
        for node in self._nodes.values():
            node.die()

    async def _speak(self) -> None:
        """The gateway's own state, if it serves models."""
        number = 0
        while self._serves:
            number += 1
            state = Node(self, ME, "", slots=2, epoch=1).state()
            self._router.heard(
                Heartbeat(ME, state.epoch, number, models=state.models, loaded=state.loaded), self.loop.time()
            )
            await asyncio.sleep(0.5)

    # --- what is watched ---

    def _observe(self) -> None:
        """Look at what the router is told and says; nothing of it changes."""
        router = self._router
        heard, route, answered, failed = router.heard, router.route, router.answered, router.failed

        def watched_heard(beat: Heartbeat, now: float) -> None:
            self._heard_s[beat.id] = now
            (self._draining.add if beat.is_draining else self._draining.discard)(beat.id)
            if beat.epoch != self._epochs.get(beat.id, beat.epoch):
                self._failures.pop(beat.id, None)
                self._open_until_s.pop(beat.id, None)
            self._epochs[beat.id] = beat.epoch
            heard(beat, now)

        def watched_route(wanted: Wanted, now: float) -> Routed:
            routed = route(wanted, now)
            if routed.sent is not None:
                self._check_routed(routed.decision.node, wanted, now)
            return routed

        def watched_failed(routed: Routed, status: int | None, now: float) -> None:
            failed(routed, status, now)
            if status is None or status == 502:
                self._note_failure(routed.decision.node, now)
            else:
                self._note_success(routed.decision.node, now)

        def watched_answered(routed: Routed, now: float, **others: float) -> None:
            answered(routed, now, **others)
            self._note_success(routed.decision.node, now)

        self._epochs: dict[str, str] = {}
        router.heard = watched_heard  # type: ignore[method-assign]
        router.route = watched_route  # type: ignore[method-assign]
        router.answered = watched_answered  # type: ignore[method-assign]
        router.failed = watched_failed  # type: ignore[method-assign]

    def _note_failure(self, node: str, now: float) -> None:
        recent = self._failures.setdefault(node, [])
        if now < self._open_until_s.get(node, 0.0):
            return
        recent.append(now)
        if len(recent) >= FAILURES and now - recent[-FAILURES] <= WITHIN_S:
            self._open_until_s[node] = now + OPEN_S
            self.note(f"nothing goes to {node} for a while")

    def _note_success(self, node: str, now: float) -> None:
        """A node that nothing went to for a while answers: what was before counts no more."""
        if now >= self._open_until_s.get(node, inf):
            del self._open_until_s[node], self._failures[node]

    def _check_routed(self, node: str, wanted: Wanted, now: float) -> None:
        silent_s = now - self._heard_s[node]
        self.check(silent_s <= SUSPECT_AFTER_S, "not to the dead", f"{node} was silent for {silent_s:.3f} s")
        self.check(node not in self._draining, "not to the dead", f"{node} drains")
        self.check(node not in wanted.tried, "tries", f"{node} is tried again")
        self.check(now >= self._open_until_s.get(node, 0.0), "breaker", f"{node} has just failed")

    def _watcher(self, node: Node) -> Any:
        def on_request(number: str, stream: Stream) -> None:
            client = self._clients[number]
            if stream.end.other.is_closed:
                return  # it was on its way for long, and is given up
            self.check(
                not client.data, "no second beginning", f"{number} comes to {node.name} after an answer"
            )
            life = f"{node.name} in its life {node.epoch}"
            self.check(life not in client.lives, "tries", f"{number} comes to {life} again")
            client.lives.add(life)
            client.at.add(node.name)
            most = MAX_FURTHER + 1
            self.check(len(client.at) <= most, "tries", f"{number} was at {sorted(client.at)}")

        return on_request

    # --- clients ---

    async def _client(self, number: str) -> None:
        chance = self.chance
        await asyncio.sleep(chance.uniform(0, 12))
        client = self._clients[number] = Client(number)
        body = b'{"model":"m","stream":false}' if self.maybe(0.3) else b'{"model":"m"}'
        request = Request("POST", "/api/generate", b"", [], size_bytes=len(body), raw_path="/api/generate")
        call = Call(request, cast(Connection, client), self.loop)
        exchange = Exchange(call, number, limits=BodyLimits())
        exchange.surface = "native"
        leaves = self.loop.call_later(chance.uniform(0, 1), call.lose) if self.maybe(0.15) else None
        wanted = Wanted(MODEL, seed=chance.getrandbits(32), session=chance.choice(("", "s")))
        if self.maybe(0.5):
            allowance.begin(Reserved(self))
        attempts = Attempts(
            self._sender, exchange, self._here, wanted=wanted, glance=Glance("m"), body=body, began_s=0.0
        )
        self.note(f"{number} asks")
        error: CorralError | None = None
        try:
            async with asyncio.timeout(_BOUND_S):
                await attempts.run()
        except TimeoutError:
            self.fail("bounded", f"{number} has no end after {_BOUND_S} s")
        except CorralError as exc:
            error = exc
        if leaves is not None:
            leaves.cancel()
        if not call.gone.done():
            self._check_answer(client, error)

    async def _here(self, exchange: Exchange) -> None:
        """The gateway serves a request itself."""
        number = exchange.request_id
        self._clients[number].at.add(ME)
        self.check(not self._clients[number].data, "no second beginning", f"{number} begins twice")
        await asyncio.sleep(self.chance.uniform(0, 0.1))
        if self._mode in ("bad", "worse") and self.maybe(0.3):
            raise RunnerExitedError("the engine stopped")
        await exchange.start_stream("application/x-ndjson")
        for n in range(3):
            line = {"who": ME, "to": number, "n": n} | ({"done": True} if n == 2 else {})
            await exchange.write(json.dumps(line).encode() + b"\n")
        await exchange.end_stream()

    def _check_answer(self, client: Client, error: CorralError | None) -> None:
        number = client.number
        if not client.data:
            self.note(f"{number} gets no answer: {error}")
            self.check(
                error is not None and not isinstance(error, ClientGoneError), "one answer", f"{number}"
            )
            self.check(self._mode != "calm", "served", lambda: f"{number}: {error}")
            self.check(self._mode != "one lost", "survives", lambda: f"{number}: {error}")
            return
        client.read()
        self.check(client.heads == 1, "one answer", lambda: f"{number} has {client.heads} heads")
        lines = [json.loads(line) for line in client.body.splitlines() if line.startswith(b"{")]
        self.note(f"{number} gets {client.status}, {len(lines)} lines")
        if client.status != 200:
            self.check(self._mode in ("bad", "worse"), "served", lambda: f"{number} gets {client.status}")
            return
        said = [line for line in lines if "who" in line]
        self.check(len({line["who"] for line in said}) <= 1, "one answer", f"{number}: several nodes")
        is_right = [line["n"] for line in said] == list(range(len(said)))
        is_mine = all(line["to"] == number for line in said)
        self.check(is_right and is_mine, "one answer", lambda: f"{number} gets {lines}")
        ends = sum("done" in line for line in said) + sum("error" in line for line in lines)
        is_ended = ends == 1 and lines[-1] is not None and ("done" in lines[-1] or "error" in lines[-1])
        self.check(is_ended or error is not None, "one answer", lambda: f"{number} ends with {lines[-1:]}")
        self.check(self._mode != "calm" or "done" in lines[-1], "served", lambda: f"{number}: {lines[-1]}")

    # --- what happens to nodes ---

    async def _trouble(self) -> None:
        chance = self.chance
        while True:
            await asyncio.sleep(chance.uniform(0.5, 5))
            node = chance.choice(list(self._nodes.values()))
            kind = chance.choice(("dies", "dies", "hangs", "drains"))
            if self._mode == "one lost":
                kind = "dies"
            self.note(f"{node.name} {kind}")
            await self._befall(node, kind)

    async def _befall(self, node: Node, kind: str) -> None:
        away_s = self.chance.uniform(0.2, 6)
        network = self.loop.network
        match kind:
            case "dies":
                node.die()
                await asyncio.sleep(away_s)
                node.start()
            case "hangs":
                network.cut(node.address)
                await asyncio.sleep(away_s)
                network.heal(node.address)
            case "drains":
                node.is_draining = True
                await asyncio.sleep(away_s)
                node.is_draining = False
        self.note(f"{node.name} is back")
        # The others have to know of it before the next one goes.
        await asyncio.sleep(4.0 if self._mode == "one lost" else 0.1)

    def _check_end(self) -> None:
        view = self._router.view(self.loop.time())
        left = {name: dict(node.sent) for name, node in view.nodes.items() if node.sent}
        self.check(not left, "leaks", lambda: f"under way at the end: {left}")
        for peer in self._peers:
            self.check(not (peer.waiting or peer.running), "leaks", f"{peer.name} has answers under way")
        self.check(not self.reserved, "settled", lambda: f"{self.reserved} reservations are left")
        mine = Counter(end.address for end in self.loop.network.ends if end.is_client)
        self.check(not mine, "leaks", lambda: f"still connected: {dict(mine)}")
        requestfacts.current()
