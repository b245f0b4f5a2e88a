"""Which web pages may use the server: CORS, its preflight requests, and refusals."""

from __future__ import annotations

from corral.api.http.exchange import Exchange
from corral.api.http.origins import HostGuard, OriginRules
from corral.api.http.routing import Handler
from corral.api.http.steps.refusal import MAX_NAMED, forbid

# Headers that a page learns nothing from.
_KEPT = (b"allow", b"server", b"x-request-id")


class CheckOrigin:
    """The step for requests with an `Origin`."""

    def __init__(self, rules: OriginRules, guard: HostGuard) -> None:
        self._rules = rules
        self._guard = guard

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        origin = exchange.header(b"origin")
        if origin and not (
            self._is_same(origin, exchange.header(b"host")) or self._is_behind_proxy(origin, exchange)
        ):
            headers = self._rules.headers_for(origin)
            if headers is None:
                exchange.extra_headers = [h for h in exchange.extra_headers if h[0] in _KEPT]
                reason = f"origin {origin[:MAX_NAMED]!r} is not allowed"
                await forbid(exchange, f"{reason}; add it to OLLAMA_ORIGINS if its pages may use this server")
                return
            exchange.extra_headers += headers
            if exchange.method == "OPTIONS":
                wanted = exchange.header(b"access-control-request-headers")
                exchange.extra_headers += self._rules.preflight_headers(wanted)
                await exchange.respond(204)
                return
        await following(exchange)

    def _is_same(self, origin: str, host: str) -> bool:
        """Whether the page came from this server, under a name that nobody else can have made to point here."""
        return origin in (f"http://{host}", f"https://{host}") and not self._guard.may_be_rebound(host)

    def _is_behind_proxy(self, origin: str, exchange: Exchange) -> bool:
        """Whether the page came from this server through a proxy that sends another `Host` than the browser did.

        Either the browser says so, over TLS, where nobody else can answer under the proxy's name. Or the proxy is a
        trusted one and says which name that was.
        """
        if origin.startswith("https://") and exchange.header(b"sec-fetch-site") == "same-origin":
            return True
        client = exchange.client
        if not client.host or origin != f"{client.scheme}://{client.host}":
            return False
        return client.scheme == "https" or self._guard.is_unregistrable(client.host)
