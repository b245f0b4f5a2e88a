"""The handlers of `/api/cluster`: who belongs to it, how they are, and who is to take nothing new."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from corral import caller
from corral.api.cluster.own import OwnState
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.cluster.peers.announcing import Announcer
from corral.cluster.peers.peer import Peer, Standing
from corral.cluster.peers.peers import Peers
from corral.cluster.plans import plan_facts
from corral.cluster.replicator import Replicator
from corral.cluster.state import NodeState
from corral.cluster.view import NodeView
from corral.errors import NodeError, NodeNotFoundError
from corral.golang.json import encode
from corral.names import ModelName
from corral.requestfacts import note_target

_log = logging.getLogger("corral.cluster")
_TELL_S = 3.0
_MAX_ERROR_BYTES = 4096
PEER_PATH = "/api/cluster/peer"


class StatusHandlers:
    """`changed` has what was just decided told to the other nodes. `replicator` plans where models are loaded."""

    def __init__(
        self, mode: str, own: OwnState, announcer: Announcer, peers: Peers, replicator: Replicator
    ) -> None:
        self._replicator = replicator
        self._mode = mode
        self._own = own
        self._announcer = announcer
        self._peers = peers

    async def get(self, exchange: Exchange) -> None:
        """The whole cluster as this server sees it."""
        view = self._peers.router.view(asyncio.get_running_loop().time())
        me = self._announcer.state
        nodes = [_node(me, view.nodes.get(me.name), url="", standing="self", problem="")]
        nodes += [_peer(peer, view.nodes.get(peer.name)) for peer in self._peers]
        found = {"mode": self._mode, "name": self._own.name, "nodes": nodes}
        found |= plan_facts(self._replicator, view, _is_visible)
        await exchange.respond(200, encode(found), JSON_UTF8)

    async def drain(self, exchange: Exchange) -> None:
        await self._set_draining(exchange, is_draining=True)

    async def undrain(self, exchange: Exchange) -> None:
        """Also lets a node in again that was taken out."""
        name = _named(exchange)
        if self._peers.restore(name):
            await self._tell_all("restore", name)
            await _done(exchange)
            return
        await self._set_draining(exchange, is_draining=False)

    async def remove(self, exchange: Exchange) -> None:
        """Have nothing to do with a node any more, on this server and on all others."""
        name = _named(exchange)
        if not self._peers.remove(name):
            raise _unknown(name)
        await self._tell_all("remove", name)
        await _done(exchange)

    async def _set_draining(self, exchange: Exchange, *, is_draining: bool) -> None:
        name = _named(exchange)
        if name == self._own.name:
            self.set_own(is_draining=is_draining)
        elif (peer := self._peers.named(name)) is None:
            raise _unknown(name)
        else:
            await _tell(peer, "drain" if is_draining else "undrain")
        await _done(exchange)

    def set_own(self, *, is_draining: bool) -> None:
        """Take nothing new, or take it again; until the server ends."""
        if self._own.is_draining != is_draining:
            _log.info("this node is %s", "draining" if is_draining else "not draining any more")
        self._own.is_draining = is_draining
        self._announcer.look()

    async def _tell_all(self, what: str, name: str) -> None:
        """Nodes that are not heard learn nothing: they are told when they ask for it again."""
        peers = [peer for peer in self._peers.heard() if peer.name != name]
        for found in await asyncio.gather(
            *(_tell(peer, f"{what}/{name}") for peer in peers), return_exceptions=True
        ):
            if isinstance(found, BaseException):
                _log.warning("a node was not told to %s %s: %s", what, name, found)

    # What other servers of the cluster ask for, with the cluster's key.

    async def own_drain(self, exchange: Exchange) -> None:
        self.set_own(is_draining=True)
        await _done(exchange)

    async def own_undrain(self, exchange: Exchange) -> None:
        self.set_own(is_draining=False)
        await _done(exchange)

    async def own_remove(self, exchange: Exchange) -> None:
        self._peers.remove(exchange.params["name"])
        await _done(exchange)

    async def own_restore(self, exchange: Exchange) -> None:
        self._peers.restore(exchange.params["name"])
        await _done(exchange)


async def _tell(peer: Peer, what: str) -> None:
    """Raises NodeError."""
    target = f"{PEER_PATH}/{what}".encode("ascii")
    try:
        answer, _ = await peer.ask("POST", target, [], timeout_s=_TELL_S, limit_bytes=_MAX_ERROR_BYTES)
    except NodeError as error:
        raise NodeError(f"{peer.member.url}: {error}") from error
    if answer.status != 200:
        raise NodeError(f"{peer.member.url} answered {answer.status}")


def _peer(peer: Peer, node: NodeView | None) -> dict[str, Any]:
    url, standing = peer.member.url, peer.standing.value
    if peer.state is None:
        return {"name": "", "url": url, "standing": standing, "health": "gone", "problem": peer.problem}
    found = _node(peer.state, node, url=url, standing=standing, problem=peer.problem)
    if peer.standing is Standing.HEARD:
        found["clock_skew_ms"] = round(peer.skew_s * 1000)
    else:
        found["silent_ms"] = round((asyncio.get_running_loop().time() - peer.heard_s) * 1000)
    return found


def _node(
    state: NodeState, node: NodeView | None, *, url: str, standing: str, problem: str
) -> dict[str, Any]:
    """A node as JSON has it: memory in bytes."""
    shown = {digest: name for name, digest in state.models.items() if _is_visible(name)}
    loaded = [
        {
            "model": ModelName.parse(shown[model.digest]).short(),
            "slots": model.slots,
            "running": model.running,
            "waiting": model.waiting,
            "loading": model.is_loading,
        }
        for model in state.loaded.values()
        if model.digest in shown
    ]
    found = {
        "name": state.name,
        "url": url,
        "standing": standing,
        "health": node.health.value if node is not None else "gone",
        "problem": problem,
        "draining": state.is_draining,
        "breaker_open": node.is_open if node is not None else False,
        "version": state.version,
        "epoch": state.epoch[:8],
        "models": sum(1 for name in state.models if _is_visible(name)),
        "loaded": loaded,
        "sent": sum(node.sent.values()) if node is not None else 0,
        "free": state.free_bytes,
        "total": state.total_bytes,
        "disk": state.disk_bytes,
    }
    return {name: value for name, value in found.items() if value != "" or name == "url"}


def _is_visible(name: str) -> bool:
    return caller.current().may_use(ModelName.parse(name))


def _named(exchange: Exchange) -> str:
    name = exchange.params["name"]
    note_target(name)
    return name


def _unknown(name: str) -> NodeNotFoundError:
    shown = name[:100]
    return NodeNotFoundError(f"there is no node {shown!r}", hint="corral cluster status lists them")


async def _done(exchange: Exchange) -> None:
    await exchange.respond(200, encode({"status": "success"}), JSON_UTF8)
