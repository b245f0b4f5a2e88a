"""A cluster over TLS, with certificates of an authority of its own, which nodes ask each other for too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.authority import Authority
from tests.cluster.conftest import Cluster, chat
from tests.ports import free_port
from tests.waiting import wait_until


def test_nodes_show_each_other_certificates(make_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """One that is not trusted is shown with the reason, and gets nothing."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("127.0.0.1")
    ports = {name: free_port() for name in "ab"}
    tls = {
        "CORRAL_TLS_CERT": str(cert),
        "CORRAL_TLS_KEY": str(key),
        "CORRAL_TLS_CLIENT_CA": str(authority.cert),
        "CORRAL_CLUSTER_CA_FILE": str(authority.cert),
    }
    cluster = make_cluster("ab", is_started=False)
    for name, other in ("ab", "ba"):
        cluster.restart(
            name,
            **tls,
            OLLAMA_HOST="http://127.0.0.1:0",
            CORRAL_HOSTS=f"https://127.0.0.1:{ports[name]}",
            CORRAL_CLUSTER_PEERS=f"https://127.0.0.1:{ports[other]}",
        )
    cluster.settle()
    cluster.create("b")
    assert cluster.status("a")["b"]["url"].startswith("https://")
    answer = cluster.ask("a", "/api/chat", chat())
    assert answer.status == 200 and answer.node == "b"

    stranger = tmp_path / "stranger"
    stranger.mkdir()
    settings = {
        **tls,
        "OLLAMA_HOST": "http://127.0.0.1:0",
        "CORRAL_HOSTS": f"https://127.0.0.1:{ports['a']}",
        "CORRAL_CLUSTER_PEERS": f"https://127.0.0.1:{ports['b']}",
        "CORRAL_CLUSTER_CA_FILE": str(Authority(stranger).cert),
    }
    cluster.restart("a", **settings)
    wait_until(lambda: any("TLS with" in node.get("problem", "") for node in cluster.status("a").values()))
    (peer,) = [node for node in cluster.status("a").values() if node["url"]]
    assert "certificate" in peer["problem"] and peer["health"] == "gone"
