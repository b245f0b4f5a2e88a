"""Real servers with the real engine: weights from each other, replicas as configured, and a node that drains."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Cluster, chat
from tests.conftest import FIXTURES
from tests.registry.conftest import noise
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

# Nothing outside is there, and the engine is the real one.
ALONE = {"CORRAL_DEFAULT_REGISTRY": "http://127.0.0.1:9", "CORRAL_LLAMA_SERVER": "", "CORRAL_ENGINE_ENV": ""}
MakeCluster = Callable[..., Cluster]


def loaded(cluster: Cluster, model: str = "m") -> set[str]:
    """Nodes that say that they have it in memory."""
    found = json.loads(cluster.ask(at_work(cluster), "/api/ps").body)["models"]
    return {entry["node"] for entry in found if entry["name"] == f"{model}:latest"}


def at_work(cluster: Cluster) -> str:
    return next(name for name in cluster.names if cluster[name].process.poll() is None)


def pull(cluster: Cluster, node: str, model: str = "m") -> list[dict[str, Any]]:
    """Pull at one node; the lines."""
    return cluster.ask(node, "/api/pull", {"model": model}, headers={"X-Corral-Node": node}).lines


def weights_of(cluster: Cluster, node: str, model: str = "m") -> Path:
    folder = cluster[node].folder
    path = folder / "manifests/registry.ollama.ai/library" / model / "latest"
    layer = json.loads(path.read_bytes())["layers"][0]
    return folder / "blobs" / str(layer["digest"]).replace(":", "-")


def test_a_node_takes_a_model_from_another(make_cluster: MakeCluster) -> None:
    """It is the same model, answers there, and no registry is needed. Nobody else may read the models."""
    cluster = make_cluster("ab", **ALONE)
    cluster.create("a")
    lines = pull(cluster, "b")
    assert lines[0] == {"status": "pulling manifest"}
    assert lines[-1] == {"status": "success"}
    assert weights_of(cluster, "b").read_bytes() == weights_of(cluster, "a").read_bytes()
    wait_until(lambda: cluster.status("b")["b"]["models"] == 1, "b does not say so")
    answer = cluster.ask("b", "/api/chat", chat("now A", stream=False), headers={"X-Corral-Node": "b"})
    assert answer.json()["message"]["content"]
    for path in ("/v2/", "/v2/library/m/manifests/latest", f"/v2/library/m/blobs/sha256:{'0' * 64}"):
        refused = cluster.ask("a", path)
        assert refused.status in (401, 403), path
        assert refused.json()["errors"][0]["code"] in ("UNAUTHORIZED", "DENIED")
    key = {"Authorization": f"Bearer {cluster.key}"}
    assert cluster.ask("a", "/v2/library/m/manifests/latest", headers=key).status == 200
    gone = pull(cluster, "b", "unknown")[-1]["error"]
    assert "127.0.0.1:9" in gone


def quietly(work: Callable[..., Any], *args: Any) -> None:
    """The server may die meanwhile."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        work(*args)


def write_model(folder: Path, weights: bytes) -> Path:
    """A model `big` whose weights are these bytes, as another program would write it; the blob."""
    config = b'{"model_format":"gguf","model_family":"llama"}'
    layers = []
    for kind, data in (("container.image.v1+json", config), ("model", weights)):
        digest = hashlib.sha256(data).hexdigest()
        path = folder / "blobs" / f"sha256-{digest}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        prefix = "application/vnd.docker." if data is config else "application/vnd.ollama.image."
        layers.append({"mediaType": prefix + kind, "digest": f"sha256:{digest}", "size": len(data)})
    manifest = folder / "manifests/registry.ollama.ai/library/big/latest"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    head = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
    manifest.write_text(json.dumps({**head, "config": layers[0], "layers": layers[1:]}))
    return path


def noted_bytes(partial: Path) -> int:
    """How much of a download is noted beside it."""
    parts = partial.parent.glob(f"{partial.name}-*")
    return sum(json.loads(path.read_bytes() or b"{}").get("Completed", 0) for path in parts)


def test_killed_in_the_middle(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """kill -9 while weights come: there is no model, then the rest is fetched."""
    cluster = make_cluster("ab", **ALONE, CORRAL_PULL_RATE="20MB")
    cluster.kill("b")
    cluster.restart("b", OLLAMA_MODELS=str(tmp_path))
    cluster.settle()
    weights = noise(60 << 20, seed=3)
    path = write_model(cluster["a"].folder, weights)
    wait_until(lambda: cluster.status("b")["a"]["models"] == 1, "b does not know it")
    blob = tmp_path / "blobs" / path.name
    partial = blob.with_name(f"{path.name}-partial")
    reading = threading.Thread(target=lambda: quietly(pull, cluster, "b", "big"))
    reading.start()
    wait_until(lambda: noted_bytes(partial) > 8 << 20, "nothing has come")
    cluster.kill("b")
    reading.join()
    assert not blob.exists()
    assert not list((tmp_path / "manifests").rglob("latest"))
    cluster.restart("b", OLLAMA_MODELS=str(tmp_path))
    cluster.settle()
    wait_until(lambda: cluster.status("b")["a"]["models"] == 1, "b does not know it")
    lines = pull(cluster, "b", "big")
    assert lines[-1] == {"status": "success"}, lines
    assert max(line.get("resumed", 0) for line in lines) > 0
    assert blob.read_bytes() == weights


def said_of_replicas(cluster: Cluster) -> object:
    return json.loads(cluster.ask("c", "/api/cluster").body)["replicas"]


def test_replicas_by_the_configuration(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """Two nodes have it in memory, though one had it; and when one drains, a third takes over before it is empty."""
    config = tmp_path / "config.toml"
    config.write_text('[models."m"]\nreplicas = { min = 2, max = 2 }\nplacement = "spread"\n')
    cluster = make_cluster("abc", **ALONE, CORRAL_CONFIG=str(config))
    cluster.create("b")
    wait_until(lambda: len(loaded(cluster)) == 2, "no second replica")
    first = loaded(cluster)
    assert "b" in first
    # The planner says what it knew when it planned last.
    planned = [{"model": "m:latest", "wanted": 2, "nodes": sorted(first)}]
    wait_until(lambda: said_of_replicas(cluster) == planned, "the planner does not know both")
    assert json.loads(cluster.ask("c", "/api/cluster").body)["planner"] == "a"
    status = cluster.ask("c", "/api/cluster/nodes/b/drain", method="POST")
    assert status.status == 200, status.body
    wait_until(lambda: loaded(cluster) == {"a", "c"}, "the model did not move")
    for node in "ac":
        answer = cluster.ask(node, "/api/chat", chat("now A", stream=False), headers={"X-Corral-Node": node})
        assert answer.json()["message"]["content"]


def test_a_model_that_makes_vectors(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """It is loaded at another node too; and what is wrong there is said, and tried again."""
    config = tmp_path / "config.toml"
    config.write_text('[models."vec"]\nreplicas = { min = 2, max = 2 }\n')
    cluster = make_cluster("ab", **ALONE, CORRAL_CONFIG=str(config))
    digest = cluster["b"].upload(FIXTURES / "embed.gguf")
    body = {"model": "vec", "files": {"embed.gguf": digest}, "stream": False}
    assert cluster.ask("b", "/api/create", body, headers={"X-Corral-Node": "b"}).status == 200
    wait_until(lambda: loaded(cluster, "vec") == {"a", "b"}, "no two replicas")
    for node in "ab":
        answer = cluster.ask(
            node, "/api/embed", {"model": "vec", "input": "x"}, headers={"X-Corral-Node": node}
        )
        assert answer.status == 200


def test_different_models_under_one_name(make_cluster: MakeCluster) -> None:
    """Requests go to what most nodes have; nothing is overwritten; the state says so."""
    cluster = make_cluster("abc", **ALONE)
    cluster.create("a", system="this one differs")
    cluster.create("bc")

    def conflicts() -> list[Any]:
        return list(json.loads(cluster.ask("a", "/api/cluster").body).get("conflicts", []))

    wait_until(conflicts, "nobody sees it")
    (found,) = conflicts()
    assert found["model"] == "m:latest"
    assert sorted(found["nodes"].values()) == [["a"], ["b", "c"]]
    assert found["nodes"][found["digest"]] == ["b", "c"]
    for _ in range(6):
        assert cluster.ask("a", "/api/chat", chat("now A", stream=False)).node in ("b", "c")
    assert cluster.ask("b", "/api/chat", chat("now A"), headers={"X-Corral-Node": "a"}).node == "a"


def test_a_holder_that_is_stopped(make_cluster: MakeCluster) -> None:
    """SIGSTOP in the middle of a wave: the weights come from the other one."""
    cluster = make_cluster("abc", **ALONE)
    weights = noise(40 << 20, seed=4)
    for node in "ab":
        path = write_model(cluster[node].folder, weights)
    wait_until(lambda: all(cluster.status("c")[node]["models"] == 1 for node in "ab"), "c does not know it")
    cluster.signal("a", signal.SIGSTOP)
    try:
        lines = pull(cluster, "c", "big")
    finally:
        cluster.signal("a", signal.SIGCONT)
    assert lines[-1] == {"status": "success"}, lines
    assert (cluster["c"].folder / "blobs" / path.name).read_bytes() == weights


def test_the_leader_is_killed(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """The next one loads what is missing; a stopped node that comes back finds nothing to do."""
    config = tmp_path / "config.toml"
    config.write_text('[models."m"]\nreplicas = { min = 1, max = 1 }\n')
    cluster = make_cluster("abc", **ALONE, CORRAL_CONFIG=str(config))
    cluster.create("a")
    wait_until(lambda: loaded(cluster) == {"a"}, "no replica")
    cluster.create("c")
    cluster.kill("a")
    wait_until(lambda: bool(loaded(cluster) - {"a"}), "nobody has taken over")
    (taken,) = loaded(cluster) - {"a"}
    cluster.signal(taken, signal.SIGSTOP)
    cluster.signal(taken, signal.SIGCONT)
    wait_until(lambda: loaded(cluster) - {"a"} == {taken}, "it did not stay")
