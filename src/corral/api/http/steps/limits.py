"""How much the caller uses: requests are counted here, tokens where they are made."""

from __future__ import annotations

import time

from corral import allowance, caller
from corral.access.addresses import bucket_of
from corral.access.allowances import KeyAllowance, headers_of, refused
from corral.access.limits import DAY_S, Ledgers
from corral.access.spent import Spent
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.caller import NO_LIMITS, Caller, Limits

_UNLIMITED = frozenset({"open", "key", "cluster"})


class CheckLimits:
    """The step; `Authenticate` comes before it. `default` holds for each address of callers without a key."""

    def __init__(self, default: Limits, spent: Spent) -> None:
        self._default = default
        self._spent = spent
        self._ledgers = Ledgers(spent.of)

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        who = caller.current()
        limits = who.limits if who.key_id else self._default
        is_counted_elsewhere = bool(who.gateway)
        route = exchange.route
        if limits == NO_LIMITS or is_counted_elsewhere or route is None or route.scope in _UNLIMITED:
            await following(exchange)
            return
        await self._limited(exchange, following, limits, _subject(who))

    async def _limited(self, exchange: Exchange, following: Handler, limits: Limits, subject: str) -> None:
        now_s, wall_s = time.monotonic(), time.time()  # a clock that is set makes no minute longer or shorter
        day = int(wall_s // DAY_S)
        ledger = self._ledgers.find(subject, limits, now_s, day)
        refusal = ledger.admit(now_s)
        exchange.extra_headers += headers_of(ledger, now_s, wall_s)
        if refusal is not None:
            raise refused(ledger, refusal, wall_s)
        if limits.tpm or limits.tokens_per_day or limits.max_predict:
            allowance.begin(KeyAllowance(ledger, exchange.extra_headers))
        try:
            await following(exchange)
        finally:
            ledger.leave()
            if limits.tokens_per_day:
                self._spent.note(subject, ledger.day, ledger.spent_today)


def _subject(who: Caller) -> str:
    return f"key {who.key_id}" if who.key_id else f"address {bucket_of(who.address)}"
