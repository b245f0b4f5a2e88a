"""Bounds of connections and bodies, on servers with small ones."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
from collections.abc import Callable

import zstandard

from tests.conftest import Server
from tests.waiting import wait_until
from tests.web.wire import DEADLINE_S, HOST, connect, read_all, read_until, statuses

Start = Callable[..., Server]
BEGUN = b"POST /api/chat HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n"


def test_half_a_request_and_silence_end_the_connection(start_server: Start) -> None:
    """At the latest when the time for clients is up; nothing is said to somebody who says nothing."""
    server = start_server(CORRAL_CLIENT_TIMEOUT="1s")
    with connect(server) as silent, connect(server) as slow:
        slow.sendall(b"GET /api/version HTTP/1.1\r\nHost: x\r\nX: ")
        assert read_all(silent) == b""
        with contextlib.suppress(ConnectionResetError):
            assert read_all(slow) == b""


def test_a_body_that_drips_is_given_up(start_server: Start) -> None:
    """Each byte comes in time, and yet the body never ends."""
    server = start_server(CORRAL_CLIENT_TIMEOUT="1s")
    with connect(server) as client:
        client.sendall(BEGUN % 100_000)
        client.settimeout(0.2)
        answer = b""
        while b"\r\n\r\n" not in answer:
            try:
                client.sendall(b" ")
                answer += client.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
        assert not answer or statuses(answer) == [408]


def test_idle_connections_make_room_for_new_clients(start_server: Start) -> None:
    """More connections than descriptors: those without a request are closed, the oldest first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        server = start_server(CORRAL_MAX_CONNECTIONS="20")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(60)]
        for client in clients[::2]:
            client.sendall(b"GET /api/version HTTP/1.1\r\nHost: x")
        assert server.get("/api/version")["version"]
        with contextlib.suppress(ConnectionResetError):
            assert read_all(clients[0]) == b""
        last = clients[-1]
        last.sendall(b"GET /api/version HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        assert statuses(read_all(last)) == [200]


def begins_a_request(stack: contextlib.ExitStack, server: Server) -> bool:
    """Whether a new connection is served; it stays open as long as `stack` does."""
    client = stack.enter_context(connect(server))
    client.sendall(BEGUN.replace(b"Content", b"Expect: 100-continue\r\nContent") % 10)
    return read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 100")


def test_when_all_are_busy_new_clients_get_503(start_server: Start) -> None:
    server = start_server(CORRAL_MAX_CONNECTIONS="8")
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            assert begins_a_request(stack, server)
        with connect(server) as refused:
            assert statuses(read_until(refused, b"again")) == [503]
            stack.close()
            # Whoever was refused and stays takes nobody's place.
            for _ in range(8):
                wait_until(lambda: begins_a_request(stack, server))
    assert server.get("/api/version")["version"]


def test_the_soft_limit_of_descriptors_is_raised(start_server: Start) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        server = start_server()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with open(f"/proc/{server.process.pid}/limits") as file:
        line = next(line for line in file if line.startswith("Max open files"))
    assert int(line.split()[3]) == min(hard, 1 << 16)


def test_unfinished_bodies_are_bounded_together(start_server: Start) -> None:
    """Small requests are served while large ones fill their share."""
    server = start_server(CORRAL_MAX_BODIES_BYTES="3000000")
    server.create("say", "say")
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(5):
            client = stack.enter_context(connect(server))
            client.sendall(BEGUN % 10_000_000)
            client.sendall(b" " * 1_000_000)
            clients.append(client)
        refused, _, _ = select.select(clients, (), (), DEADLINE_S)
        assert statuses(read_until(refused[0], b"again")) == [503]
        assert server.post("/api/show", {"model": "say"})["details"]
    # What is given up gives its room back.
    assert server.request("POST", "/api/chat", b" " * 2_000_000)[0] == 400


def test_bodies_are_bounded_by_what_they_unpack_to(start_server: Start) -> None:
    server = start_server(CORRAL_MAX_BODIES_BYTES="3000000")
    body = zstandard.ZstdCompressor().compress(b" " * 4_000_000)
    for path in ("/api/chat", "/v1/chat/completions", "/v1/responses", "/v1/messages"):
        assert server.request("POST", path, body, {"Content-Encoding": "zstd"})[0] == 503


def memory_mib(server: Server) -> int:
    with open(f"/proc/{server.process.pid}/status") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1]) // 1024


def test_hostile_heads_and_bodies_leave_memory_alone(start_server: Start) -> None:
    server = start_server()
    before_mib = memory_mib(server)
    heads = (b"GET /api/version HTTP/1.1\r\n" + HOST + b"X: ", b"GET /", BEGUN % 200_000_000)
    for head in heads:
        with connect(server) as client, contextlib.suppress(OSError):
            client.sendall(head)
            for _ in range(60):
                client.sendall(b"a" * (1 << 20))
    assert server.get("/api/version")["version"]
    assert memory_mib(server) - before_mib < 100


def test_a_flood_of_broken_connections(start_server: Start) -> None:
    server = start_server()
    assert server.get("/api/version")["version"]
    pid = server.process.pid
    before = len(os.listdir(f"/proc/{pid}/fd"))
    pieces = [b"", b"GET", VERSION, BEGUN % 10 + b"{", b"\x16\x03\x01"]
    for i in range(300):
        with connect(server) as client:
            client.sendall(pieces[i % 5])
            if i % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert server.get("/api/version")["version"]
    while len(os.listdir(f"/proc/{pid}/fd")) > before + 5:
        assert server.get("/api/version")["version"]
    assert not [line for line in server.log if "Traceback" in line]


VERSION = b"GET /api/version HTTP/1.1\r\n" + HOST + b"\r\n"
