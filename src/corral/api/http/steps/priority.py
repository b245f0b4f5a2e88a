"""How urgent a request for inference is, and whose part of the server it takes."""

from __future__ import annotations

from dataclasses import replace

from corral import caller
from corral.access.addresses import bucket_of
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.priorities import Priority, lower_of, read_priority


class SetPriority:
    """The step; `Authenticate` comes before it. `default`: the class of requests without a key.

    `X-Corral-Priority` makes a request less urgent than its key. A class above that is the key's own.
    """

    def __init__(self, default: Priority) -> None:
        self._default = default

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        is_set = bool(caller.current().gateway)  # by the server that passes the request on
        if exchange.route is not None and exchange.route.scope == "infer" and not is_set:
            self._set(exchange)
        await following(exchange)

    def _set(self, exchange: Exchange) -> None:
        """Raises InvalidRequestError."""
        who = caller.current()
        priority, share = who.priority, who.share
        if not who.key_id:
            priority = self._default
            if not exchange.client.is_local:
                share = f"address {bucket_of(who.address)}"
        if asked := exchange.header(b"x-corral-priority"):
            priority = lower_of(priority, read_priority(asked, "X-Corral-Priority"))
        if priority != who.priority or share != who.share:
            caller.begin(replace(who, priority=priority, share=share))
