"""Requests that are about a model's place: details, copies, deletions, pulls, new models, and the end of a model.

Details come from this server if it has the model, else from a node that has it. Copies and deletions happen on every
node that has the model. A new model is made here, where its files were uploaded. A pull goes where the model is, else
to this server, else to the node with the most room.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from corral import requestfacts
from corral.api.cluster.asking import NodeAnswer, ask_all, respond_as
from corral.api.cluster.captured import captured
from corral.api.cluster.forwarding import Sending, pass_on
from corral.api.cluster.glance import NOTHING, Glance, glance_at, unpacked_body
from corral.api.cluster.hopping import NODE, target_of
from corral.api.cluster.lists import MISSING
from corral.api.cluster.names import full_name, holders_of, node_asked_for
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.cluster.peers.peer import Peer
from corral.cluster.peers.peers import Peers
from corral.cluster.view import Health, View
from corral.errors import NodeError, NoNodeError
from corral.golang.json import encode

_log = logging.getLogger("corral.cluster")
# Deleting what others use too reads all manifests; a pull of a model that is there looks at its registry.
_CHANGE_S = 60.0
_PULL_S = 24 * 3600.0
# With less room than this another node is asked to pull, if it has more.
_ROOM_BYTES = 10 << 30


class Changes:
    """`disk_bytes`: room for models on this server."""

    def __init__(self, peers: Peers, disk_bytes: Callable[[], int]) -> None:
        self._peers = peers
        self._disk_bytes = disk_bytes
        self._later: set[asyncio.Task[None]] = set()

    async def details(self, exchange: Exchange, following: Handler) -> None:
        """`/api/show`, `/v1/models/:model`, `/api/push`: at one node that has the model."""
        body, glance, view = await self._read(exchange)
        name = full_name(exchange.params.get("model", "") or glance.model, view)
        node = node_asked_for(exchange, view) or (self._nearest(name, view) if name else "")
        await self.at(exchange, following, node, body)

    async def copy(self, exchange: Exchange, following: Handler) -> None:
        """`/api/copy`: wherever the source is."""
        body, glance, view = await self._read(exchange)
        name = full_name(glance.source, view) if glance.source else None
        await self._everywhere(exchange, following, name, view, body)

    async def delete(self, exchange: Exchange, following: Handler) -> None:
        """`/api/delete`: wherever the model is."""
        body, glance, view = await self._read(exchange)
        name = full_name(glance.model, view) if glance.model else None
        await self._everywhere(exchange, following, name, view, body)

    async def create(self, exchange: Exchange, following: Handler) -> None:
        """`/api/create`: here, unless it is made of a model alone that is only elsewhere."""
        body, glance, view = await self._read(exchange)
        name = full_name(glance.base, view) if glance.base and not glance.has_files else None
        node = node_asked_for(exchange, view) or (self._nearest(name, view) if name else "")
        await self.at(exchange, following, node, body)

    async def pull(self, exchange: Exchange, following: Handler) -> None:
        """`/api/pull`: see above. Other nodes that have the model pull it too, afterwards and in the background."""
        body, glance, view = await self._read(exchange)
        name = full_name(glance.model, view) if glance.model else None
        asked = node_asked_for(exchange, view)
        node = asked or (self._nearest(name, view) if name else self._roomiest(view))
        await self.at(exchange, following, node, body)
        if name is None or asked or exchange.status != 200:
            return
        later = [peer for peer in self._holding(name, view) if peer is not self._peers.named(node)]
        if later:
            task = asyncio.create_task(self._pull_too(exchange, later, glance.model))
            self._later.add(task)
            task.add_done_callback(self._later.discard)

    async def unload(self, exchange: Exchange, following: Handler, name: str, body: bytes) -> None:
        """The end of a model in the memory of every node."""
        view = self._view()
        holding = self._holding(name, view)
        peers = [peer for peer in holding if self._has_loaded(peer, name, view)]
        if self._peers.name in holders_of(name, view) or not holding:
            own, _ = await asyncio.gather(
                captured(exchange, following, self._peers.name), self._ask(exchange, peers, body)
            )
            await respond_as(exchange, own)
            return
        # Where it is not loaded, a node that has it says so.
        await respond_as(exchange, (await self._ask(exchange, peers or holding[:1], body))[0])

    async def _everywhere(
        self, exchange: Exchange, following: Handler, name: str | None, view: View, body: bytes
    ) -> None:
        """Do the same on every node that has a model; the first failure is the answer."""
        me = self._peers.name
        holders = holders_of(name, view) if name else {}
        if asked := node_asked_for(exchange, view):
            await self.at(exchange, following, asked, body)
            return
        if not holders or set(holders) == {me}:
            await following(exchange)
            return
        silent = [node for node in holders if view.nodes[node].health is Health.SUSPECT]
        if silent:
            raise NoNodeError(
                f"node {silent[0]} has the model too and is not heard at the moment",
                hint="try again in a moment, or take it out with corral cluster remove",
            )
        answers = await self._ask(exchange, self._holding(name or "", view), body)
        if me in holders:
            answers.insert(0, await captured(exchange, following, me))
        if not answers:
            raise NoNodeError(
                f"only node {next(iter(holders))} has the model, and it is gone",
                hint="try again when it is back, or take it out with corral cluster remove",
            )
        failed = next((answer for answer in answers if not 200 <= answer.status < 300), None)
        if failed is not None and not failed.status:
            raise NodeError(f"node {failed.node}: {failed.problem}")
        gone = [node for node in holders if view.nodes[node].health is Health.GONE]
        if gone:
            exchange.extra_headers.append((MISSING, ", ".join(gone).encode("ascii", "replace")))
        chosen = failed or answers[0]
        requestfacts.current().node = ",".join(answer.node for answer in answers)
        await respond_as(exchange, chosen)

    async def at(self, exchange: Exchange, following: Handler, node: str, body: bytes) -> None:
        """Let one node answer; empty: this server."""
        peer = self._peers.named(node) if node and node != self._peers.name else None
        exchange.extra_headers.append((NODE, (node or self._peers.name).encode("ascii")))
        if peer is None:
            await following(exchange)
            return
        facts = requestfacts.current()
        facts.node, facts.why, facts.is_elsewhere = node, "holder", True
        sending = Sending(exchange.method, target_of(exchange), body, self._peers.name)

        async def work() -> None:
            if (left := await pass_on(exchange, peer, sending)) is not None:
                raise left.error or NodeError("the node has no answer")

        await exchange.run_watched(work())

    async def _read(self, exchange: Exchange) -> tuple[bytes, Glance, View]:
        body = b"" if exchange.method == "GET" else await unpacked_body(exchange) or b""
        glance = await glance_at(exchange, body, 0) if body else NOTHING
        if named := glance.source or glance.model:
            requestfacts.note_target(named)
        return body, glance, self._view()

    def _nearest(self, name: str | None, view: View) -> str:
        """A node that has a model: this one, else the first that is heard; empty if there is none."""
        holders = holders_of(name, view) if name else {}
        if self._peers.name in holders:
            return self._peers.name
        return next((node for node in holders if view.nodes[node].health is Health.ALIVE), "")

    def _roomiest(self, view: View) -> str:
        """Where a model can lie that nobody has yet."""
        me = self._peers.name
        own = view.nodes.get(me)
        rooms = {me: self._disk_bytes()}
        for peer in self._peers.heard():
            if peer.state is not None and not peer.state.is_draining:
                rooms[peer.state.name] = peer.state.disk_bytes
        is_fine = own is not None and not own.is_draining and rooms[me] >= _ROOM_BYTES
        if own is not None and own.is_draining:
            del rooms[me]
        return me if is_fine or not rooms else max(rooms, key=lambda node: rooms[node])

    def _holding(self, name: str, view: View) -> list[Peer]:
        """Other servers that have a model and are heard."""
        holders = holders_of(name, view)
        return [peer for peer in self._peers.heard() if peer.name in holders]

    @staticmethod
    def _has_loaded(peer: Peer, name: str, view: View) -> bool:
        node = view.nodes.get(peer.name)
        return node is not None and node.models.get(name) in node.loaded

    async def _ask(self, exchange: Exchange, peers: Sequence[Peer], body: bytes) -> list[NodeAnswer]:
        return await ask_all(
            exchange, peers, self._peers.name, method=exchange.method, body=body, timeout_s=_CHANGE_S
        )

    async def _pull_too(self, exchange: Exchange, peers: Sequence[Peer], model: str) -> None:
        body = encode({"model": model, "stream": False})
        answers = await ask_all(
            exchange,
            peers,
            self._peers.name,
            method="POST",
            target=b"/api/pull",
            body=body,
            timeout_s=_PULL_S,
        )
        for answer in answers:
            words = "done" if answer.status == 200 else answer.problem or f"status {answer.status}"
            _log.info("pull model=%s node=%s: %s", model, answer.node, words)

    def _view(self) -> View:
        return self._peers.router.view(asyncio.get_running_loop().time())
