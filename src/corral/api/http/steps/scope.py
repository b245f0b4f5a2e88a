"""Whether the caller may use the route."""

from __future__ import annotations

from corral import caller
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler, Route
from corral.caller import Caller
from corral.errors import AccessError, ForbiddenError, UnauthorizedError


async def check_scope(exchange: Exchange, following: Handler) -> None:
    """The step; `Authenticate` comes before it."""
    route = exchange.route
    if route is not None and route.scope != "open":
        _check(route, caller.current(), exchange)
    await following(exchange)


def _check(route: Route, who: Caller, exchange: Exchange) -> None:
    """Raises AccessError."""
    if route.scope == "key":
        if not who.key_id:
            raise UnauthorizedError(
                "the request has no API key", hint='send one as "Authorization: Bearer KEY"'
            )
        return
    if route.scope == "account":
        if who.key_id and "admin" not in who.scopes:
            raise caller.missing_scope("admin", "act as the owner of this machine's account")
        return
    if route.scope not in who.scopes:
        raise _refusal(route, who)
    if route.scope == "admin" and not who.key_id and exchange.header(b"origin"):
        raise ForbiddenError(
            "web pages need an API key with the scope admin for this", hint="use corral key on the server"
        )


def _refusal(route: Route, who: Caller) -> AccessError:
    if not who.key_id:
        return ForbiddenError(
            "API keys are needed for this from another machine",
            hint="use corral key on the server, or send a key with the scope admin",
        )
    return caller.missing_scope(route.scope, "do this")
