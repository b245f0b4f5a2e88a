"""Who needs a key: nobody on this machine, other machines once there is one, or everybody."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from corral.access.keys import KeyOrder
from corral.access.keystore import KeyStore
from tests.access.conftest import bearer
from tests.conftest import Server

FORWARDED = {"X-Forwarded-For": "203.0.113.9"}


def own_address() -> str:
    """An address of this machine that is not a loopback one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))
        except OSError:
            pytest.skip("this machine has a loopback interface alone")
        return str(probe.getsockname()[0])


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.sqlite3")


def elsewhere(server: Server, path: str, headers: dict[str, str] | None = None, body: object = None) -> int:
    """The status that another machine gets."""
    there = f"http://{own_address()}:{server.port}"
    here, server.base = server.base, there
    try:
        return server.request("POST" if body is not None else "GET", path, body, headers)[0]
    finally:
        server.base = here


def test_a_public_server_is_open_until_there_is_a_key(
    start_server: Callable[..., Server], store: KeyStore
) -> None:
    """As Ollama's; but it says so, a stranger cannot make the first key, and the first key shuts it at once."""
    server = start_server(OLLAMA_HOST="0.0.0.0:0", CORRAL_KEYS=str(store.path))
    server.base = f"http://127.0.0.1:{server.port}"
    (line,) = [line for line in server.log if "ANYONE WHO CAN REACH" in line]
    assert "corral key create NAME" in line
    assert elsewhere(server, "/api/tags") == 200
    assert elsewhere(server, "/api/keys", body={"name": "x"}) == 403
    assert elsewhere(server, "/api/keys") == 403
    assert server.request("POST", "/api/keys", {"name": "x"}, {"Origin": "http://localhost"})[0] == 403
    assert server.request("POST", "/api/keys", {"name": "x"}, FORWARDED)[0] == 403
    status, answer = server.request("POST", "/api/keys", {"name": "first", "scopes": ["read"]})
    assert status == 201
    text = json.loads(answer)["key"]
    assert elsewhere(server, "/api/tags") == 401
    assert elsewhere(server, "/api/tags", bearer(text)) == 200
    assert elsewhere(server, "/api/version") == elsewhere(server, "/") == 200
    assert server.request("GET", "/api/tags")[0] == 200  # this machine
    assert server.request("GET", "/api/tags", None, bearer("ollama"))[0] == 200  # a text that means nothing
    assert server.request("GET", "/api/tags", None, FORWARDED)[0] == 401  # a proxy on this machine
    store.revoke("first")
    assert elsewhere(server, "/api/tags", bearer(text)) == 401  # seen at once
    assert elsewhere(server, "/api/tags") == 401  # and not open again


def test_off_and_on(start_server: Callable[..., Server], store: KeyStore) -> None:
    _, text = store.create(KeyOrder("a", ("infer",)))
    off = start_server(CORRAL_AUTH="off", CORRAL_KEYS=str(store.path))
    assert off.request("GET", "/api/tags", None, bearer(text))[0] == 200
    on = start_server(CORRAL_AUTH="on", CORRAL_KEYS=str(store.path))
    assert on.request("GET", "/api/tags")[0] == 401
    assert on.request("GET", "/api/tags", None, bearer(text))[0] == 403
    assert on.request("GET", "/", None)[0] == on.request("GET", "/api/version")[0] == 200


def test_a_key_binds_on_this_machine_too(start_server: Callable[..., Server], store: KeyStore) -> None:
    _, text = store.create(KeyOrder("a", ("infer",)))
    server = start_server(CORRAL_KEYS=str(store.path))
    assert server.request("GET", "/api/tags")[0] == 200
    assert server.request("GET", "/api/tags", None, bearer(text))[0] == 403
    assert server.request("GET", "/api/keys/me")[0] == 401


def test_addresses_of_a_trusted_proxy(start_server: Callable[..., Server], store: KeyStore) -> None:
    """The log and the counts are about the client behind it; links have its scheme."""
    store.create(KeyOrder("a"))
    server = start_server(
        CORRAL_KEYS=str(store.path),
        CORRAL_TRUSTED_PROXIES="127.0.0.1",
        CORRAL_AUTH="on",
        CORRAL_REGISTRY="pull",
    )
    for address, status in [("198.51.100.1", 401)] * 10 + [("198.51.100.1", 429), ("198.51.100.2", 401)]:
        headers = {"X-Forwarded-For": f"1.2.3.4, {address}", **bearer("wrong")}
        assert server.request("GET", "/api/tags", None, headers)[0] == status


@pytest.mark.parametrize("env", [{}, {"CORRAL_AUTH": "off"}])
@pytest.mark.process
def test_strict_refuses_to_be_open(tmp_path: Path, env: dict[str, str]) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "CORRAL_"))}
    strict = {"CORRAL_STRICT": "1", "OLLAMA_HOST": "0.0.0.0:0", "HOME": str(tmp_path), **env}
    command = [sys.executable, "-m", "corral.cli.main", "serve"]
    ended = subprocess.run(
        command, env={**clean, **strict}, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 1
    assert "CORRAL_STRICT does not allow" in ended.stderr and "corral key create NAME" in ended.stderr


@pytest.mark.process
def test_a_broken_database_stops_the_server(tmp_path: Path) -> None:
    """It could not know who may come in."""
    path = tmp_path / "keys"
    path.write_bytes(b"broken " * 1000)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "CORRAL_"))}
    env = {**clean, "CORRAL_KEYS": str(path), "OLLAMA_HOST": "127.0.0.1:0", "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "corral.cli.main", "serve"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1 and "database of keys" in ended.stderr
