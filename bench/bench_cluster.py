"""What a cluster costs and gives: the way through a gateway, warm prompts, and tokens a second on two cores.

    python -m bench.bench_cluster [--requests 400] [--rounds 7] [--model MODEL.gguf] [--only PART,PART]

`route`: a request through a gateway to another node, and to that node itself, in turn, on the engine double.
`takeover`: how long clients wait for their first byte while a node is stopped or killed.
`prefix`: a trace of 20 conversations on three nodes and on one: which part of the prompts was computed before.
`tokens`: two nodes pinned to a core each behind a gateway that is one of them, against one node on one core; with the
real engine on MODEL. Prints tables in Markdown, and every round.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.cluster.conftest import Cluster
from tests.waiting import wait_until

_PROMPT = "Tell me of the corral, the horses and the long way home. " * 36
_REAL_ENGINE = {"CORRAL_LLAMA_SERVER": "", "CORRAL_ENGINE_ENV": "", "CORRAL_LOOP_GUARD": "0"}


class Connection:
    """A kept connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def post(self, path: str, body: Any, **headers: str) -> Any:
        data = json.dumps(body)
        self._connection.request("POST", path, data, headers)
        response = self._connection.getresponse()
        read = response.read()
        assert response.status == 200, read
        return json.loads(read)

    def close(self) -> None:
        self._connection.close()


def route(folder: Path, requests: int, rounds: int) -> None:
    """What a gateway adds to a request, in milliseconds."""
    cluster = Cluster(
        "abc", folder, is_direct=True, FAKE_TOKENS="1", CORRAL_LOOP_GUARD="0", OLLAMA_KEEP_ALIVE="-1"
    )
    try:
        cluster.settle()
        cluster.create("bc")
        node = {"X-Corral-Node": "b"}
        # Once more: how far two measurements alike differ.
        ways = {
            "to the node": (Connection(cluster["b"].port), node),
            "to the node, once more": (Connection(cluster["b"].port), node),
            "through the gateway": (Connection(cluster["a"].port), node),
            "through the gateway, which chooses": (Connection(cluster["a"].port), {}),
        }
        body = {"model": "m", "prompt": _PROMPT, "stream": False}
        medians: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(requests):
                for name, (connection, headers) in ways.items():
                    began_s = time.perf_counter()
                    connection.post("/api/generate", body, **headers)
                    times[name].append((time.perf_counter() - began_s) * 1000)
            if number:  # the first one warms up
                for name, found in times.items():
                    medians[name].append(statistics.median(found))
        for connection, _ in ways.values():
            connection.close()
        print(f"| {requests} requests a round, {rounds} rounds | p50, ms | added, ms | rounds, added |")
        print("|---|---|---|---|")
        direct = medians["to the node"]
        for name, found in medians.items():
            added = [mine - theirs for mine, theirs in zip(found, direct, strict=True)]
            shown = " ".join(f"{each:.2f}" for each in added)
            print(f"| {name} | {statistics.median(found):.2f} | {statistics.median(added):+.2f} | {shown} |")
        print(decision_line(cluster.ask("a", "/metrics").body.decode()))
    finally:
        cluster.close()


def decision_line(metrics: str) -> str:
    """The median of the time from a body to the decision, by the gateway's own histogram."""
    buckets = [
        line for line in metrics.splitlines() if line.startswith("corral_cluster_routing_seconds_bucket")
    ]
    counts = [(line.partition('le="')[2].partition('"')[0], int(line.rpartition(" ")[2])) for line in buckets]
    half = counts[-1][1] / 2
    bound = next(bound for bound, count in counts if count >= half)
    return f"\nThe gateway's own part until a node is chosen: p50 at most {float(bound) * 1000:g} ms."


def prefix(folder: Path) -> None:
    """Which part of all prompts was computed before, of three nodes and of one."""
    shares = {}
    for names in ("a", "abc"):
        cluster = Cluster(
            names,
            folder / names,
            True,
            True,
            **_REAL_ENGINE,
            OLLAMA_NUM_PARALLEL="4",
            OLLAMA_KEEP_ALIVE="-1",
        )
        try:
            cluster.settle()
            for name in names:
                status, answer = cluster[name].request(
                    "POST", "/api/pull", {"model": "corral-tiny", "stream": False}, {"X-Corral-Node": name}
                )
                assert status == 200, answer
            wait_until(lambda c=cluster, n=names: all(c.status()[x]["models"] for x in n))  # type: ignore[misc]
            shares[names] = trace(cluster)
        finally:
            cluster.close()
    one, three = shares["a"], shares["abc"]
    print("\n| 20 conversations of 6 turns, in turn | prompt tokens computed before |\n|---|---|")
    print(f"| one node | {one:.1%} |\n| three nodes | {three:.1%} |\n\nThree of one: {three / one:.1%}.")


def trace(cluster: Cluster) -> float:
    """Conversations that go on one turn after the other, four at a time."""
    system = {"role": "system", "content": "You answer questions about horses in one short sentence. " * 4}
    talks: list[list[dict[str, str]]] = [[system] for _ in range(20)]
    computed = before = 0

    def turn(number: int) -> tuple[int, int]:
        talk, connection = talks[number], Connection(cluster["a"].port)
        talk.append(
            {"role": "user", "content": f"Question {number}.{len(talk)}: what does horse {number} eat?"}
        )
        body = {
            "model": "corral-tiny",
            "messages": talk,
            "stream": False,
            "options": {"num_predict": 12, "seed": 1},
        }
        answer = connection.post("/api/chat", body)
        connection.close()
        talk.append({"role": "assistant", "content": answer["message"]["content"]})
        return answer.get("prompt_eval_count", 0), answer.get("prompt_eval_cached_count", 0)

    for _ in range(6):
        with ThreadPoolExecutor(4) as pool:
            for total, cached in pool.map(turn, range(20)):
                computed += total
                before += cached
    return before / computed


def takeover(folder: Path, rounds: int) -> None:
    """How long clients wait for their first byte around the loss of a node, in seconds, and what they lose."""
    cluster = Cluster(
        "abc",
        folder,
        is_direct=True,
        FAKE_TOKENS="4",
        FAKE_DELAY_S="0.1",
        OLLAMA_NUM_PARALLEL="8",
        CORRAL_LOOP_GUARD="0",
    )
    print(
        "\n| a node is | requests | first byte, s: p50 | p99 | longest | lost before it | broken off after it |"
    )
    print("|---|---|---|---|---|---|---|")
    try:
        cluster.settle()
        cluster.create("bc")
        for what in ("stopped", "killed"):
            found: list[tuple[float, str]] = []
            for _ in range(rounds):
                ready(cluster)
                found += around(cluster, what)
            times = sorted(seconds for seconds, end in found if end != "lost")
            ends = [end for _, end in found]
            print(
                f"| {what} | {len(found)} | {statistics.median(times):.2f} | {times[int(len(times) * 0.99) - 1]:.2f}"
                f" | {times[-1]:.2f} | {ends.count('lost')} | {ends.count('broken')} |"
            )
    finally:
        cluster.close()


def ready(cluster: Cluster) -> None:
    """Both nodes are there, have the model loaded, and get requests."""
    if cluster["b"].process.poll() is not None:
        cluster.restart("b")
        cluster.settle()
        cluster.create("b")
    cluster.signal("b", signal.SIGCONT)
    cluster.settle()
    for name in "bc":
        wait_until(lambda name=name: not cluster.status()[name]["breaker_open"])  # type: ignore[misc]
        cluster.ask("a", "/api/generate", {"model": "m"}, headers={"X-Corral-Node": name})
        wait_until(lambda name=name: cluster.status()[name]["loaded"])  # type: ignore[misc]


def around(cluster: Cluster, what: str) -> list[tuple[float, str]]:
    """Requests for three seconds, 20 a second; after the first one a node is lost."""

    def one(number: int) -> tuple[float, str]:
        time.sleep(number / 20)
        connection = http.client.HTTPConnection("127.0.0.1", cluster["a"].port, timeout=60)
        began_s = time.perf_counter()
        body = json.dumps({"model": "m", "prompt": f"{number} {began_s}"})
        connection.request("POST", "/api/generate", body)
        response = connection.getresponse()
        response.read(1)
        seconds = time.perf_counter() - began_s
        rest = response.read()
        connection.close()
        whole = rest.rstrip().endswith(b"}") and b'"done":true' in rest
        return seconds, "lost" if response.status != 200 else "whole" if whole else "broken"

    with ThreadPoolExecutor(61) as pool:
        asked = [pool.submit(one, number) for number in range(60)]
        time.sleep(1)
        cluster.signal("b", signal.SIGKILL if what == "killed" else signal.SIGSTOP)
        time.sleep(3)
        if what == "stopped":
            cluster.signal("b", signal.SIGCONT)
        found = [each.result() for each in asked]
    if what == "killed":
        cluster["b"].process.wait()
    return found


def tokens(folder: Path, model: Path, rounds: int) -> None:
    """Tokens a second of two nodes on a core each, and of one on one."""
    rates: dict[str, list[float]] = {"a": [], "ab": []}
    # What the machine gives: both nodes at the same time, without a gateway.
    apart: list[float] = []
    clusters = {}
    try:
        for names in rates:
            cluster = clusters[names] = Cluster(
                names,
                folder / names,
                True,
                True,
                **_REAL_ENGINE,
                OLLAMA_NUM_PARALLEL="2",
                OLLAMA_KEEP_ALIVE="-1",
            )
            cluster.settle()
            cores = sorted(os.sched_getaffinity(0))
            for name, core in zip(names, cores, strict=False):
                pin(cluster[name].process.pid, core)
                digest = cluster[name].upload(model)
                order = {"model": "big", "files": {model.name: digest}, "stream": False}
                status, answer = cluster[name].request(
                    "POST", "/api/create", order | {"parameters": {"num_ctx": 1024}}, {"X-Corral-Node": name}
                )
                assert status == 200, answer
            wait_until(lambda c=cluster, n=names: all(c.status()[x]["models"] for x in n))  # type: ignore[misc]
            for name in names:
                assert (
                    cluster.ask(
                        "a", "/api/generate", {"model": "big"}, headers={"X-Corral-Node": name}
                    ).status
                    == 200
                )
            time.sleep(0.5)
        for number in range(rounds + 1):
            for names, cluster in clusters.items():
                rate = tokens_per_s(cluster, ["a"] * (2 * len(names)))
                if number:
                    rates[names].append(rate)
            rate = tokens_per_s(clusters["ab"], ["a", "a", "b", "b"], is_apart=True)
            if number:
                apart.append(rate)
    finally:
        for cluster in clusters.values():
            cluster.close()
    gains = [two / one for one, two in zip(rates["a"], rates["ab"], strict=True)]
    print(f"\n| {model.name}, {rounds} rounds | tokens/s | rounds |\n|---|---|---|")
    for names, found in rates.items():
        shown = " ".join(f"{rate:.1f}" for rate in found)
        print(f"| {len(names)} node{'s' * (len(names) > 1)} | {statistics.median(found):.1f} | {shown} |")
    shown = " ".join(f"{rate:.1f}" for rate in apart)
    print(f"| 2 nodes, each asked by itself | {statistics.median(apart):.1f} | {shown} |")
    print(f"\nTwo of one: {statistics.median(gains):.2f}x ({' '.join(f'{gain:.2f}' for gain in gains)}).")


def pin(pid: int, core: int) -> None:
    """A process and what it starts, on one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def tokens_per_s(cluster: Cluster, asked: list[str], *, is_apart: bool = False) -> float:
    """Of as many streams as there are names of servers that are asked; `is_apart`: those are to answer themselves."""

    def one(number: int) -> int:
        name = asked[number]
        connection = Connection(cluster[name].port)
        headers = {"X-Corral-Node": name} if is_apart else {}
        options = {
            "num_predict": 128,
            "num_thread": 1,
            "seed": number,
            "temperature": 1.0,
            "ignore_eos": True,
        }
        body = {
            "model": "big",
            "prompt": f"Story {number}: once",
            "raw": True,
            "stream": False,
            "options": options,
        }
        answer = connection.post("/api/generate", body, **headers)
        connection.close()
        return int(answer["eval_count"])

    began_s = time.perf_counter()
    with ThreadPoolExecutor(len(asked)) as pool:
        made = sum(pool.map(one, range(len(asked))))
    return made / (time.perf_counter() - began_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--only", default="route,takeover,prefix,tokens")
    chosen = parser.parse_args()
    only = chosen.only.split(",")
    with TemporaryDirectory() as name:
        folder = Path(name)
        for part in only:
            (folder / part / "a").mkdir(parents=True)
            (folder / part / "ab").mkdir()
            (folder / part / "abc").mkdir()
        if "route" in only:
            route(folder / "route", chosen.requests, chosen.rounds)
        if "takeover" in only:
            takeover(folder / "takeover", max(chosen.rounds // 2, 1))
        if "prefix" in only:
            prefix(folder / "prefix")
        if "tokens" in only and chosen.model is not None:
            tokens(folder / "tokens", chosen.model, chosen.rounds)


if __name__ == "__main__":
    main()
