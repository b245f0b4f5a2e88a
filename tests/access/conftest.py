"""A server that asks everybody for a key, and keys of all kinds for it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.access.keys import KeyOrder
from corral.access.keystore import KeyStore
from corral.caller import SCOPES, Scope
from tests.conftest import PLAIN_TEMPLATE, Server


class KeyedServer(Server):
    """What is sent without headers is sent with an admin's key. `texts` has a key for each scope and state."""

    def __init__(self, **env: str) -> None:
        self.keys_folder = Path(tempfile.mkdtemp(prefix="corral-keys-"))
        self.store = KeyStore(self.keys_folder / "keys.sqlite3")
        self.texts: dict[str, str] = {scope: self.make(scope, scopes=(scope,)) for scope in SCOPES}
        self.texts["expired"] = self.make("expired", clock_ns=1, scopes=("admin",), lifetime_ns=1_000_000_000)
        self.texts["revoked"] = self.make("revoked", scopes=("admin",))
        self.store.revoke("revoked")
        super().__init__(**{"CORRAL_AUTH": "on", "CORRAL_KEYS": str(self.store.path), **env})

    def make(self, name: str, *, clock_ns: int = 0, **order: Any) -> str:
        """A new key, made in the database and not through the server."""
        store = KeyStore(self.store.path, clock_ns=lambda: clock_ns) if clock_ns else self.store
        return store.create(KeyOrder(name, **order))[1]

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        return super().request(method, path, body, self.auth("admin") if headers is None else headers)

    def auth(self, name: str) -> dict[str, str]:
        return bearer(self.texts[name])

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.keys_folder, ignore_errors=True)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def scoped(scopes: tuple[Scope, ...], *models: str) -> dict[str, Any]:
    return {"scopes": scopes, "models": models or None}


@pytest.fixture(scope="package")
def keyed(process: None) -> Iterator[KeyedServer]:
    """One server for all tests here, with the models `say`, `tiny` and `embed`, and a registry that takes pushes."""
    server = KeyedServer(CORRAL_REGISTRY="push", CORRAL_OFFLINE="1")
    try:
        server.create("say", "say", template=PLAIN_TEMPLATE, parameters={"temperature": 0})
        server.create("tiny", "tiny")
        server.create("embed", "embed")
        yield server
    finally:
        server.close()
