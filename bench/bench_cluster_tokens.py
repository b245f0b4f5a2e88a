"""Tokens a second of two nodes with a core each, beside one node with one core, and what the bare engine does there.

    python -m bench.bench_cluster_tokens MODEL.gguf [--rounds 7]

All in turn in each round, on two cores: a loop that fits into the first cache; the engine alone, in one process and
in two; a server with its engine, and two behind a gateway that is one of them. Each process is pinned to its core.
What the loop and the engine lose by running twice is what the machine does not give; what the nodes lose beyond that
is ours. Clients send few requests and read whole answers, so they take next to nothing of the cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.bench_cluster import Connection
from tests.cluster.conftest import Cluster
from tests.waiting import wait_until

STREAMS, TOKENS, CONTEXT = 2, 128, 1024
_LOOP = 3_000_000
_REAL_ENGINE = {"CORRAL_LLAMA_SERVER": "", "CORRAL_ENGINE_ENV": "", "CORRAL_LOOP_GUARD": "0"}
Rate = Callable[[], float]


class Worker:
    """A process on one core that does its work once for each line that it gets, and answers with a line."""

    def __init__(self, core: int, *what: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.bench_cluster_tokens", "--worker", str(core), *what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.wait() == 0.0

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def wait(self) -> float:
        """How much was done."""
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def work(core: int, model: str) -> None:
    """What a worker does, until it is killed."""
    os.sched_setaffinity(0, {core})
    do = _engine(model) if model else _loop
    print(0, flush=True)
    for _ in sys.stdin:
        print(do(), flush=True)


def _loop() -> int:
    total = 0
    for number in range(_LOOP):
        total ^= number
    return _LOOP


def _engine(model: str) -> Callable[[], int]:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_parallel, params.n_ctx, params.kv_unified = STREAMS, CONTEXT * STREAMS, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)

    def one(number: int) -> int:
        answer = server.handle_completions(_order(number) | {"n_predict": TOKENS, "ignore_eos": True})
        return int(answer["usage"]["completion_tokens"])

    def generate() -> int:
        with ThreadPoolExecutor(STREAMS) as pool:
            return sum(pool.map(one, range(STREAMS)))

    generate()
    return generate


def _order(number: int) -> dict[str, Any]:
    return {"prompt": f"Story {number}: once", "seed": number, "temperature": 1.0}


def rate_of(workers: list[Worker]) -> float:
    """What all of them do in a second, at the same time."""
    began_s = time.perf_counter()
    for worker in workers:
        worker.begin()
    return sum(worker.wait() for worker in workers) / (time.perf_counter() - began_s)


def cluster_of(names: str, folder: Path, model: Path, cores: list[int]) -> Cluster:
    """Nodes that have the model in memory, each with its engine on a core."""
    cluster = Cluster(
        names,
        folder,
        True,
        True,
        **_REAL_ENGINE,
        OLLAMA_NUM_PARALLEL=str(STREAMS),
        OLLAMA_KEEP_ALIVE="-1",
    )
    cluster.settle()
    for name, core in zip(names, cores, strict=False):
        pin(cluster[name].process.pid, core)
        digest = cluster[name].upload(model)
        order = {"model": "big", "files": {model.name: digest}, "parameters": {"num_ctx": CONTEXT}}
        answer = cluster[name].request(
            "POST", "/api/create", order | {"stream": False}, {"X-Corral-Node": name}
        )
        assert answer[0] == 200, answer
    wait_until(lambda: all(cluster.status()[name]["models"] for name in names))
    for name in names:
        loaded = cluster.ask("a", "/api/generate", {"model": "big"}, headers={"X-Corral-Node": name})
        assert loaded.status == 200, loaded
    return cluster


def pin(pid: int, core: int) -> None:
    """A process and what it starts, on one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def tokens_per_s(cluster: Cluster, asked: str) -> float:
    """Of a stream for each letter: through node a, which sends each where it is best."""

    def one(number: int) -> int:
        options = {"num_predict": TOKENS, "num_thread": 1, "ignore_eos": True}
        order = _order(number)
        options |= {"seed": order["seed"], "temperature": order["temperature"]}
        connection = Connection(cluster["a"].port)
        body = {"model": "big", "prompt": order["prompt"], "raw": True, "stream": False, "options": options}
        answer = connection.post("/api/generate", body)
        connection.close()
        return int(answer["eval_count"])

    began_s = time.perf_counter()
    with ThreadPoolExecutor(len(asked)) as pool:
        made = sum(pool.map(one, range(len(asked))))
    return made / (time.perf_counter() - began_s)


def measure(ways: dict[str, tuple[Rate, Rate]], rounds: int) -> None:
    """Prints what one and two do, and two of one, for each way."""
    ones: dict[str, list[float]] = {name: [] for name in ways}
    twos: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, (one, two) in ways.items():
            found = one(), two()
            if number:  # the first one warms up
                ones[name].append(found[0])
                twos[name].append(found[1])
    print(f"| {rounds} rounds | one core | two cores | two of one | rounds |\n|---|---|---|---|---|")
    for name in ways:
        gains = [two / one for one, two in zip(ones[name], twos[name], strict=True)]
        print(
            f"| {name} | {statistics.median(ones[name]):,.1f} | {statistics.median(twos[name]):,.1f} "
            f"| {statistics.median(gains):.2f} | {' '.join(f'{gain:.2f}' for gain in gains)} |"
        )


def run(model: Path, rounds: int, folder: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    workers: list[Worker] = []
    clusters: list[Cluster] = []
    try:
        loops = [Worker(core, "") for core in cores]
        workers += loops
        engines = [Worker(core, str(model)) for core in cores]
        workers += engines
        for names in ("a", "ab"):
            (folder / names).mkdir()
            clusters.append(cluster_of(names, folder / names, model, cores))
        one, two = clusters
        ways: dict[str, tuple[Rate, Rate]] = {
            "a loop, rounds/s": (lambda: rate_of(loops[:1]), lambda: rate_of(loops)),
            "the engine alone, tokens/s": (lambda: rate_of(engines[:1]), lambda: rate_of(engines)),
            "nodes, tokens/s": (
                lambda: tokens_per_s(one, "a" * STREAMS),
                lambda: tokens_per_s(two, "ab" * STREAMS),
            ),
        }
        measure(ways, rounds)
    finally:
        for worker in workers:
            worker.close()
        for cluster in clusters:
            cluster.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(int(given.worker[0]), given.worker[1])
        return
    if given.model is None:
        parser.error("a model is needed")
    with TemporaryDirectory() as name:
        run(given.model.resolve(), given.rounds, Path(name))


if __name__ == "__main__":
    main()
