"""The handlers of `/api/keys`."""

from __future__ import annotations

import asyncio
import time

from corral import caller, requestfacts
from corral.access.keys import Key, describe, lifetime_ns, read_order
from corral.access.keystore import DEFAULT_GRACE_NS, KeyStore
from corral.api.http.bodies import read_values
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.keys.protocol import NEW_KEY, ROTATION
from corral.golang.json import encode


class KeyHandlers:
    """Handlers on one database of keys. The text of a key is in the answer that makes it, and nowhere else."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store

    async def list_keys(self, exchange: Exchange) -> None:
        keys = await asyncio.to_thread(self._store.all_keys)
        now_ns = time.time_ns()
        await exchange.respond(200, encode({"keys": [describe(key, now_ns) for key in keys]}), JSON_UTF8)

    async def create(self, exchange: Exchange) -> None:
        order = read_order(await read_values(exchange, "CreateKeyRequest", NEW_KEY))
        key, text = await asyncio.to_thread(self._store.create, order)
        await _answer(exchange, 201, key, text)

    async def show(self, exchange: Exchange) -> None:
        await _answer(exchange, 200, await asyncio.to_thread(self._store.find, exchange.params["id"]))

    async def me(self, exchange: Exchange) -> None:
        """The key that the request was sent with."""
        await _answer(exchange, 200, await asyncio.to_thread(self._store.find, caller.current().key_id))

    async def rotate(self, exchange: Exchange) -> None:
        values = await read_values(exchange, "RotateKeyRequest", ROTATION)
        grace = values.get("grace")
        grace_ns = DEFAULT_GRACE_NS if grace is None else 0 if grace == "0" else lifetime_ns(grace)
        key, text = await asyncio.to_thread(self._store.rotate, exchange.params["id"], grace_ns)
        await _answer(exchange, 200, key, text)

    async def revoke(self, exchange: Exchange) -> None:
        await _answer(exchange, 200, await asyncio.to_thread(self._store.revoke, exchange.params["id"]))


async def _answer(exchange: Exchange, status: int, key: Key, text: str = "") -> None:
    requestfacts.note_target(f"key {key.id} {key.name}")
    shown = describe(key, time.time_ns())
    headers = [(b"cache-control", b"no-store")] if text else []
    await exchange.respond(status, encode(({"key": text} if text else {}) | shown), JSON_UTF8, headers)
