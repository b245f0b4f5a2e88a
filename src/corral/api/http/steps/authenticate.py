"""Who the request comes from: the key that it shows, or what callers without one may do."""

from __future__ import annotations

import base64
import binascii
import time
from functools import lru_cache
from typing import Literal

from corral import allowance, caller, hops
from corral.access.allowances import HopAllowance
from corral.access.attempts import Attempts
from corral.access.clusterkey import ClusterKey
from corral.access.keyring import Keyring
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.caller import Caller
from corral.errors import ForbiddenError, RateLimitError, UnauthorizedError

Mode = Literal["off", "remote", "on"]

_LOCAL = caller.KEYLESS_SCOPES
# Whoever comes from elsewhere without a key must not be able to make one.
_STRANGER = caller.KEYLESS_SCOPES - {"admin"}
# What a server of the cluster may ask for on behalf of its callers.
_FOR_OTHERS = caller.CLUSTER_SCOPES | {"open"}
_NO_KEY = "a valid API key is required"
_HINT = (
    'send it as "Authorization: Bearer KEY", for corral in CORRAL_API_KEY; corral key create NAME makes one'
)


class Authenticate:
    """The step for API keys. Unknown and wrong keys get the same answer, after the same work."""

    def __init__(self, keyring: Keyring, mode: Mode, cluster_key: ClusterKey | None = None) -> None:
        self._keyring = keyring
        self._mode = mode
        self._cluster_key = cluster_key
        self._attempts = Attempts()

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        try:
            who = self._caller(exchange)
            if self._cluster_key is not None:
                who = self._for_whom(exchange, who)
            caller.begin(who)
        except UnauthorizedError:
            kind = b"Basic" if _is_registry(exchange) else b"Bearer"
            exchange.extra_headers.append((b"www-authenticate", kind + b' realm="corral"'))
            raise
        await following(exchange)

    def _caller(self, exchange: Exchange) -> Caller:
        """Raises UnauthorizedError, RateLimitError."""
        client, route = exchange.client, exchange.route
        if self._cluster_key is not None and self._is_peer(exchange, self._cluster_key):
            return self._cluster_key.caller(client.address)
        keyless = _keyless(client.address, is_local=client.is_local)
        if self._mode == "off" or route is None or route.scope == "open":
            return keyless
        found = credentials(exchange)
        is_free = self._is_free(exchange)
        if len(found) == 1:
            try:
                return self._known(exchange, found[0])
            except UnauthorizedError:
                if is_free:
                    return keyless  # programs for Ollama send texts of any kind
                self._note_failure(client.address)
                raise
        if is_free:
            return keyless
        if found:
            raise UnauthorizedError("the request has more than one API key", hint="send one of them")
        raise UnauthorizedError(_NO_KEY, hint=_HINT)

    @staticmethod
    def _is_peer(exchange: Exchange, key: ClusterKey) -> bool:
        found = credentials(exchange)
        return len(found) == 1 and key.matches(found[0])

    def _for_whom(self, exchange: Exchange, who: Caller) -> Caller:
        """The caller for whom another server of the cluster asks, if it is one.

        Raises:
            UnauthorizedError, ForbiddenError, RateLimitError
            InvalidRequestError: what it says of the caller cannot be read.
        """
        route = exchange.route
        if not (who.key_id and "cluster" in who.scopes):
            if route is None or route.scope != "cluster":
                return who
            if credentials(exchange):
                self._note_failure(exchange.client.address)
            raise UnauthorizedError(
                "this is for the other servers of the cluster: the cluster key is missing or wrong",
                hint="give all servers the same key file (corral cluster key)",
            )
        said = exchange.header(hops.HEADER)
        if not said:
            return who
        if route is None or route.scope not in _FOR_OTHERS:
            raise ForbiddenError("no server of the cluster may ask for this on behalf of others")
        hop = hops.parse(said)
        allowance.begin(HopAllowance(hop.predict) if hop.predict else None)
        return hop.caller

    def _is_free(self, exchange: Exchange) -> bool:
        """Whether no key is needed."""
        if self._mode == "on":
            return False
        return exchange.client.is_local or not self._keyring.has_keys

    def _known(self, exchange: Exchange, text: str) -> Caller:
        now_ns = time.time_ns()
        key = self._keyring.find(text, now_ns)
        if key is None:
            raise UnauthorizedError(_NO_KEY, hint=_HINT)
        if (status := key.status(now_ns)) != "active":
            raise UnauthorizedError(f"this API key is {status}", hint="ask for a new one")
        return self._keyring.caller(key, exchange.client.address)

    def _note_failure(self, address: str) -> None:
        if wait_s := self._attempts.fail(address, time.monotonic()):
            raise RateLimitError(
                "too many requests with a wrong API key",
                retry_after_s=wait_s,
                hint="check the key, and wait before the next attempt",
            )


@lru_cache(maxsize=1024)
def _keyless(address: str, *, is_local: bool) -> Caller:
    return Caller(scopes=_LOCAL if is_local else _STRANGER, address=address)


def credentials(exchange: Exchange) -> list[str]:
    """The different texts that may be a key, from the headers alone: a URL ends up in logs."""
    found: list[str] = []
    for name, value in exchange.all_headers:
        if name == b"x-api-key":
            text = value.decode("latin-1").strip()
        elif name == b"authorization":
            text = _authorization(value.decode("latin-1"), is_registry=_is_registry(exchange))
        else:
            continue
        if text and text not in found:
            found.append(text)
    return found


def _authorization(value: str, *, is_registry: bool) -> str:
    scheme, _, rest = value.strip().partition(" ")
    kind = scheme.lower()
    if kind == "basic" and is_registry:
        return _password(rest.strip())
    return rest.strip() if kind == "bearer" else ""


def _password(encoded: str) -> str:
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
    return text.partition(":")[2]


def _is_registry(exchange: Exchange) -> bool:
    return exchange.route is not None and exchange.route.scope.startswith("registry:")
