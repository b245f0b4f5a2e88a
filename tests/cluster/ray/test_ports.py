"""Ports of Ray: all of them chosen, and never the API's."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.ray import ports
from corral.cluster.ray.ports import DEFAULT_RANGE, HEAD_PORT, SERVER_PORT, PortError, PortPlan

PORTS = st.integers(0, 70_000)


def numbers(plan: PortPlan) -> dict[str, int]:
    pairs = (argument.removeprefix("--").split("=") for argument in plan.arguments())
    return {name: int(number) for name, number in pairs}


@given(PORTS, PORTS, PORTS, PORTS)
def test_a_plan_never_has_a_port_of_a_server(first: int, last: int, head: int, server: int) -> None:
    """Ray's own range of worker ports has 11434 in it."""
    try:
        plan = PortPlan.parse(f"{first}-{last}", head=head, server=server)
    except PortError:
        return
    found = numbers(plan)
    lowest, highest = found.pop("min-worker-port"), found.pop("max-worker-port")
    used = {*found.values(), *range(lowest, highest + 1)}
    assert len(found) == len(set(found.values())) and not set(found.values()) & set(
        range(lowest, highest + 1)
    )
    assert used == set(range(first, last + 1))
    assert not used & {SERVER_PORT, server, head} and head not in (SERVER_PORT, server)
    assert min(used) >= 1024 and max(used) <= 65535


def test_the_default_is_valid() -> None:
    assert PortPlan.parse(DEFAULT_RANGE).head == HEAD_PORT


def test_every_port_that_ray_has_is_named() -> None:
    """What is not named, Ray chooses by itself (`ray start --help`)."""
    assert set(numbers(PortPlan.parse(DEFAULT_RANGE))) == {
        "node-manager-port",
        "object-manager-port",
        "runtime-env-agent-port",
        "dashboard-agent-listen-port",
        "dashboard-agent-grpc-port",
        "metrics-export-port",
        "min-worker-port",
        "max-worker-port",
    }


@pytest.mark.parametrize(
    ("text", "head", "server", "reason"),
    [
        ("", HEAD_PORT, SERVER_PORT, "is not a range"),
        ("20300", HEAD_PORT, SERVER_PORT, "is not a range"),
        ("20300-", HEAD_PORT, SERVER_PORT, "is not a range"),
        ("-20300", HEAD_PORT, SERVER_PORT, "is not a range"),
        ("20300-20399-20400", HEAD_PORT, SERVER_PORT, "is not a range"),
        ("٢٠٣٠٠-20399", HEAD_PORT, SERVER_PORT, "is not a range"),
        ("20399-20300", HEAD_PORT, SERVER_PORT, "are not between"),
        ("80-200", HEAD_PORT, SERVER_PORT, "are not between"),
        ("65500-65536", HEAD_PORT, SERVER_PORT, "are not between"),
        ("20300-20314", HEAD_PORT, SERVER_PORT, "too few"),
        ("11400-11500", HEAD_PORT, 9000, "contain 11434"),
        ("10002-19999", HEAD_PORT, SERVER_PORT, "contain 11434"),
        ("20300-20399", HEAD_PORT, 20350, "contain 20350, which is this server's"),
        ("20300-20399", 20310, SERVER_PORT, "contain 20310, which is the head's"),
        ("20300-20399", SERVER_PORT, 9000, "is for the API"),
        ("20300-20399", 9000, 9000, "is this server's"),
        ("20300-20399", 80, SERVER_PORT, "is not between"),
    ],
)
def test_bad_ranges_are_refused(text: str, head: int, server: int, reason: str) -> None:
    with pytest.raises(PortError, match=reason):
        PortPlan.parse(text, head=head, server=server)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_something_listens_on_is_found(host: str) -> None:
    with socket.socket() as other:
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        assert ports.is_taken("127.0.0.1", port)
        assert PortPlan(port, 1024, 1100).taken("127.0.0.1", is_head=True) == port
    assert not ports.is_taken("127.0.0.1", port)


@pytest.mark.parametrize("place", range(6))
def test_every_port_that_ray_will_listen_on_is_looked_at(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """On all addresses too, since Ray listens there."""
    used = ("0.0.0.0", 20300 + place)
    monkeypatch.setattr(ports, "is_taken", lambda host, port: (host, port) == used)
    plan = PortPlan.parse(DEFAULT_RANGE)
    assert plan.taken("10.0.0.1", is_head=False) == 20300 + place
    assert not plan.taken("127.0.0.1", is_head=True)


def test_the_port_of_a_head_counts_on_the_head_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_taken", lambda _host, port: port == HEAD_PORT)
    plan = PortPlan.parse(DEFAULT_RANGE)
    assert plan.taken("10.0.0.1", is_head=True) == HEAD_PORT
    assert not plan.taken("10.0.0.1", is_head=False)
