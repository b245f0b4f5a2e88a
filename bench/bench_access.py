"""What keys and TLS cost: the same server with and without them, asked in turn.

    python -m bench.bench_access [--requests 2000] [--rounds 9] [--tokens 4000]

Requests are `GET /api/ps` on a kept connection, streams are `/api/generate` from the engine double. Prints a table in
Markdown. On a machine that others use, only the differences mean something.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import ssl
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from corral.access.keys import KeyOrder
from corral.access.keystore import KeyStore
from tests.authority import Authority
from tests.conftest import FAKE_ENGINE, PLAIN_TEMPLATE, Server
from tests.waiting import wait_until

_BATCH = 1000
# Name, whether keys are asked for, whether it is over TLS, and whether the key is bound to models.
_WAYS = (
    ("open", False, False, False),
    # How far two servers alike differ: less than that is nothing.
    ("open, once more", False, False, False),
    ("keys", True, False, False),
    ("keys bound to models", True, False, True),
    ("TLS", False, True, False),
    ("keys and TLS", True, True, False),
)


class Way:
    """One server and one kept connection to it."""

    def __init__(
        self, name: str, folder: Path, tokens: int, *, has_keys: bool, has_tls: bool, is_bound: bool
    ) -> None:
        self.name = name
        env = {
            "CORRAL_LLAMA_SERVER": str(FAKE_ENGINE),
            "CORRAL_ENGINE_ENV": "FAKE_*",
            "FAKE_TOKENS": str(tokens),
            "FAKE_BATCH": "16",
            "CORRAL_LOOP_GUARD": "0",
            "CORRAL_AUTH": "off",
        }
        self._headers = b""
        authority = Authority(folder)
        if has_tls:
            cert, key = authority.issue("127.0.0.1")
            env |= {
                "CORRAL_TLS_CERT": str(cert),
                "CORRAL_TLS_KEY": str(key),
                "OLLAMA_HOST": "http://127.0.0.1:0",
                "CORRAL_HOSTS": "https://127.0.0.1:0",
            }
        if has_keys:
            store = KeyStore(folder / "keys.sqlite3")
            env |= {"CORRAL_KEYS": str(store.path)}
            for number in range(200):  # as many as a company has
                store.create(KeyOrder(f"other-{number}"))
            _, text = store.create(KeyOrder("bench", models=("m*",) if is_bound else None))
            self._headers = f"Authorization: Bearer {text}\r\n".encode()
        self.server = Server(**env)
        self.server.create("m", "say", template=PLAIN_TEMPLATE)
        if has_keys:  # from now on everybody is asked
            self._restart(env | {"CORRAL_AUTH": "on"})
        self._authority, self._has_tls = authority, has_tls

    def _restart(self, env: dict[str, str]) -> None:
        first = self.server
        self.server = Server(**env, OLLAMA_MODELS=str(first.folder))
        self._first = first

    def connect(self) -> None:
        """Open the connection, which the server closes if it is not used for long."""
        self.socket = self._connection()

    def _connection(self) -> socket.socket:
        port = self.server.port
        if self._has_tls:
            mark = "address=https://127.0.0.1:"
            wait_until(lambda: mark in "".join(self.server.log))
            port = int("".join(self.server.log).partition(mark)[2].split()[0])
        plain = socket.create_connection(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._has_tls:
            return plain
        return ssl.create_default_context(cafile=str(self._authority.cert)).wrap_socket(
            plain, server_hostname="127.0.0.1"
        )

    def request_s(self) -> float:
        """How long a request takes, in seconds."""
        sent = b"GET /api/ps HTTP/1.1\r\nHost: localhost\r\n" + self._headers + b"\r\n"
        started_s = time.perf_counter()
        self.socket.sendall(sent)
        head, body = self._head()
        while len(body) < int(head.lower().partition(b"content-length: ")[2].split()[0]):
            body += self.socket.recv(65536)
        return time.perf_counter() - started_s

    def _head(self) -> tuple[bytes, bytes]:
        """The head of an answer that has to be a good one, and what came with it."""
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self.socket.recv(65536)
            assert piece
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), received
        return head, body

    def chunks_per_s(self) -> float:
        body = json.dumps({"model": "m", "prompt": "x"}).encode()
        head = f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n".encode()
        started_s = time.perf_counter()
        self.socket.sendall(head + self._headers + b"\r\n" + body)
        count, tail = 0, b""
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            piece = self.socket.recv(1 << 20)
            assert piece
            count += piece.count(b'"response"')
            tail = (tail + piece)[-16:]
        return count / (time.perf_counter() - started_s)

    def processor_s(self) -> float:
        """What the server has used of the processor until now, in seconds: it hardly depends on what else runs."""
        tasks = Path(f"/proc/{self.server.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def close(self) -> None:
        self.socket.close()
        self.server.close()
        if first := getattr(self, "_first", None):
            first.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=4000)
    chosen = parser.parse_args()
    with TemporaryDirectory(prefix="corral-bench-") as name:
        ways = []
        for number, (label, keys, tls, bound) in enumerate(_WAYS):
            folder = Path(name) / str(number)
            folder.mkdir()
            ways.append(Way(label, folder, chosen.tokens, has_keys=keys, has_tls=tls, is_bound=bound))
        try:
            measure(ways, chosen)
        finally:
            for way in ways:
                way.close()


def measure(ways: list[Way], chosen: argparse.Namespace) -> None:
    for way in ways:  # nothing is the first time
        way.connect()
        for _ in range(200):
            way.request_s()
        way.chunks_per_s()
    times: dict[str, list[float]] = {way.name: [] for way in ways}
    shuffled = list(ways)
    for _ in range(chosen.requests):
        random.shuffle(shuffled)  # what ran just before leaves the caches and the clock as it likes
        for way in shuffled:
            times[way.name].append(way.request_s())
    speeds: dict[str, list[float]] = {way.name: [] for way in ways}
    asking: dict[str, list[float]] = {way.name: [] for way in ways}
    streaming: dict[str, list[float]] = {way.name: [] for way in ways}
    for number in range(chosen.rounds):
        for way in ways if number % 2 else reversed(ways):
            before_s = way.processor_s()
            speeds[way.name].append(way.chunks_per_s())
            between_s = way.processor_s()
            for _ in range(_BATCH):
                way.request_s()
            streaming[way.name].append((between_s - before_s) / chosen.tokens)
            asking[way.name].append((way.processor_s() - between_s) / _BATCH)
    print("| server | p50 of a request | added | p99 | processor time | chunks a second | processor time |")
    print("|---|---|---|---|---|---|---|")
    open_ms = statistics.median(times["open"]) * 1e3
    for way in ways:
        found = sorted(times[way.name])
        p50, p99 = statistics.median(found) * 1e3, found[int(len(found) * 0.99)] * 1e3
        speed = statistics.median(speeds[way.name])
        request_us, chunk_us = (statistics.median(part[way.name]) * 1e6 for part in (asking, streaming))
        print(
            f"| {way.name} | {p50:.3f} ms | {p50 - open_ms:+.3f} ms | {p99:.3f} ms | {request_us:.0f} µs |"
            f" {speed:,.0f} | {chunk_us:.2f} µs |"
        )


if __name__ == "__main__":
    main()
