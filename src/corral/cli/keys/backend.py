"""Where keys are changed: by the server that runs, or in the database if none does.

A server on this machine may also refuse (it asks for keys, and there is none yet). Whoever may write the database may
make keys all the same, and the server sees them at once. A server elsewhere is never replaced by a file here.
"""

from __future__ import annotations

import os
import sys
import time

from corral.access.audit import Act, AuditLog
from corral.access.auditing import audit_log
from corral.access.keys import Key, describe, lifetime_ns, read_order
from corral.access.keystore import KeyStore, default_database
from corral.cli.frame.flags import PROGRAM
from corral.cli.http.address import server_client
from corral.cli.http.client import APIError, Client, NoServerError
from corral.config import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Backend(Protocol):
        """The acts of `/api/keys`, with its bodies and answers."""

        def keys(self) -> list[dict[str, Any]]: ...
        def create(self, order: dict[str, Any]) -> dict[str, Any]: ...
        def show(self, wanted: str) -> dict[str, Any]: ...
        def rotate(self, wanted: str, grace: str) -> dict[str, Any]: ...
        def revoke(self, wanted: str) -> dict[str, Any]: ...


class Server:
    """The keys of a server, over HTTP."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def keys(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("GET", "")["keys"]
        return found

    def create(self, order: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", "", order)

    def show(self, wanted: str) -> dict[str, Any]:
        return self._call("GET", _segment(wanted))

    def rotate(self, wanted: str, grace: str) -> dict[str, Any]:
        return self._call("POST", f"{_segment(wanted)}/rotate", {"grace": grace})

    def revoke(self, wanted: str) -> dict[str, Any]:
        return self._call("DELETE", _segment(wanted))

    def _call(self, method: str, rest: str, body: Any = None) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.call(method, f"/api/keys{rest}", body)
        return answer


class File:
    """The keys in the database of this machine; what is changed is written down as the server does it."""

    def __init__(self, store: KeyStore, log: AuditLog | None) -> None:
        self._store = store
        self._log = log

    def keys(self) -> list[dict[str, Any]]:
        now_ns = time.time_ns()
        return [describe(key, now_ns) for key in self._store.all_keys()]

    def create(self, order: dict[str, Any]) -> dict[str, Any]:
        key, text = self._store.create(read_order(order))
        self._note("create", key)
        return _made(key, text)

    def show(self, wanted: str) -> dict[str, Any]:
        return describe(self._store.find(wanted), time.time_ns())

    def rotate(self, wanted: str, grace: str) -> dict[str, Any]:
        key, text = self._store.rotate(wanted, 0 if grace == "0" else lifetime_ns(grace))
        self._note("rotate", key)
        return _made(key, text)

    def revoke(self, wanted: str) -> dict[str, Any]:
        key = self._store.revoke(wanted)
        self._note("revoke", key)
        return describe(key, time.time_ns())

    def _note(self, act: str, key: Key) -> None:
        if self._log is None:
            return
        target = (f"key {key.id} {key.name}",)
        try:
            self._log.write(Act(f"user {os.getuid()}", "", f"{PROGRAM} key {act}", target, "done"))
        except OSError as exc:
            print(f"this is not in the audit log: {exc.strerror or exc}", file=sys.stderr)


def open_backend() -> Backend:
    """The server if it runs and lets us, else the database.

    Raises:
        APIError, NoServerError: the server is elsewhere, and refuses or cannot be reached.
    """
    client = server_client()
    try:
        client.call("GET", "/api/keys")
    except NoServerError as error:
        if str(error) or not client.address.is_loopback:
            raise
        reason = "no server is running"
    except APIError as error:
        if error.status not in (401, 403, 404) or not client.address.is_loopback:
            raise
        what = "does not know API keys" if error.status == 404 else "asks for a key"
        reason = f"the server at {client.address.url()} {what}"
    else:
        return Server(client)
    return _file(reason)


def _file(reason: str) -> File:
    settings = Settings.load()
    path = settings.keys_db or default_database()
    print(f"{reason}; keys are in {path}", file=sys.stderr)
    return File(KeyStore(path), audit_log(settings))


def _made(key: Key, text: str) -> dict[str, Any]:
    return {"key": text, **describe(key, time.time_ns())}


def _segment(wanted: str) -> str:
    from urllib.parse import quote

    return "/" + quote(wanted, safe="")
