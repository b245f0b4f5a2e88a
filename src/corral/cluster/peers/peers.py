"""All other servers: watched as long as they are members, and told to the router."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

from corral.cluster.directory import Heartbeat
from corral.cluster.membership import Member, Membership
from corral.cluster.peers.peer import Peer, Standing
from corral.cluster.peers.wire import NodeClient
from corral.cluster.router import Router
from corral.cluster.state import NodeState
from corral.errors import CorralError

_log = logging.getLogger("corral.cluster")


class Peers:
    """Belongs to the event loop. `key_for` gives what is shown to the server at an address.

    `name` and `epoch` are this server's own.
    """

    def __init__(
        self,
        membership: Membership,
        router: Router,
        key_for: Callable[[str], str],
        *,
        name: str,
        epoch: str,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.router = router
        self.name = name
        self._membership = membership
        self._key_for = key_for
        self._epoch = epoch
        self._context = context
        self._peers: dict[str, Peer] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._by_name: dict[str, Peer] = {}
        self._numbers = 0
        # Members that somebody has taken out, until they are let in again or the server restarts, with their names.
        self._removed: dict[str, str] = {}

    def __iter__(self) -> Iterator[Peer]:
        """Every member that is another server, in the order of their sources."""
        return (peer for peer in self._peers.values() if peer.standing is not Standing.SELF)

    def named(self, name: str) -> Peer | None:
        """The member that calls itself so, if it has been heard."""
        return self._by_name.get(name)

    def heard(self) -> list[Peer]:
        """Those that are heard at this moment."""
        return [peer for peer in self._by_name.values() if peer.standing is Standing.HEARD]

    async def run(self) -> None:
        """Watch whoever is a member. Cancelled at the end."""
        try:
            while True:
                self._follow()
                await self._membership.changed()
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def remove(self, name: str) -> bool:
        """Have nothing to do with a node any more; False if there is none of the name."""
        key = next((key for key, peer in self._peers.items() if name in (peer.member.url, peer.name)), None)
        if key is None:
            return False
        self._removed[key] = self._peers[key].name or name
        self._drop(key, "removed")
        return True

    def restore(self, name: str) -> bool:
        """Let a node in again, by its address or its last name; False if it was not removed."""
        found = [key for key, known in self._removed.items() if name in (key, known)]
        for key in found:
            del self._removed[key]
        self._follow()
        return bool(found)

    def _follow(self) -> None:
        members = {key: each for key, each in self._membership.nodes().items() if key not in self._removed}
        for key in [key for key, peer in self._peers.items() if members.get(key) != peer.member]:
            self._drop(key, "not a member any more")
        for key, member in members.items():
            if key not in self._peers:
                self._watch(key, member)

    def _watch(self, key: str, member: Member) -> None:
        peer = self._peers[key] = Peer(
            member,
            NodeClient(member, self._context),
            lambda: self._key_for(member.url),
            heard=self._heard,
            lost=self._lost,
            is_me=lambda epoch: epoch == self._epoch,
        )
        self._tasks[key] = asyncio.create_task(peer.run())

    def _drop(self, key: str, reason: str) -> None:
        peer = self._peers.pop(key)
        self._tasks.pop(key).cancel()
        if (name := peer.name) and self._by_name.get(name) is peer:
            del self._by_name[name]
            self.router.remove(name)
            _log.info("node=%s url=%s left: %s", name, peer.member.url, reason)

    def _heard(self, peer: Peer, state: NodeState) -> str:
        """Tell the router; a text if the node cannot be one of the cluster."""
        if state.name == self.name:
            return f"it has this server's name, {self.name}: set CORRAL_CLUSTER_NAME"
        other = self._by_name.get(state.name)
        if other is not None and other is not peer and other.standing is Standing.HEARD:
            same = other.state is not None and other.state.epoch == state.epoch
            return (
                f"it is the server at {other.member.url}"
                if same
                else f"another server, {other.member.url}, has its name, {state.name}: set CORRAL_CLUSTER_NAME"
            )
        if (old := _known_as(self._by_name, peer)) and old != state.name:
            del self._by_name[old]
            self.router.remove(old)
        self._by_name[state.name] = peer
        if peer.standing is not Standing.HEARD:
            _log.info("node=%s url=%s is heard", state.name, peer.member.url)
        self._numbers += 1
        self.router.heard(beat_of(state, self._numbers, peer.member.url), asyncio.get_running_loop().time())
        return ""

    def _lost(self, peer: Peer) -> None:
        name = _known_as(self._by_name, peer)
        if name:
            self.router.directory.lost(name)
        if peer.standing is Standing.SILENT and peer.problem != peer.last_problem:
            _log.warning("node=%s url=%s is not heard: %s", name or "?", peer.member.url, peer.problem)
        peer.last_problem = peer.problem


def beat_of(state: NodeState, number: int, url: str) -> Heartbeat:
    """A state as the directory takes it."""
    return Heartbeat(
        id=state.name,
        epoch=state.epoch,
        number=number,
        url=url,
        is_draining=state.is_draining,
        models=state.models,
        loaded=state.loaded,
        free_bytes=state.free_bytes,
        total_bytes=state.total_bytes,
        load_seconds=state.load_seconds,
    )


def _known_as(names: dict[str, Peer], peer: Peer) -> str:
    return next((name for name, found in names.items() if found is peer), "")


def client_context(ca_file: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """TLS to other servers: whom it trusts, and the certificate for those that ask for one.

    Raises:
        CorralError: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise CorralError(
            f"{ca_file}: not valid PEM certificates", hint="correct CORRAL_CLUSTER_CA_FILE"
        ) from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if cert is not None:
        context.load_cert_chain(cert, key, password="")
    return context
