"""A compatible route against `/api/chat`: chunks a second, time to the first token, and how soon a decoder stops.

    python -m bench.bench_compat [--route /v1/messages] [--repeat 200] [--tokens 20000] [--rounds 9]

One server on the engine double; the two routes take turns on it, the first one changing, so that whatever else the
machine does meets both. Read are the ratios.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.peers import FAKE_ENGINE, Server, interleaved

_MODEL = Path(__file__).parent.parent / "tests" / "fixtures" / "say.gguf"
_BLOCK_BYTES = 65536
_NATIVE = "/api/chat"
_ROUTES = ("/v1/chat/completions", "/v1/messages", "/v1/responses")


def _server(**settings: object) -> Server:
    env = {f"FAKE_{name.upper()}": str(value) for name, value in settings.items()}
    server = Server(CORRAL_LLAMA_SERVER=str(FAKE_ENGINE), CORRAL_ENGINE_ENV="FAKE_*", **env)
    server.create("m", _MODEL, template="{{ range .Messages }}{{ .Content }}{{ end }}")
    return server


def _body(path: str, text: str, count: int, *, is_stream: bool = True) -> bytes:
    body: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "user", "content": text}],
        "stream": is_stream,
        "options": {"num_predict": count, "num_ctx": 10**6},
    }
    if path == "/v1/messages":
        body["max_tokens"] = count if count > 0 else 10**7
    elif path == "/v1/responses":
        body["input"] = body.pop("messages")
    return json.dumps(body).encode()


def _stream(server: Server, path: str, text: str, count: int) -> tuple[float, float]:
    """Seconds to the first bytes of the answer's body, and to its end."""
    connection = server.connect()
    try:
        start_s = time.perf_counter()
        connection.request("POST", path, _body(path, text, count))
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(response.read().decode())
        first = response.read1(_BLOCK_BYTES)
        first_s = time.perf_counter() - start_s
        chunk_count = first.count(b"\n{") + first.count(b"data: {")
        while block := response.read1(_BLOCK_BYTES):
            chunk_count += block.count(b"}\n")
        if chunk_count < count * 0.5:
            raise RuntimeError(f"{path} sent {chunk_count} chunks for {count} tokens")
        return first_s, time.perf_counter() - start_s
    finally:
        connection.close()


def bench_first_token(route: str, repeat: int) -> None:
    """Both routes on an engine that answers at once: what differs is the surface."""
    server = _server(tokens=1)
    try:
        _stream(server, _NATIVE, "warm", 1)
        first_ms: dict[bool, list[float]] = {True: [], False: []}
        for i, is_native in interleaved(repeat):
            path = _NATIVE if is_native else route
            first_ms[is_native].append(_stream(server, path, str(i), 1)[0] * 1000)
    finally:
        server.close()
    native, compatible = (statistics.median(first_ms[kind]) for kind in (True, False))
    print(
        f"first token: {_NATIVE} {native:.3f} ms, {route} {compatible:.3f} ms,"
        f" ratio {compatible / native:.3f}"
    )


def bench_chunks(route: str, tokens: int, rounds: int, batch: int) -> None:
    """A long answer, from an engine that says `batch` tokens at a time as fast as it can."""
    server = _server(tokens=tokens, batch=batch)
    try:
        _stream(server, _NATIVE, "warm", tokens)
        ratios: list[float] = []
        rates: dict[bool, list[float]] = {True: [], False: []}
        for i, is_native in interleaved(rounds):
            path = _NATIVE if is_native else route
            rates[is_native].append(tokens / _stream(server, path, str(i), tokens)[1])
            if len(rates[True]) == len(rates[False]):
                ratios.append(rates[False][-1] / rates[True][-1])
    finally:
        server.close()
    native, compatible = (statistics.median(rates[kind]) for kind in (True, False))
    print(
        f"chunks/s, {batch} at a time: {_NATIVE} {native:,.0f}, {route} {compatible:,.0f},"
        f" median of ratios {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )


def bench_cancel(route: str, repeat: int) -> None:
    """From the end of a connection to the engine's word that its client is gone, streamed and whole."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        server = _server(tokens=10**7, delay_s=0.001, log=log)
        try:
            for is_stream in (True, False):
                for path in (_NATIVE, route):
                    delays_ms = [_cancel_ms(server, path, log, is_stream=is_stream) for _ in range(repeat)]
                    kind = "streamed" if is_stream else "whole"
                    print(
                        f"decoder stops after, {path} {kind}: median {statistics.median(delays_ms):.1f} ms,"
                        f" longest {max(delays_ms):.1f} ms"
                    )
        finally:
            server.close()


def _cancel_ms(server: Server, path: str, log: Path, *, is_stream: bool) -> float:
    log.write_text("")
    connection: http.client.HTTPConnection = server.connect()
    connection.request("POST", path, _body(path, "x", -1, is_stream=is_stream))
    while "start" not in log.read_text():
        time.sleep(0.001)
    time.sleep(0.05)
    connection.close()
    left_s = time.perf_counter()
    while "cancelled" not in log.read_text():
        if time.perf_counter() - left_s > 10:
            raise RuntimeError("the decoder was not stopped")
        time.sleep(0.0005)
    return (time.perf_counter() - left_s) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeat", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--route", choices=_ROUTES, default=_ROUTES[0])
    arguments = parser.parse_args()
    bench_first_token(arguments.route, arguments.repeat)
    for batch in (1, 64):
        bench_chunks(arguments.route, arguments.tokens, arguments.rounds, batch)
    bench_cancel(arguments.route, 10)


if __name__ == "__main__":
    main()
