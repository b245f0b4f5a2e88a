"""Lists of the whole cluster: this server's own, and those of all nodes that are heard, in one.

A node that does not answer in time is left out, and named in a header. Entries of other nodes are data: they are
objects with a name, and are shown as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from corral.api.cluster.asking import NodeAnswer, ask_all, respond_as
from corral.api.cluster.captured import captured
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.http.routing import Handler
from corral.cluster.peers.peers import Peers
from corral.golang.json import encode

MISSING = b"x-corral-nodes-missing"
_MAX_ENTRIES = 50_000
_THREAD_BYTES = 256 << 10

Entry = dict[str, Any]
# Entries with the node that they are of.
Entries = list[tuple[str, Entry]]


class ClusterLists:
    """Handlers that answer for the whole cluster."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def tags(self, exchange: Exchange, following: Handler) -> None:
        await self._list(exchange, following, "models", lambda found: _united(found, ("name", "digest")))

    async def loaded(self, exchange: Exchange, following: Handler) -> None:
        await self._list(exchange, following, "models", _each)

    async def loading(self, exchange: Exchange, following: Handler) -> None:
        await self._list(exchange, following, "loading", _each)

    async def queue(self, exchange: Exchange, following: Handler) -> None:
        await self._list(exchange, following, "queue", _each)

    async def openai_models(self, exchange: Exchange, following: Handler) -> None:
        await self._list(exchange, following, "data", lambda found: _united(found, ("id",)), end=b"\n")

    async def origins(self, exchange: Exchange, following: Handler) -> None:
        """By name; what this server says counts first."""
        own, others = await self._ask(exchange, following)
        if own.status != 200:
            await respond_as(exchange, own)
            return
        found: dict[str, Any] = {}
        for answer in (*reversed(others), own):
            values = _object(answer.body).get("origins")
            found |= values if isinstance(values, dict) else {}
        await exchange.respond(200, encode({"origins": found}), JSON_UTF8, _missing(others))

    async def cancel(self, exchange: Exchange, following: Handler) -> None:
        """End a request wherever it is."""
        own, others = await self._ask(exchange, following, method=exchange.method)
        counts = [
            count
            for answer in (own, *others)
            if answer.status == 200 and type(count := _object(answer.body).get("cancelled")) is int
        ]
        if not counts:
            await respond_as(exchange, own)
            return
        await exchange.respond(200, encode({"cancelled": sum(counts)}), JSON_UTF8, _missing(others))

    async def _list(
        self,
        exchange: Exchange,
        following: Handler,
        member: str,
        unite: Callable[[Entries], list[Entry]],
        end: bytes = b"",
    ) -> None:
        own, others = await self._ask(exchange, following)
        if own.status != 200 or exchange.method == "HEAD":
            await respond_as(exchange, own)
            return
        answers = [own, *(answer for answer in others if answer.status == 200)]
        if sum(len(answer.body) for answer in answers) > _THREAD_BYTES:
            body = await asyncio.to_thread(_body, answers, member, unite)
        else:
            body = _body(answers, member, unite)
        await exchange.respond(200, body + end, own.content_type or JSON_UTF8, _missing(others))

    async def _ask(
        self, exchange: Exchange, following: Handler, method: str = "GET"
    ) -> tuple[NodeAnswer, list[NodeAnswer]]:
        own, others = await asyncio.gather(
            captured(exchange, following, self._peers.name),
            ask_all(exchange, self._peers.heard(), self._peers.name, method=method),
        )
        return own, others


def _body(answers: list[NodeAnswer], member: str, unite: Callable[[Entries], list[Entry]]) -> bytes:
    document = _object(answers[0].body)
    found = [(answer.node, entry) for answer in answers for entry in _entries(answer.body, member)]
    document[member] = unite(found[:_MAX_ENTRIES]) or document.get(member)
    return encode(document)


def _each(found: Entries) -> list[Entry]:
    """All entries, each with its node."""
    return [{**entry, "node": node} for node, entry in found]


def _united(found: Entries, same: Iterable[str]) -> list[Entry]:
    """One entry for what is the same, with its nodes."""
    entries: dict[tuple[str, ...], Entry] = {}
    for node, entry in found:
        key = tuple(str(entry.get(name)) for name in same)
        entries.setdefault(key, {**entry, "nodes": []})["nodes"].append(node)
    return list(entries.values())


def _entries(body: bytes, member: str) -> list[Entry]:
    found = _object(body).get(member)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _object(body: bytes) -> Entry:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _missing(others: Iterable[NodeAnswer]) -> list[tuple[bytes, bytes]]:
    names = [answer.node for answer in others if not answer.status]
    return [(MISSING, ", ".join(names).encode("ascii", "replace"))] if names else []
