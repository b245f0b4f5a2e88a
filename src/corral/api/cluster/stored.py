"""Which node has a stored response of `/v1/responses`: it stays where it was made."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from corral import caller
from corral.api.cluster.asking import NodeAnswer, ask_all, respond_as
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.cluster.peers.peers import Peers

_MAX_KNOWN = 10_000
_MAX_ID_CHARS = 200

# Whether this server has a response of an owner.
Has = Callable[[str, str], Awaitable[bool]]


class StoredResponses:
    """Looks here first, then at all other nodes at once. What was found is remembered."""

    def __init__(self, peers: Peers, has: Has) -> None:
        self._peers = peers
        self._has = has
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def node_of(self, exchange: Exchange, response_id: str) -> str:
        """The name of the node; empty if none that is heard has it."""
        owner = caller.current().key_id
        if await self._has(response_id, owner):
            return self._peers.name
        found = self._known.get((owner, response_id), "")
        peer = self._peers.named(found) if found else None
        if peer is not None and peer in self._peers.heard():
            return found
        answer = await self.answer_of(exchange, response_id)
        if answer is None:
            return ""
        self._known[owner, response_id] = answer.node
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return answer.node

    async def handle(self, exchange: Exchange, following: Handler) -> None:
        """`/v1/responses/:id` and what is below it: where the response is."""
        node = await self.node_of(exchange, exchange.params["id"])
        peer = self._peers.named(node) if node and node != self._peers.name else None
        if peer is None:
            await following(exchange)
            return
        (answer,) = await ask_all(exchange, [peer], self._peers.name, method=exchange.method)
        await respond_as(exchange, answer)

    async def answer_of(self, exchange: Exchange, response_id: str) -> NodeAnswer | None:
        """What the node that has it says of it."""
        if len(response_id) > _MAX_ID_CHARS:
            return None
        target = b"/v1/responses/" + quote(response_id, safe="").encode("ascii")
        answers = await ask_all(exchange, self._peers.heard(), self._peers.name, target=target)
        return next((answer for answer in answers if answer.status == 200), None)
