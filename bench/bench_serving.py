"""What Corral adds to the bare engine: first token, decoding, concurrency, embeddings, loading, start, memory.

    python -m bench.bench_serving MODEL.gguf [--embed EMBED.gguf] [--repeat 8]

MODEL is a model of some size (scripts/make_random_model.py makes one of 0.5 B parameters). Figures are ratios of
medians against a second child that is driven directly, both in the same run, turn by turn.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.peers import FAKE_ENGINE, BareEngine, Server, interleaved
from corral.devices import read_cpu
from corral.runner.interface import RunnerSpec

Options = dict[str, Any]
_PROMPT = "The quick brown fox jumps over the lazy dog and then it rests. "
_CTX = 2048


def _median(values: list[float]) -> float:
    return statistics.median(values)


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def bench_latency(server: Server, engine: BareEngine, repeat: int) -> None:
    """Time to the first token of a short prompt, and decode speed, through the API and without it."""
    options: Options = {"num_ctx": _CTX, "num_predict": 48, "temperature": 0.0}
    first: dict[bool, list[float]] = {True: [], False: []}
    speed: dict[bool, list[float]] = {True: [], False: []}
    for i, is_server in interleaved(repeat):
        prompt = f"{i} {_PROMPT}"
        plain = {k: v for k, v in options.items() if k != "num_ctx"}
        timed = server.generate("m", prompt, options) if is_server else engine.generate(prompt, plain)
        first[is_server].append(timed.first_s * 1000)
        speed[is_server].append(timed.decode_tokens_per_s)
    print(
        f"first token: {_median(first[True]):.1f} ms through the API, {_median(first[False]):.1f} ms bare engine"
    )
    share = _median(speed[True]) / _median(speed[False])
    print(f"decode: {_median(speed[True]):.1f} tokens/s, {100 * share:.1f} % of the bare engine's")


def bench_added_latency(repeat: int) -> None:
    """What the API adds to the first token, seen best on an engine that answers at once."""
    server = _fake_server(tokens=1)
    engine = BareEngine(_fake_spec(), _fake_choice(tokens=1))
    try:
        options: Options = {"num_predict": 1}
        added: list[float] = []
        server.generate("m", "x", options)
        for i in range(repeat):
            through = server.generate("m", f"{i}", options).first_s
            bare = engine.generate(f"{i}", options).first_s
            added.append((through - bare) * 1000)
        print(f"added to the first token: p50 {_median(added):.2f} ms, p99 {_percentile(added, 0.99):.2f} ms")
    finally:
        server.close()
        engine.close()


def bench_chunks(count: int) -> None:
    """Chunks a second through the API, from an engine that produces as fast as it can."""
    server = _fake_server(tokens=count, batch=64)
    engine = BareEngine(_fake_spec(), _fake_choice(tokens=count, batch=64))
    try:
        options: Options = {"num_predict": count, "num_ctx": count}
        rates: dict[bool, list[float]] = {True: [], False: []}
        for i, is_server in interleaved(4):
            peer = server if is_server else engine
            start_s = time.perf_counter()
            if isinstance(peer, Server):
                peer.generate("m", str(i), options)
            else:
                peer.generate(str(i), {"num_predict": count})
            rates[is_server].append(count / (time.perf_counter() - start_s))
        print(
            f"chunks/s: {_median(rates[True]):,.0f} through the API, {_median(rates[False]):,.0f} bare double"
        )
    finally:
        server.close()
        engine.close()


def _fake_env(**settings: object) -> dict[str, str]:
    return {f"FAKE_{name.upper()}": str(value) for name, value in settings.items()}


def _fake_server(**settings: object) -> Server:
    server = Server(CORRAL_LLAMA_SERVER=str(FAKE_ENGINE), CORRAL_ENGINE_ENV="FAKE_*", **_fake_env(**settings))
    fixture = Path(__file__).parent.parent / "tests" / "fixtures" / "say.gguf"
    server.create("m", fixture)
    return server


def _fake_choice(**settings: object) -> Any:
    from corral.runner.interface import EngineChoice

    return EngineChoice(FAKE_ENGINE, _fake_env(**settings))


def _fake_spec() -> RunnerSpec:
    return RunnerSpec(Path("/dev/null"), "k", num_ctx=10**6)


def bench_streams(server: Server, engine: BareEngine) -> None:
    """Aggregate tokens/s at several concurrencies."""
    for streams in (1, 4, 8):
        totals: dict[bool, list[float]] = {True: [], False: []}
        for i, is_server in interleaved(2):
            options: Options = {"num_predict": 32, "temperature": 0.8}

            def one(
                number: int,
                is_server: bool = is_server,
                options: Options = options,
                i: int = i,
            ) -> int:
                prompt = f"{i} {number} {_PROMPT}"
                if is_server:
                    timed = server.generate("m", prompt, {**options, "num_ctx": _CTX})
                else:
                    timed = engine.generate(prompt, options)
                return timed.tokens

            start_s = time.perf_counter()
            with concurrent.futures.ThreadPoolExecutor(streams) as pool:
                tokens = sum(pool.map(one, range(streams)))
            totals[is_server].append(tokens / (time.perf_counter() - start_s))
        share = _median(totals[True]) / _median(totals[False])
        print(
            f"{streams} streams: {_median(totals[True]):.1f} tokens/s in all, {share:.2f} x the bare engine"
        )


def bench_embed(server: Server, path: Path, threads: int) -> None:
    """Embeddings a second, one by one, as a batch, and of many clients.

    The last two are compared with an engine that computes one text a call, one call at a time, as in Ollama.
    """
    server.create("e", path)
    spec = RunnerSpec(path, "e", num_ctx=128, num_thread=threads, is_embedding=True)
    engine = BareEngine(spec)
    texts = [f"sentence number {i} about the sky and the sea" for i in range(32)]
    turn = threading.Lock()

    def one_by_one() -> None:
        for text in texts:
            engine.embed([text])

    def clients(is_server: bool) -> None:
        def one(text: str) -> None:
            with contextlib.nullcontext() if is_server else turn:
                _embed(server, engine, [text], is_server)

        with concurrent.futures.ThreadPoolExecutor(len(texts)) as pool:
            list(pool.map(one, texts))

    try:
        calls: dict[str, Callable[[bool], object]] = {
            "single": lambda is_server: [_embed(server, engine, [text], is_server) for text in texts],
            "batch of 32": lambda is_server: [_embed(server, engine, texts, is_server)],
            "32 texts against a call for each": lambda is_server: (
                _embed(server, engine, texts, True) if is_server else one_by_one()
            ),
            "32 clients against a call for each": clients,
        }
        for name, call in calls.items():
            rates: dict[bool, list[float]] = {True: [], False: []}
            for _, is_server in interleaved(5):
                start_s = time.perf_counter()
                call(is_server)
                rates[is_server].append(len(texts) / (time.perf_counter() - start_s))
            share = _median(rates[True]) / _median(rates[False])
            print(f"embeddings, {name}: {_median(rates[True]):.0f}/s, {share:.2f} x the bare engine")
    finally:
        engine.close()


def _embed(server: Server, engine: BareEngine, texts: list[str], is_server: bool) -> int:
    if is_server:
        server.call("/api/embed", {"model": "e", "input": texts})
    else:
        engine.embed(texts)
    return len(texts)


def bench_load(server: Server, engine: BareEngine) -> None:
    """Cold load, as a request sees it."""
    times = []
    for _ in range(3):
        server.call("/api/generate", {"model": "m", "keep_alive": 0})
        while server.call("/api/ps", method="GET")["models"]:
            time.sleep(0.02)
        start_s = time.perf_counter()
        server.call("/api/generate", {"model": "m", "options": {"num_ctx": _CTX}, "stream": False})
        times.append(time.perf_counter() - start_s)
    print(f"cold load: {_median(times):.2f} s, bare engine {engine.load_s:.2f} s")


def bench_http(server: Server) -> None:
    """Requests a second of the smallest route, and the list of a thousand models."""
    manifest = next((server.folder / "manifests").rglob("latest"))
    for i in range(1000):
        folder = manifest.parent.parent / f"copy{i}"
        folder.mkdir()
        (folder / "latest").write_bytes(manifest.read_bytes())
    server.call("/api/tags", method="GET")
    connection = server.connect()
    for path in ("/api/version", "/api/tags"):
        times = []
        for _ in range(200):
            start_s = time.perf_counter()
            connection.request("GET", path)
            data = connection.getresponse().read()
            times.append((time.perf_counter() - start_s) * 1000)
        count = len(json.loads(data).get("models", ()))
        shown = f" ({count} models)" if count else ""
        print(f"{path}{shown}: p50 {_median(times):.2f} ms, {1000 / _median(times):,.0f}/s on one connection")
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--embed", type=Path)
    parser.add_argument("--repeat", type=int, default=8)
    arguments = parser.parse_args()
    idle = Server()
    time.sleep(1)
    print(f"server ready {idle.ready_s:.2f} s after start, {idle.rss_mb:.0f} MB idle")
    idle.close()
    bench_added_latency(200)
    bench_chunks(40_000)
    server = Server(OLLAMA_NUM_PARALLEL="4")
    try:
        server.create("m", arguments.model)
        threads = read_cpu().physical_count
        spec = RunnerSpec(arguments.model, "m", num_ctx=_CTX, num_parallel=4, num_thread=threads)
        engine = BareEngine(spec)
        try:
            bench_load(server, engine)
            bench_latency(server, engine, arguments.repeat)
            bench_streams(server, engine)
        finally:
            engine.close()
        if arguments.embed:
            bench_embed(server, arguments.embed, threads)
        bench_http(server)
    finally:
        server.close()


if __name__ == "__main__":
    main()
