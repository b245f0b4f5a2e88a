"""What a cluster costs and gives: the way through a gateway, warm prompts, and tokens a second on two cores.

    python -m bench.bench_cluster [--requests 400] [--rounds 7] [--only PART,PART]

`route`: requests through a gateway to another node, and to that node itself, 25 of each in turn; on the double of the
engine.
`stream`: what a piece of a relayed stream costs the gateway, and the node that makes it, of processor time.
`takeover`: how long clients wait for their first byte while a node is stopped or killed.
`prefix`: a trace of 20 conversations on three nodes and on one: which part of the prompts was computed before.
Prints tables in Markdown, and every round.
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
_BLOCK = 25
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
            for block in range(requests // _BLOCK):
                for name in rotated(list(ways), number + block):
                    connection, headers = ways[name]
                    for _ in range(_BLOCK):
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


def rotated(names: list[str], by: int) -> list[str]:
    """Another one is the first each time: whoever comes after another way finds its servers at work."""
    by %= len(names)
    return names[by:] + names[:by]


def stream(folder: Path, rounds: int) -> None:
    """Processor time for each piece, of streams through a gateway and of such to the node alone, in microseconds."""
    count = 2000
    cluster = Cluster(
        "ab",
        folder,
        is_direct=True,
        FAKE_TOKENS=str(count),
        FAKE_DELAY_S="0.001",
        CORRAL_LOOP_GUARD="0",
        OLLAMA_KEEP_ALIVE="-1",
    )
    try:
        cluster.settle()
        cluster.create("b")
        body = {"model": "m", "prompt": "x", "options": {"num_predict": -1}}
        spent: dict[str, list[float]] = {"gateway": [], "node, for the gateway": [], "node, alone": []}
        for number in range(rounds + 1):
            for asked in "ab":
                before = {name: cpu_s(cluster[name].process.pid) for name in "ab"}
                pieces = pieces_of(cluster[asked].port, body)
                us = {name: (cpu_s(cluster[name].process.pid) - before[name]) / pieces * 1e6 for name in "ab"}
                if number and asked == "a":
                    spent["gateway"].append(us["a"])
                    spent["node, for the gateway"].append(us["b"])
                elif number:
                    spent["node, alone"].append(us["b"])
        print(f"\n| {count} pieces a stream, {rounds} rounds | processor time a piece, us | rounds |")
        print("|---|---|---|")
        for name, found in spent.items():
            print(f"| {name} | {statistics.median(found):.0f} | {' '.join(f'{us:.0f}' for us in found)} |")
    finally:
        cluster.close()


def pieces_of(port: int, body: Any) -> int:
    """Reads a stream to its end; how many lines it had."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST", "/api/generate", json.dumps(body))
    lines = connection.getresponse().read().count(b"\n")
    connection.close()
    return lines


def cpu_s(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="route,stream,takeover,prefix")
    chosen = parser.parse_args()
    only = chosen.only.split(",")
    with TemporaryDirectory() as name:
        folder = Path(name)
        for part in only:
            (folder / part / "a").mkdir(parents=True)
            (folder / part / "abc").mkdir()
        if "route" in only:
            route(folder / "route", chosen.requests, chosen.rounds)
        if "stream" in only:
            stream(folder / "stream", chosen.rounds)
        if "takeover" in only:
            takeover(folder / "takeover", max(chosen.rounds // 2, 1))
        if "prefix" in only:
            prefix(folder / "prefix")


if __name__ == "__main__":
    main()
