"""The account that this machine's key belongs to on ollama.com: who it is, how to connect, how to leave.

Needed to push there; nothing else goes to that host (ollama: server/routes.go WhoamiHandler, SignoutHandler).
"""

from __future__ import annotations

import base64
import json
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from corral.errors import CorralError, RegistryAuthError, RegistryError
from corral.registry.address_filter import AddressGuard
from corral.registry.key import Identity, ensure_key
from corral.registry.policy import TransferPolicy
from corral.registry.source import split_host
from corral.registry.transport import Transport

_MAX_REPLY_BYTES = 1 << 20
_NOT_SIGNED_OUT = "there was an error signing out"
_PROFILE = ("id", "email", "name")
_OPTIONAL = ("bio", "avatarurl", "firstname", "lastname", "plan")


class NotSignedInError(CorralError):
    """The key belongs to no account. `signin_url` is where a person connects it; empty without a key."""

    def __init__(self, signin_url: str, message: str = "unauthorized") -> None:
        super().__init__(message)
        self.signin_url = signin_url


class AccountUnavailableError(CorralError):
    """The account service cannot be reached."""

    def __init__(self) -> None:
        super().__init__("account unavailable")


class Account:
    """Blocks on the network; make one for each use."""

    def __init__(self, base_url: str, key_path: Path) -> None:
        self._base_url = base_url.rstrip("/")
        self._key_path = key_path

    def who(self) -> dict[str, Any]:
        """The profile of the account.

        Raises:
            NotSignedInError, AccountUnavailableError
        """
        identity = self._identity()
        status, body = self._ask("POST", "/api/me", identity)
        if status == 401:
            raise NotSignedInError(self._signin_url(identity))
        if status != 200:
            raise AccountUnavailableError
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            raise AccountUnavailableError from None
        if not isinstance(value, dict):
            raise AccountUnavailableError
        profile = {name: str(value[name]) for name in (*_PROFILE, *_OPTIONAL) if value.get(name)}
        return {
            **{name: profile.get(name, "") for name in _PROFILE},
            **profile,
            "plan": profile.get("plan") or "free",
        }

    def sign_out(self) -> None:
        """Remove the key from the account.

        Raises:
            NotSignedInError
            CorralError: the account service cannot be reached, or does not do it.
        """
        identity = self._identity()
        encoded = base64.urlsafe_b64encode(_line(identity).encode()).decode("ascii").rstrip("=")
        try:
            status, _ = self._ask("DELETE", f"/api/user/keys/{encoded}", identity)
        except AccountUnavailableError:
            raise CorralError(_NOT_SIGNED_OUT) from None
        if status in (401, 404):
            raise NotSignedInError("", "you are not currently signed in")
        if status >= 300:
            raise CorralError(_NOT_SIGNED_OUT)

    def _identity(self) -> Identity:
        try:
            ensure_key(self._key_path)  # a server that has just started may not have made it yet
            return Identity.load(self._key_path)
        except (RegistryAuthError, OSError):
            raise NotSignedInError("") from None

    def _signin_url(self, identity: Identity) -> str:
        encoded = base64.urlsafe_b64encode(_line(identity).encode()).decode("ascii").rstrip("=")
        host = urlsplit(self._base_url)
        base = f"{host.scheme}://{host.hostname}" if host.port in (None, 443) else self._base_url
        return f"{base}/connect?name={quote(socket.gethostname(), safe='')}&key={encoded}"

    def _ask(self, method: str, path: str, identity: Identity) -> tuple[int, bytes]:
        """Status and body of a signed request. Raises AccountUnavailableError."""
        signed = f"{path}?ts={int(time.time())}"
        host, port = split_host(urlsplit(self._base_url).netloc, urlsplit(self._base_url).scheme)
        transport = Transport(AddressGuard([(host, port)]), TransferPolicy(stall_timeout_s=10.0))
        headers = {"Authorization": identity.sign(f"{method},{signed}"), "Accept": "application/json"}
        try:
            response = transport.request(
                method, self._base_url + signed, headers=headers, body=b"", head_timeout_s=10.0
            )
            return response.status, response.read_bounded(_MAX_REPLY_BYTES)
        except RegistryError:
            raise AccountUnavailableError from None
        finally:
            transport.close()


def _line(identity: Identity) -> str:
    return f"ssh-ed25519 {identity.public_part()}"
