"""Clusters of real servers on the engine double, joined by pipes that can fail."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from corral.access.clusterkey import write_cluster_key
from tests.cluster.pipes import Network, Pipe
from tests.conftest import FAKE_ENGINE, PLAIN_TEMPLATE, Server
from tests.ports import free_port
from tests.waiting import wait_until


class Answer:
    """A whole answer. `lines` of NDJSON, and what of `data:` events is JSON."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def node(self) -> str:
        return self.headers.get("x-corral-node", "").partition(";")[0]

    @property
    def why(self) -> str:
        return self.headers.get("x-corral-node", "").partition("why=")[2].partition(";")[0]

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines() if line.strip()]

    @property
    def events(self) -> list[Any]:
        found = [
            line.removeprefix(b"data: ") for line in self.body.splitlines() if line.startswith(b"data: ")
        ]
        return [json.loads(line) for line in found if line != b"[DONE]"]


class Cluster:
    """Servers a, b, c ...; `pipes[x, y]` is the way from x to y."""

    def __init__(
        self, names: str, folder: Path, is_direct: bool = False, is_started: bool = True, **env: str
    ) -> None:
        self.network = Network()
        # Without pipes the servers know each other by ports that were free a moment ago.
        self.ports = {name: free_port() for name in names} if is_direct else {}
        self.names = names
        self.folder = folder
        self.key_file = folder / "cluster.key"
        self.key = write_cluster_key(self.key_file)
        self.env = env
        self.pipes: dict[tuple[str, str], Pipe] = {
            (x, y): self.network.pipe() for x in names for y in names if x != y
        }
        self.servers: dict[str, Server] = {}
        if is_started:
            with ThreadPoolExecutor(len(names)) as pool:
                self.servers = dict(zip(names, pool.map(self.start, names), strict=True))

    def settings(self, name: str) -> dict[str, str]:
        return {
            "CORRAL_CLUSTER_MODE": "peers",
            "CORRAL_CLUSTER_NAME": name,
            "CORRAL_CLUSTER_KEY_FILE": str(self.key_file),
            "CORRAL_CLUSTER_PEERS": ",".join(self.url(name, y) for y in self.names if y != name),
            **({"OLLAMA_HOST": f"127.0.0.1:{self.ports[name]}"} if self.ports else {}),
            "CORRAL_LLAMA_SERVER": str(FAKE_ENGINE),
            "CORRAL_ENGINE_ENV": "FAKE_*",
            "FAKE_LOG": str(self.folder / f"{name}.engine"),
            **self.env,
        }

    def url(self, name: str, other: str) -> str:
        """Where one server reaches another."""
        return f"http://127.0.0.1:{self.ports[other]}" if self.ports else self.pipes[name, other].url

    def start(self, name: str, **env: str) -> Server:
        server = Server(**self.settings(name) | env)
        for (_, y), pipe in self.pipes.items():
            if y == name:
                pipe.target = server.port
        return server

    def restart(self, name: str, **env: str) -> Server:
        """With an empty store: a server of the tests owns its folder."""
        if name in self.servers:
            self.servers[name].close()
        self.servers[name] = self.start(name, **env)
        return self.servers[name]

    def __getitem__(self, name: str) -> Server:
        return self.servers[name]

    def ask(
        self,
        name: str,
        path: str,
        body: Any = None,
        *,
        method: str = "",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """A request to one server; its answer, whatever the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self[name].port, timeout=120)
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, data, headers or {})
            response = connection.getresponse()
            read = response.read()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, read)
        finally:
            connection.close()

    def status(self, name: str = "a") -> dict[str, dict[str, Any]]:
        """The nodes by their names, or by their addresses."""
        found = json.loads(self.ask(name, "/api/cluster").body)
        return {node.get("name") or node["url"]: node for node in found["nodes"]}

    def health(self, name: str, node: str) -> str:
        return str(self.status(name).get(node, {}).get("health", ""))

    def wait_for(self, node: str, health: str = "alive", *, at: str = "") -> None:
        for name in at or self.names:
            if name != node and self.servers[name].process.poll() is None:
                wait_until(lambda name=name: self.health(name, node) == health, f"{node} at {name}")  # type: ignore[misc]

    def settle(self) -> None:
        """Until everybody hears everybody."""
        for name in self.names:
            self.wait_for(name)

    def create(self, names: str, model: str = "m", **fields: Any) -> None:
        """Make the same new model on some servers, and wait until all know it."""
        counts = {name: self.status(name)[name]["models"] + 1 for name in names}
        for name in names:
            body = {"model": model, "template": PLAIN_TEMPLATE, "stream": False, **fields}
            self._create_on(name, body)
        for at in self.names:
            if self[at].process.poll() is None:
                wait_until(lambda at=at: self._knows(at, counts), f"{at} does not know {model}")  # type: ignore[misc]

    def _knows(self, at: str, counts: dict[str, int]) -> bool:
        """Whether a server knows of so many models on each node."""
        nodes = self.status(at)
        return all(nodes.get(name, {}).get("models", 0) >= count for name, count in counts.items())

    def _create_on(self, name: str, body: dict[str, Any]) -> None:
        path = FIXTURE
        digest = self[name].upload(path)
        status, answer = self[name].request(
            "POST", "/api/create", {**body, "files": {path.name: digest}}, {"X-Corral-Node": name}
        )
        assert status == 200, answer

    def engine_log(self, name: str) -> list[str]:
        path = self.folder / f"{name}.engine"
        return path.read_text().splitlines() if path.exists() else []

    def signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self[name].process.pid, number)

    def kill(self, name: str) -> None:
        self[name].process.kill()
        self[name].process.wait()

    def close(self) -> None:
        for server in self.servers.values():
            if server.process.poll() is None:
                os.kill(server.process.pid, signal.SIGCONT)
        with ThreadPoolExecutor(len(self.names)) as pool:
            list(pool.map(Server.close, self.servers.values()))
        self.network.close()


FIXTURE = Path(__file__).parent.parent / "fixtures" / "say.gguf"


def chat(text: str = "hello", model: str = "m", **fields: Any) -> dict[str, Any]:
    """A request of `/api/chat`."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


@pytest.fixture(scope="module")
def make_cluster(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Cluster]]:
    """Start clusters, which end with the module."""
    made: list[Cluster] = []

    def make(names: str = "abc", is_started: bool = True, **env: str) -> Cluster:
        cluster = Cluster(names, tmp_path_factory.mktemp("cluster"), False, is_started, **env)
        made.append(cluster)
        if is_started:
            cluster.settle()
        return cluster

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture(scope="module")
def trio(make_cluster: Callable[..., Cluster]) -> Cluster:
    """Three servers; b and c have a model `m`."""
    cluster = make_cluster()
    cluster.create("bc")
    return cluster


def elapsed_of(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came of it."""
    began_s = time.monotonic()
    found = work()
    return time.monotonic() - began_s, found
