"""Requests that run a model, each on its way to the node that is best for it, which may be this one.

What cannot be understood, and what no node has, is served here, so that errors are the usual ones.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from time import perf_counter

from corral import caller, requestfacts
from corral.api.cluster.attempts import Attempts, Sender
from corral.api.cluster.changes import Changes
from corral.api.cluster.glance import NOTHING, Glance, glance_at, unpacked_body
from corral.api.cluster.names import full_name, node_asked_for
from corral.api.cluster.stored import StoredResponses
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler, Route
from corral.cluster.agreement import agreed_digest, digest_to_ask_for
from corral.cluster.keys import Prompt, prompt_of, seed_of
from corral.cluster.view import View, Wanted

_SESSION = b"x-corral-session"
_MAX_SESSION_CHARS = 200


@dataclass(frozen=True, slots=True)
class Prompts:
    """How prompts are compared: by `max_blocks` blocks of `block` bytes; `per_key`: not with those of other keys."""

    block: int = 512
    max_blocks: int = 128
    per_key: bool = False

    @property
    def limit_bytes(self) -> int:
        """How much of a prompt counts."""
        return self.block * self.max_blocks


class Gateway:
    """`stored` knows where the stored responses are that requests go on from."""

    def __init__(self, sender: Sender, stored: StoredResponses, prompts: Prompts, changes: Changes) -> None:
        self._sender = sender
        self._stored = stored
        self._prompts = prompts
        self._changes = changes

    @staticmethod
    def takes(route: Route, method: str) -> bool:
        """Whether a request of this route runs a model."""
        return route.scope == "infer" and method == "POST" and route.reads is not None

    async def handle(self, exchange: Exchange, following: Handler) -> None:
        """Answer a request of a route that `takes` is true for."""
        began_s = perf_counter()
        body = await unpacked_body(exchange)
        glance = await glance_at(exchange, body, self._prompts.limit_bytes) if body else NOTHING
        view = self._sender.peers.router.view(asyncio.get_running_loop().time())
        name = full_name(glance.model, view) if glance.model else None
        asked = node_asked_for(exchange, view)
        if body is not None and asked and name not in view.nodes[asked].models:
            # It knows better than this server what it has: it may have got the model a moment ago.
            await self._changes.at(exchange, following, asked, body)
            return
        if body is None or name is None:
            await following(exchange)
            return
        if glance.is_unload:
            await self._changes.unload(exchange, following, name, body)
            return
        wanted = await self._wanted(exchange, glance, name, view)
        requestfacts.current().model = glance.model
        attempts = Attempts(
            self._sender, exchange, following, wanted=wanted, glance=glance, body=body, began_s=began_s
        )
        await attempts.run()

    async def _wanted(self, exchange: Exchange, glance: Glance, name: str, view: View) -> Wanted:
        node = node_asked_for(exchange, view)
        if not node and glance.previous:
            node = await self._stored.node_of(exchange, glance.previous)
        digest = "" if node else digest_to_ask_for(view, name)
        prompt = self._prompt(glance, digest or _digest_of(name, node, view))
        return Wanted(
            model=name,
            digest=digest,
            keys=prompt.keys,
            answers=prompt.answers,
            session=(exchange.header(_SESSION) or glance.session)[:_MAX_SESSION_CHARS],
            tried=frozenset(view.nodes.keys() - {node}) if node else frozenset(),
            seed=random.getrandbits(32),
        )

    def _prompt(self, glance: Glance, digest: str) -> Prompt:
        if not glance.pieces:
            return Prompt()
        seed = seed_of(digest, salt=caller.current().key_id if self._prompts.per_key else "")
        return prompt_of(seed, glance.pieces, block=self._prompts.block, max_blocks=self._prompts.max_blocks)


def _digest_of(name: str, node: str, view: View) -> str:
    """What answers: what the node has that is asked for, else what any has."""
    known = view.nodes.get(node)
    return known.models.get(name, "") if known is not None else agreed_digest(view, name)
