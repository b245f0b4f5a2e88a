"""Two Ray nodes on this machine, and what happens when parts of them die."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from corral.cluster.ray.single import holder
from tests.cluster.ray.nodes import ADDRESS, RayNode
from tests.extras import need
from tests.waiting import wait_until

need("ray")
pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes and sockets in /proc"),
]


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[RayNode, RayNode]]:
    """The head `one` and the node `two`."""
    head, other = RayNode("one"), RayNode("two")
    try:
        done = head.start()
        assert done.returncode == 0, done.stderr + head.logs()
        assert f"corral cluster join {ADDRESS}:{head.head_port}" in done.stdout
        other.take_key_of(head)
        done = other.join(head)
        assert done.returncode == 0, done.stderr + other.logs()
        assert "nodes: one, two" in done.stdout
        yield head, other
    finally:
        other.close()
        head.close()


@pytest.fixture
def nodes(both: tuple[RayNode, RayNode]) -> tuple[RayNode, RayNode]:
    """Both serve, whatever the test before has broken, and each knows which start of the other's server it is."""
    head, other = both
    wait_until(
        lambda: {"one", "two"} == head.epochs().keys() and head.epochs() == other.epochs(),
        f"they are not whole: {head.logs()} {other.logs()}",
    )
    return both


def listening() -> dict[int, int]:
    """Ports by the inode of the socket that listens there (man 5 proc)."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                found[int(words[9])] = int(words[1].rpartition(":")[2], 16)
    return found


def ports_of(pids: list[int]) -> set[int]:
    sockets = listening()
    found = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(link) if link.is_symlink() else ""
            if target.startswith("socket:[") and (port := sockets.get(int(target[8:-1]))):
                found.add(port)
    return found


def test_both_serve_and_know_of_each_other(nodes: tuple[RayNode, RayNode]) -> None:
    for node in nodes:
        assert node.version()
        rows = {name: node.row(name) for name in ("one", "two")}
        assert {row["url"] for row in rows.values()} == {f"http://{ADDRESS}:{node.port}" for node in nodes}
        assert all(row["resources"][f"corral_node:{name}"] == 1 for name, row in rows.items())
        assert all(row["resources"]["corral_ram_gb"] >= 1 for row in rows.values())


def test_secrets_are_for_their_owner(nodes: tuple[RayNode, RayNode]) -> None:
    tokens = set()
    for node in nodes:
        for name in ("cluster.key", "ray.token", "cluster/node.json", "cluster/nodes.json"):
            assert (node.home / ".corral" / name).stat().st_mode & 0o777 == 0o600, name
        assert node.folder.stat().st_mode & 0o777 == 0o700
        tokens.add((node.home / ".corral" / "ray.token").read_text())
        environment = Path(f"/proc/{node.row(node.name)['pid']}/environ").read_text().split("\0")
        assert not any(line.startswith(("RAY_", "OMP_NUM_THREADS=")) for line in environment), (
            "it needs nothing of Ray"
        )
    assert len(tokens) == 1 and len(tokens.pop()) == 64


def test_ray_listens_on_the_ports_that_were_chosen(nodes: tuple[RayNode, RayNode]) -> None:
    """And so never on 11434, which is in Ray's own range for workers."""
    for node in nodes:
        raylet = next(pid for pid in node.processes("raylet/raylet"))
        found = ports_of([*node.processes(), *node.children(raylet)])
        assert found and found <= {*node.ports, node.head_port, node.port}, found
        assert 11434 not in found


def test_the_dashboard_and_usage_statistics_are_off(nodes: tuple[RayNode, RayNode]) -> None:
    head, _ = nodes
    assert 8265 not in ports_of(head.processes())
    for pid in head.processes("gcs_server"):
        environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
        assert {"RAY_USAGE_STATS_ENABLED=0", "RAY_AUTH_MODE=token"} <= set(environment)


def test_a_wrong_key_is_refused(nodes: tuple[RayNode, RayNode]) -> None:
    head, _ = nodes
    stranger = RayNode("stranger")
    try:
        stranger.take_key_of(head)
        key = stranger.home / ".corral" / "cluster.key"
        key.write_text(key.read_text().strip()[:-4] + "0000\n")
        done = stranger.join(head)
        assert done.returncode == 1 and "does not take the token of this machine" in done.stderr
        assert "copy ~/.corral/cluster.key" in done.stderr
        wait_until(lambda: not stranger.processes(), "processes are left")
    finally:
        stranger.close()
    assert "stranger" not in head.rows()


def test_a_taken_port_is_said(nodes: tuple[RayNode, RayNode]) -> None:
    head, _ = nodes
    stranger = RayNode("stranger")
    try:
        stranger.take_key_of(head)
        stranger.first = head.first
        done = stranger.join(head)
        assert (
            done.returncode == 1 and f"port {head.first} is taken" in done.stderr and "--ports" in done.stderr
        )
    finally:
        stranger.close()


def test_a_head_that_is_not_there_is_said(nodes: tuple[RayNode, RayNode]) -> None:
    head, _ = nodes
    stranger = RayNode("stranger")
    try:
        stranger.take_key_of(head)
        done = stranger.join(stranger)
        assert (
            done.returncode == 1
            and f"no Ray cluster answers at {ADDRESS}:{stranger.head_port}" in done.stderr
        )
    finally:
        stranger.close()


def test_one_node_a_home(nodes: tuple[RayNode, RayNode]) -> None:
    done = nodes[1].join(nodes[0])
    assert done.returncode == 1 and "has a node of a Ray cluster already" in done.stderr


def test_a_killed_server_comes_back(nodes: tuple[RayNode, RayNode]) -> None:
    head, other = nodes
    before = head.row("two")
    os.kill(before["pid"], signal.SIGKILL)
    wait_until(
        lambda: head.rows().get("two", before)["epoch"] not in ("", before["epoch"]),
        "it was not started again",
    )
    after = head.row("two")
    assert after["pid"] != before["pid"] and after["starts"] == before["starts"] + 1
    assert other.version() and head.row("one")["starts"] == 1


def has_ended(pid: int) -> bool:
    """Whether a process does nothing any more. Its entry stays until its parent, here that of all, looks at it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def test_a_killed_actor_comes_back_and_there_is_one_server(nodes: tuple[RayNode, RayNode]) -> None:
    head, other = nodes
    before = head.row("two")
    actor = int(Path(f"/proc/{before['pid']}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(actor, signal.SIGKILL)
    wait_until(
        lambda: head.rows().get("two", before)["epoch"] not in ("", before["epoch"]), "no second server"
    )
    after = head.row("two")
    assert has_ended(before["pid"]), "the first server has ended before"
    assert holder(other.folder / "server.lock") == after["pid"]
    assert other.version()


def test_a_lost_node_leaves_and_comes_back_by_itself(nodes: tuple[RayNode, RayNode]) -> None:
    head, other = nodes
    before = head.row("two")
    for pid in other.processes("raylet/raylet"):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: head.rows().get("two", before)["ray_node"] != before["ray_node"], other.logs())
    assert head.row("two")["epoch"] != before["epoch"] and other.version()


def test_the_others_go_on_while_the_head_is_gone(nodes: tuple[RayNode, RayNode]) -> None:
    """The head restarts with what it knew."""
    head, other = nodes
    before, theirs = other.row("one"), other.row("two")
    for pid in head.processes("gcs_server --log_dir"):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{before['pid']}").exists(), "the head's server is part of its node")
    assert other.version() and other.rows()["two"] == theirs and "one" in other.rows()
    wait_until(lambda: other.rows().get("one", before)["epoch"] not in ("", before["epoch"]), head.logs())
    assert other.row("one")["ray_node"] != before["ray_node"]
    assert other.row("two") == theirs, "its server has never ended"


def test_no_request_is_lost_when_a_server_dies(nodes: tuple[RayNode, RayNode]) -> None:
    """Any server is a gateway to the other; a request is tried there until its answer has begun."""
    head, other = nodes
    done = other.run("pull", "corral-tiny")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: head.models_of(other) == 1 and not head.models())
    assert head.ask("0") == "two", "it is sent where the model is"
    shutil.copytree(other.home / "models", head.home / "models", dirs_exist_ok=True)
    wait_until(lambda: head.models() == 1)
    stop = threading.Event()

    def ask_again_and_again(number: int) -> list[str]:
        found: list[str] = []
        while not stop.is_set():
            found.append(head.ask(f"{number} {len(found)}"))
        return found

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask_again_and_again, number) for number in range(4)]
        try:
            before = head.row("two")
            os.kill(before["pid"], signal.SIGKILL)
            wait_until(lambda: head.epochs().get("two", before["epoch"]) != before["epoch"])
        finally:
            stop.set()
    names = {name for answer in answers for name in answer.result()}
    assert names <= {"one", "two"} and "one" in names


def test_a_server_in_a_ray_that_runs_already(nodes: tuple[RayNode, RayNode]) -> None:
    """A guest gets a server, and leaves that Ray alone."""
    head, other = nodes
    guest = RayNode("guest")
    token = head.home / ".corral" / "ray.token"
    place = ["--ray-address", f"{ADDRESS}:{head.head_port}", "--name=guest", f"--address={ADDRESS}"]
    try:
        done = guest.cluster("join", *place, f"--token-file={token}")
        assert done.returncode == 1 and "cluster.key does not exist" in done.stderr
        guest.take_key_of(head)
        done = guest.cluster("join", *place, f"--token-file={token}")
        assert done.returncode == 0, done.stderr + guest.logs()
        assert guest.version() and head.row("guest")["url"] == f"http://{ADDRESS}:{guest.port}"
        done = guest.cluster("leave")
        assert done.returncode == 0, done.stderr + guest.logs()
        wait_until(lambda: "guest" not in head.rows())
        assert head.version() and other.version()
    finally:
        guest.close()


def test_who_leaves_is_gone_and_may_come_again(nodes: tuple[RayNode, RayNode]) -> None:
    head, other = nodes
    server = head.row("two")["pid"]
    done = other.cluster("leave")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: set(head.rows()) == {"one"})
    assert not Path(f"/proc/{server}").exists() and not other.processes()
    assert not (other.folder / "node.json").exists()
    assert other.cluster("leave").returncode == 1
    done = other.join(head)
    assert done.returncode == 0, done.stderr + other.logs()
    assert head.row("two")["url"] == f"http://{ADDRESS}:{other.port}"
