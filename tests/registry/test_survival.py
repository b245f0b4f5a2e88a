"""A server that dies in the middle of a pull, and clients that leave."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.doubles.odd_registry import OddRegistry
from tests.doubles.real_registry import RealRegistry, digest_of, manifest_of
from tests.extras import need
from tests.registry.conftest import CONFIG, noise, say_layers

StartServer = Callable[..., Server]
SIZE = 60_000_000
DATA = noise(SIZE, seed=6)


@pytest.fixture
def odd() -> Iterator[OddRegistry]:
    registry = OddRegistry()
    registry.put(DATA)
    registry.put(CONFIG)
    registry.manifests["/v2/lib/big/manifests/latest"] = manifest_of({"model": DATA}, CONFIG)
    yield registry
    registry.close()


class Pulling:
    """A pull whose progress can be waited for."""

    def __init__(self, server: Server, body: dict[str, Any]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self._connection.request("POST", "/api/pull", json.dumps(body))
        self._response = self._connection.getresponse()

    def wait_for(self, completed: int) -> int:
        """Read until so many bytes are told of."""
        for line in self._response:
            event = json.loads(line)
            assert "error" not in event, event
            if event.get("completed", 0) >= completed:
                return int(event["completed"])
        raise AssertionError("the pull ended")

    def leave(self) -> None:
        self._response.close()
        self._connection.close()


def start_again(server: Server) -> Server:
    """Another server on the same store."""
    return Server(OLLAMA_MODELS=str(server.folder), HOME=str(server.folder))


def test_kill_and_go_on(odd: OddRegistry, start_server: StartServer) -> None:
    """kill -9 in the middle: after the restart only what is missing, and the last second once more, is fetched."""
    server = start_server()
    body = {"model": f"{odd.host}/lib/big", "insecure": True, "rate_limit": "20MB"}
    pulling = Pulling(server, body)
    pulling.wait_for(SIZE // 2)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    pulling.leave()
    sent = odd.sent_bytes()
    assert sent < SIZE
    partial = server.folder / "blobs" / f"sha256-{digest_of(DATA)[7:]}-partial"
    assert partial.stat().st_size == SIZE
    second = start_again(server)
    try:
        resumed = Pulling(second, {**body, "rate_limit": None})
        assert resumed.wait_for(1) > SIZE // 4  # told at once, not from zero
        resumed.wait_for(SIZE)
        assert second.stream("/api/pull", body)[-1] == {"status": "success"}
        resumed.leave()
        assert (server.folder / "blobs" / f"sha256-{digest_of(DATA)[7:]}").read_bytes() == DATA
        # Four parts of at most a second of 20 MB/s; the sockets' buffers were sent as well.
        assert odd.sent_bytes() - SIZE < 35_000_000
        assert not list((server.folder / "blobs").glob("*partial*"))
    finally:
        second.close()


def test_stop_and_go_on(odd: OddRegistry, start_server: StartServer) -> None:
    """An orderly stop in the middle of a pull is quick, and loses nothing that was read."""
    server = start_server()
    body = {"model": f"{odd.host}/lib/big", "insecure": True, "rate_limit": "20MB"}
    pulling = Pulling(server, body)
    pulling.wait_for(SIZE // 3)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    pulling.leave()
    second = start_again(server)
    try:
        resumed = Pulling(second, body)
        assert resumed.wait_for(1) >= SIZE // 3
        resumed.leave()
        assert second.stream("/api/pull", {**body, "rate_limit": None})[-1] == {"status": "success"}
    finally:
        second.close()


def test_one_client_leaves(odd: OddRegistry, start_server: StartServer) -> None:
    """Two clients pull, one hangs up: the other gets the model, and the bytes come once."""
    server = start_server()
    body = {"model": f"{odd.host}/lib/big", "insecure": True, "rate_limit": "30MB"}
    first = Pulling(server, body)
    first.wait_for(1)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(server.stream("/api/pull", body)))
    thread.start()
    first.wait_for(SIZE // 3)
    first.leave()
    thread.join(60)
    assert answers[0][-1] == {"status": "success"}
    assert odd.sent_bytes() == SIZE + len(CONFIG)


def test_update_that_fails_changes_nothing(odd: OddRegistry, start_server: StartServer) -> None:
    """A newer version whose blob is broken: the old one stays as it was."""
    server = start_server()
    body = {"model": f"{odd.host}/lib/big", "insecure": True}
    assert server.stream("/api/pull", body)[-1] == {"status": "success"}
    path = server.folder / "manifests" / odd.host / "lib" / "big" / "latest"
    before = path.read_bytes()
    newer = noise(1000, seed=7)
    odd.blobs[digest_of(newer)] = noise(1000, seed=8)
    odd.manifests["/v2/lib/big/manifests/latest"] = manifest_of({"model": newer}, CONFIG)
    error = server.stream("/api/pull", body)[-1]["error"]
    wrong = digest_of(noise(1000, seed=8))
    assert error == f"digest mismatch, file must be downloaded again: want {digest_of(newer)}, got {wrong}"
    assert path.read_bytes() == before
    assert not (server.folder / "blobs" / f"sha256-{digest_of(newer)[7:]}").exists()


def test_verify(odd: OddRegistry, start_server: StartServer) -> None:
    """Blobs of the right size are trusted, unless the request asks to hash them; a wrong size is always noticed."""
    server = start_server()
    body = {"model": f"{odd.host}/lib/big", "insecure": True}
    server.stream("/api/pull", body)
    blob = server.folder / "blobs" / f"sha256-{digest_of(CONFIG)[7:]}"
    blob.write_bytes(b"x" * len(CONFIG))
    server.stream("/api/pull", body)
    assert blob.read_bytes() == b"x" * len(CONFIG)
    server.stream("/api/pull", {**body, "verify": True})
    assert blob.read_bytes() == CONFIG
    blob.write_bytes(b"short")
    server.stream("/api/pull", body)
    assert blob.read_bytes() == CONFIG


def test_mirror(odd: OddRegistry, start_server: StartServer) -> None:
    """A name of the default registry comes from the mirror that has it; one without it is passed over."""
    empty = OddRegistry()
    try:
        odd.manifests["/v2/library/big/manifests/latest"] = odd.manifests["/v2/lib/big/manifests/latest"]
        server = start_server(CORRAL_REGISTRY_MIRRORS=f"{empty.base}, {odd.base}")
        assert server.stream("/api/pull", {"model": "big"})[-1] == {"status": "success"}
        assert [asked.path for asked in empty.asked] == ["/v2/library/big/manifests/latest"]
        assert server.get("/api/tags")["models"][0]["name"] == "big:latest"
    finally:
        empty.close()


def test_proxy(odd: OddRegistry, start_server: StartServer) -> None:
    """Registries outside are asked through the proxy of the environment, which alone knows their addresses."""
    before = dict(odd.manifests)
    for path, manifest in before.items():
        odd.manifests[f"http://registry.invalid{path}"] = manifest
    proxy = f"http://ann:secret@{odd.host}"
    server = start_server(HTTP_PROXY=proxy, http_proxy=proxy, NO_PROXY="", no_proxy="")
    body = {"model": "registry.invalid/lib/big", "insecure": True}
    assert server.stream("/api/pull", body)[-1] == {"status": "success"}
    assert all(asked.path.startswith("http://registry.invalid/v2/lib/big/") for asked in odd.asked)
    assert odd.asked[0].headers["proxy-authorization"] == "Basic YW5uOnNlY3JldA=="
    assert not any("secret" in line for line in server.log)


def test_offline(start_server: StartServer) -> None:
    """Nothing is asked for; the built-in model is there all the same."""
    server = start_server(CORRAL_OFFLINE="1")
    events = server.stream("/api/pull", {"model": "llama3"})
    assert events[-1]["error"] == (
        "pull model manifest: llama3:latest is not available locally and this server is offline (CORRAL_OFFLINE)"
    )
    assert server.stream("/api/pull", {"model": "corral-tiny"})[-1] == {"status": "success"}


def test_bad_rate(start_server: StartServer) -> None:
    """Refused before anything starts."""
    server = start_server()
    status, body = server.request("POST", "/api/pull", {"model": "m", "rate_limit": "fast"})
    hint = 'use bytes per second, such as "10MB" or "500KiB"'
    assert (status, json.loads(body)) == (400, {"error": "invalid rate limit: 'fast'", "hint": hint})


def test_ollama_package(registry: RealRegistry, start_server: StartServer) -> None:
    """pull and push of the official package, streamed and not."""
    need("ollama")
    import ollama

    registry.put_model("lib/say", say_layers(), CONFIG)
    server = start_server()
    client = ollama.Client(host=server.base)
    name, copy = f"{registry.host}/lib/say", f"{registry.host}/me/say"
    assert client.pull(name, insecure=True).status == "success"
    steps = list(client.pull(name, insecure=True, stream=True))
    assert steps[0].status == "pulling manifest"
    assert any(step.total and step.completed == step.total for step in steps)
    client.copy(name, copy)
    assert client.push(copy, insecure=True).status == "success"
    assert [step.status for step in client.push(copy, insecure=True, stream=True)][-1] == "success"
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        client.pull(f"{registry.host}/lib/none", insecure=True)
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        list(client.pull(f"{registry.host}/lib/none", insecure=True, stream=True))
    client._client.close()


@pytest.mark.process
def test_idle_server_has_no_registry_client(tmp_path: Path) -> None:
    """What only pulls need is not loaded at start."""
    code = "import corral.server, sys; print([m for m in ('urllib3', 'cryptography') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
