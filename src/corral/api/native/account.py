"""`/api/me` and `/api/signout`: the account on ollama.com that people push with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.golang.json import encode

if TYPE_CHECKING:
    from corral.registry.account import Account


class AccountHandlers:
    """Bodies are not read: Ollama ignores them, broken ones too."""

    def __init__(self, open_account: Callable[[], Account], *, is_offline: bool) -> None:
        self._open_account = open_account
        self._is_offline = is_offline

    async def me(self, exchange: Exchange) -> None:
        await self._ask(exchange, lambda: self._open_account().who())

    async def sign_out(self, exchange: Exchange) -> None:
        await self._ask(exchange, lambda: self._open_account().sign_out())

    async def _ask(self, exchange: Exchange, question: Callable[[], object]) -> None:
        # The import brings TLS with it, which takes a while to load the first time.
        await asyncio.to_thread(import_module, "corral.registry.account")
        from corral.registry.account import AccountUnavailableError, NotSignedInError

        try:
            if self._is_offline:
                raise AccountUnavailableError
            answer = await asyncio.to_thread(question)
        except AccountUnavailableError as exc:
            await exchange.respond(503, encode({"error": str(exc)}), JSON_UTF8)
        except NotSignedInError as exc:
            body = {"error": str(exc)}
            if exc.signin_url:
                body["signin_url"] = exc.signin_url
            await exchange.respond(401, encode(body), JSON_UTF8)
        else:
            await exchange.respond(200, encode(answer), JSON_UTF8)
