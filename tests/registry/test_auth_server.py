"""Authentication through a real server: Ollama's signed tokens, docker's credentials, and who never gets any."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.doubles.real_registry import BINARY, RealRegistry
from tests.doubles.token_registry import TokenRegistry
from tests.registry.conftest import CONFIG, say_layers

StartServer = Callable[..., Server]
StartRegistry = Callable[..., TokenRegistry]


@pytest.fixture
def start_registry(tmp_path: Path) -> Iterator[StartRegistry]:
    if BINARY is None:
        pytest.skip("docker-registry is not installed (Debian: apt install docker-registry)")
    started: list[TokenRegistry] = []

    def start(**options: Any) -> TokenRegistry:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(TokenRegistry(folder, **options))
        return started[-1]

    yield start
    for registry in started:
        registry.close()


def fill(registry: TokenRegistry, repository: str = "lib/say") -> None:
    registry.registry.put_model(repository, say_layers(), CONFIG, **registry.admin(repository))


def public_key(server: Server) -> str:
    return (server.folder / ".ollama" / "id_ed25519.pub").read_text().split()[1]


def docker_login(server: Server, host: str, user: str, password: str) -> None:
    folder = server.folder / ".docker"
    folder.mkdir(exist_ok=True)
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def wait_for_key(server: Server) -> None:
    """The server makes its key after it began to listen."""
    for _ in range(600):
        if (server.folder / ".ollama" / "id_ed25519").exists():
            return
        server.get("/api/version")
    raise AssertionError("no key")


def test_signed_tokens(start_registry: StartRegistry, start_server: StartServer) -> None:
    """Pull and push with the machine's key, with the rights that the registry gives it."""
    registry = start_registry()
    fill(registry)
    server = start_server()
    wait_for_key(server)
    request = {"model": f"{registry.host}/lib/say", "insecure": True}
    events = server.stream("/api/pull", request)
    hint = f"store credentials for {registry.host} with `docker login {registry.host}`"
    assert events[-1] == {"error": "pull model manifest: unauthorized: access denied", "hint": hint}
    registry.may[public_key(server)] = "pull"
    assert server.stream("/api/pull", request)[-1] == {"status": "success"}
    target = f"{registry.host}/me/say"
    server.post("/api/copy", {"source": request["model"], "destination": target})
    push = {"model": target, "insecure": True}
    assert server.stream("/api/push", push)[-1] == {"error": "unauthorized: access denied", "hint": hint}
    registry.may[public_key(server)] = "pull,push"
    assert server.stream("/api/push", push)[-1] == {"status": "success"}
    tokens = [seen for seen in registry.seen if seen.path.startswith("/token")]
    assert all(seen.authorization.startswith(public_key(server)) for seen in tokens)
    assert registry.registry.get("me/say/tags/list", **registry.admin("me/say")).json()["tags"] == ["latest"]


def test_over_tls(start_registry: StartRegistry, start_server: StartServer) -> None:
    """With a certificate that the machine trusts; without, nothing is sent."""
    registry = start_registry(is_tls=True)
    fill(registry)
    request = {"model": f"{registry.host}/lib/say"}
    stranger = start_server()
    error = stranger.stream("/api/pull", request)[-1]["error"]
    assert error.startswith(
        f'pull model manifest: Get "{registry.base}/v2/lib/say/manifests/latest": tls: failed'
    )
    assert registry.seen == []
    server = start_server(SSL_CERT_FILE=str(registry.certificate_path))
    wait_for_key(server)
    registry.may[public_key(server)] = "pull"
    assert server.stream("/api/pull", request)[-1] == {"status": "success"}


def test_docker_login(start_registry: StartRegistry, start_server: StartServer) -> None:
    """Credentials of a docker login go to the token service, instead of the machine's key."""
    registry = start_registry()
    fill(registry)
    registry.may["ann"], registry.passwords["ann"] = "pull", "secret"
    server = start_server(CORRAL_REGISTRY_TRUSTED_HOSTS=registry.host)
    docker_login(server, registry.host, "ann", "secret")
    request = {"model": f"{registry.host}/lib/say", "insecure": True}
    assert server.stream("/api/pull", request)[-1] == {"status": "success"}
    assert not any("secret" in line for line in server.log)


def test_stored_credentials_stay_here(start_registry: StartRegistry, start_server: StartServer) -> None:
    """A client that asks for plain http does not make the server send what `docker login` stored, on any route."""
    registry = start_registry()
    fill(registry)
    registry.may["ann"], registry.passwords["ann"] = "pull,push", "secret"
    server = start_server()
    docker_login(server, registry.host, "ann", "secret")
    name = f"{registry.host}/lib/say"
    hint = (
        f"the stored credentials of {registry.host} are not sent over plain http; "
        f"CORRAL_REGISTRY_TRUSTED_HOSTS={registry.host} allows it"
    )
    denied = {"error": "pull model manifest: unauthorized: access denied", "hint": hint}
    assert server.stream("/api/pull", {"model": name, "insecure": True})[-1] == denied
    server.create(name, "say")
    assert "access denied" in server.stream("/api/push", {"model": name, "insecure": True})[-1]["error"]
    assert registry.seen
    assert not any(seen.authorization.startswith("Basic ") for seen in registry.seen)


def test_user_in_the_request(start_registry: StartRegistry, start_server: StartServer) -> None:
    """User and password of a request are used for its registry."""
    registry = start_registry()
    fill(registry)
    registry.may["ann"], registry.passwords["ann"] = "pull", "secret"
    server = start_server()
    request = {"model": f"{registry.host}/lib/say", "insecure": True, "username": "ann", "password": "secret"}
    assert server.stream("/api/pull", request)[-1] == {"status": "success"}


def test_realm_elsewhere(start_registry: StartRegistry, start_server: StartServer) -> None:
    """A token service on another host gets nothing, unless the configuration names it."""
    service = start_registry()
    registry = start_registry(realm=service.realm)
    request = {"model": f"{registry.host}/lib/say", "insecure": True}
    server = start_server()
    docker_login(server, registry.host, "ann", "secret")
    assert server.stream("/api/pull", request)[-1] == {
        "error": f'pull model manifest: realm host "{service.host}" does not match original host "{registry.host}"',
        "hint": f"if you trust it with your credentials, set CORRAL_REGISTRY_TRUSTED_HOSTS={service.host}",
    }
    assert service.seen == []
    trusting = start_server(CORRAL_REGISTRY_TRUSTED_HOSTS=f"{service.host},{registry.host}")
    docker_login(trusting, registry.host, "ann", "secret")
    assert "401: who are you?" in trusting.stream("/api/pull", request)[-1]["error"]
    assert [seen.authorization[:6] for seen in service.seen] == ["Basic "]


def test_basic_authentication(start_server: StartServer) -> None:
    """A registry without token service asks for user and password itself."""
    if BINARY is None:
        pytest.skip("docker-registry is not installed (Debian: apt install docker-registry)")
    # `htpasswd -nbB ann secret`
    line = "ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
    registry = RealRegistry(htpasswd=line)
    try:
        server = start_server(CORRAL_REGISTRY_TRUSTED_HOSTS=registry.host)
        request = {"model": f"{registry.host}/lib/say", "insecure": True}
        hint = f"store credentials for {registry.host} with `docker login {registry.host}`"
        denied = {"error": "pull model manifest: unauthorized: access denied", "hint": hint}
        assert server.stream("/api/pull", request)[-1] == denied
        docker_login(server, registry.host, "ann", "wrong")
        assert server.stream("/api/pull", request)[-1] == denied
        docker_login(server, registry.host, "ann", "secret")
        registry.put_model("lib/say", say_layers(), CONFIG, auth=("ann", "secret"))
        assert server.stream("/api/pull", request)[-1] == {"status": "success"}
        target = f"{registry.host}/me/say"
        server.post("/api/copy", {"source": request["model"], "destination": target})
        assert server.stream("/api/push", {"model": target, "insecure": True})[-1] == {"status": "success"}
        wary = start_server()
        docker_login(wary, registry.host, "ann", "secret")
        refused = wary.stream("/api/pull", request)[-1]
        assert refused["error"] == denied["error"]
        assert "CORRAL_REGISTRY_TRUSTED_HOSTS" in refused["hint"]
    finally:
        registry.close()
