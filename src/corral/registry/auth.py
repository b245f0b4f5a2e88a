"""Authenticates this machine to a registry, and to nobody else.

A 401 names a realm. With credentials for the registry's host, these go to the realm; without, a request signed with
the machine's key (ollama: server/auth.go), and where that is not understood an anonymous request. A realm on another
host than the registry's gets nothing, unless the configuration trusts it; nor does one over plain http, unless the
user allowed that. Credentials that are stored on this machine go over plain http only to hosts that the server's
configuration names: a client of the API cannot have them sent by asking for `insecure`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlsplit, urlunsplit

from corral.errors import RegistryAuthError, RegistryProtocolError
from corral.registry.challenge import Challenge
from corral.registry.credentials import Credential
from corral.registry.key import Identity
from corral.registry.source import HUGGING_FACE
from corral.registry.transport import Transport

_EMPTY_BODY = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode("ascii")
_MAX_TOKEN_BYTES = 1 << 20
_MAX_TOKEN_CHARS = 64 << 10


class TokenRefusedError(RegistryAuthError):
    """A token service refused."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}" if body else str(status))
        self.status = status


@dataclass(frozen=True, slots=True)
class Wallet:
    """A source of credentials. `find` returns what is stored for a registry's host; it may block."""

    key_path: Path
    find: Callable[[str], Credential | None] = field(default=lambda _host: None)
    hugging_face_token: str = field(default="", repr=False)
    # Hosts that may issue tokens for registries on other hosts.
    trusted_hosts: frozenset[str] = frozenset()


def token_url(challenge: Challenge, *, now_s: int, nonce: str) -> str:
    """The realm with its query: sorted by key, escaped as in forms."""
    parts = urlsplit(challenge.realm)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if challenge.service:
        pairs.append(("service", challenge.service))
    pairs += [("scope", scope) for scope in challenge.scopes]
    pairs += [("ts", str(now_s)), ("nonce", nonce)]
    query = "&".join(
        f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(pairs, key=lambda p: p[0])
    )
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def signed_text(url: str) -> str:
    """The text that the key signs in a request for a token."""
    return f"GET,{url},{_EMPTY_BODY}"


class Authorizer:
    """`Authorization` headers for one registry during one transfer; thread-safe, since parts run in parallel."""

    def __init__(
        self,
        wallet: Wallet,
        host: str,
        *,
        is_plain_allowed: bool,
        may_use_stored: bool = True,
        credential: Credential | None = None,
    ):
        self._wallet = wallet
        self._host = host
        self._is_plain_allowed = is_plain_allowed
        self._may_use_stored = may_use_stored or host.lower() in wallet.trusted_hosts
        self._given = credential
        self._lock = threading.Lock()
        token = wallet.hugging_face_token if host.lower() in HUGGING_FACE and not is_plain_allowed else ""
        self._header: str | None = f"Bearer {token}" if token else None

    def header(self) -> str | None:
        """The header to send now; None before the registry has asked for one, unless a token for it is configured."""
        return self._header

    def renew(self, challenges: list[Challenge], *, refused: str | None, transport: Transport) -> str:
        """Answer a 401 to a request that carried `refused`.

        Raises:
            RegistryAuthError: there are no credentials, they must not be sent, or the token service refused.
            RegistryError: the token service cannot be reached or its answer is invalid.
        """
        with self._lock:
            if self._header is not None and self._header != refused:
                return self._header  # another part was faster
            self._header = self._answer(challenges, transport)
            return self._header

    def _answer(self, challenges: list[Challenge], transport: Transport) -> str:
        for challenge in challenges:
            if challenge.scheme == "bearer" and challenge.realm:
                return f"Bearer {self._fetch_token(challenge, transport)}"
        credential = self._credential()
        if credential and credential.user and any(challenge.scheme == "basic" for challenge in challenges):
            return credential.basic()
        raise self.denied()

    def denied(self) -> RegistryAuthError:
        """The error when the registry takes nothing that we have."""
        hint = f"store credentials for {self._host} with `docker login {self._host}`"
        if not self._may_use_stored and self._wallet.find(self._host) is not None:
            hint = (
                f"the stored credentials of {self._host} are not sent over plain http; "
                f"CORRAL_REGISTRY_TRUSTED_HOSTS={self._host} allows it"
            )
        return RegistryAuthError("unauthorized: access denied", hint=hint)

    def _credential(self) -> Credential | None:
        """The credentials of the request, else stored ones that may be used."""
        return self._given or (self._wallet.find(self._host) if self._may_use_stored else None)

    def _fetch_token(self, challenge: Challenge, transport: Transport) -> str:
        self._check_realm(challenge.realm)
        credential = self._credential()
        if credential is not None and credential.identity_token:
            return self._exchange(challenge, credential, transport)
        url = token_url(challenge, now_s=int(time.time()), nonce=_nonce())
        if credential is not None:
            return self._ask(transport, url, {"Authorization": credential.basic()})
        identity = Identity.load(self._wallet.key_path) if self._wallet.key_path.exists() else None
        if identity is None:
            return self._ask(transport, url, {})
        try:
            return self._ask(transport, url, {"Authorization": identity.sign(signed_text(url))})
        except TokenRefusedError as refused:
            if refused.status not in (400, 401, 403):
                raise
            try:  # a token service of another kind, which may serve anonymous clients
                return self._ask(transport, url, {})
            except TokenRefusedError:
                raise refused from None

    def _check_realm(self, realm: str) -> None:
        try:
            parts = urlsplit(realm)
            host = parts.netloc.lower()
            is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in host
        except ValueError:
            is_sound, host = False, ""
        if not is_sound:
            raise RegistryAuthError("the registry returned an invalid token service")
        is_same = host == self._host.lower() or {host, self._host.lower()} == HUGGING_FACE
        if not is_same and host not in self._wallet.trusted_hosts:
            raise RegistryAuthError(
                f'realm host "{host}" does not match original host "{self._host}"',
                hint=f"if you trust it with your credentials, set CORRAL_REGISTRY_TRUSTED_HOSTS={host}",
            )
        if parts.scheme == "http" and not self._is_plain_allowed:
            raise RegistryAuthError(
                f"the token service of {self._host} would get credentials over plain http"
            )

    def _exchange(self, challenge: Challenge, credential: Credential, transport: Transport) -> str:
        """OAuth 2: exchange an identity token for one with the scope (distribution spec, oauth2)."""
        fields = {
            "grant_type": "refresh_token",
            "service": challenge.service,
            "client_id": "corral",
            "scope": " ".join(challenge.scopes),
            "refresh_token": credential.identity_token,
        }
        body = "&".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in fields.items()).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return _read_token(transport, "POST", challenge.realm, headers, body)

    def _ask(self, transport: Transport, url: str, headers: dict[str, str]) -> str:
        return _read_token(transport, "GET", url, headers, None)


def _nonce() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode("ascii")


def _read_token(
    transport: Transport, method: str, url: str, headers: dict[str, str], body: bytes | None
) -> str:
    response = transport.request(method, url, headers=headers, body=body)
    if response.status >= 300:
        raise TokenRefusedError(response.status, response.read_error())
    data = response.read_bounded(_MAX_TOKEN_BYTES)
    try:
        answer: Any = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
    if not isinstance(token, str) or not token or len(token) > _MAX_TOKEN_CHARS or not token.isprintable():
        raise RegistryProtocolError("the token service's answer holds no token")
    if not token.isascii() or " " in token:
        raise RegistryProtocolError("the token service's answer holds no token")
    return token
