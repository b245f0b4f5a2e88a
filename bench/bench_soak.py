"""A mixed load for an hour: do memory, descriptors and threads stay flat, and does everybody count the same?

    python -m bench.bench_soak [--minutes 60] [--rate 10] [--clients 6] [--seed 1]

A server of its own on loopback, with small models of the tests, API keys, and requests of every kind on every API:
whole and streamed, embeddings, decisions, errors, unknown models, clients that leave in the middle, models that are
unloaded. Every request has an id. At the end the sums of the clients, of the server's log, of the usage ledger and of
the metrics are compared; they must be equal, whatever else the machine does. The status is 1 if they are not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
_TEMPLATE = "{{ if .System }}{{ .System }}|{{ end }}{{ .Prompt }}{{ .Response }}"
_MODELS = {"talk": "tiny", "say": "say", "embed": "embed"}
_FIGURES = ("requests", "errors", "cancelled", "prompt_tokens", "cached_tokens", "generated_tokens")
_SAMPLE_S = 10.0
_SAMPLES_OF_A_LINE = 6
# How far apart the beginning and the end may be, after a warm-up.
_FLAT = 0.02
_WORDS = "the fox goes home because snow falls on green hills and nobody knows why it should not".split()


@dataclass(slots=True)
class Seen:
    """What a client knows of one request. `counts`: prompt, cached and generated tokens; None where it left."""

    key: str
    surface: str
    status: int = 0
    counts: tuple[int, int | None, int] | None = (0, 0, 0)
    lines: int = 0


@dataclass(slots=True)
class Sample:
    """One look at a process: resident bytes, descriptors, threads."""

    rss: int
    files: int
    threads: int


@dataclass(slots=True)
class Run:
    """All that is known."""

    seen: dict[str, Seen] = field(default_factory=dict)
    log: dict[str, dict[str, Any]] = field(default_factory=dict)
    other_lines: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    # SIGTERM: the report comes early.
    is_over: bool = False


class Server:
    """`corral serve` with a folder of its own; its log is read as JSON."""

    def __init__(self, folder: Path, run: Run) -> None:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "CORRAL_"))
        }
        self.folder = folder
        self.env = {
            **clean,
            "HOME": str(folder),
            "OLLAMA_MODELS": str(folder / "models"),
            "OLLAMA_HOST": "127.0.0.1:0",
            "CORRAL_LOG_FORMAT": "json",
            "CORRAL_METRICS_VLLM": "1",
            "CORRAL_OFFLINE": "1",
            # Responses are kept in memory, 256 MiB of them by default: here the bound is soon reached.
            "CORRAL_RESPONSES_MAX_BYTES": "65536",
        }
        words = [sys.executable, "-m", "corral.cli.main"]
        self.process = subprocess.Popen([*words, "serve"], env=self.env, stderr=subprocess.PIPE, text=True)
        self.port = 0
        self._run = run
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._ready.wait(120)
        self.keys = ["", *(self._make_key(words, name) for name in ("alice", "bob"))]
        for name, fixture in _MODELS.items():
            self._create(name, fixture)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("logger") == "corral.http" and "status" in entry:
                self._run.log[str(entry["request"])] = entry
                continue
            message = str(entry.get("message", ""))
            if entry.get("level") not in ("INFO", "DEBUG"):
                self._run.other_lines[f"{entry.get('level')} {message[:120]}"] += 1
            if "listening" in message and not self.port:
                self.port = int(message.partition("http://")[2].split()[0].rpartition(":")[2])
                self._ready.set()

    def _make_key(self, words: list[str], name: str) -> str:
        env = {**self.env, "OLLAMA_HOST": f"127.0.0.1:{self.port}"}
        done = subprocess.run(
            [*words, "key", "create", name], env=env, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def _create(self, name: str, fixture: str) -> None:
        import hashlib

        data = (_FIXTURES / f"{fixture}.gguf").read_bytes()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.ask(f"/api/blobs/{digest}", data)
        body = {"model": name, "files": {f"{fixture}.gguf": digest}, "stream": False, "template": _TEMPLATE}
        self.ask("/api/create", json.dumps(body).encode())

    def ask(self, path: str, data: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data, timeout=600) as response:
            answer: bytes = response.read()
            return answer

    def sample(self) -> Sample:
        folder = Path("/proc") / str(self.process.pid)
        status = (folder / "status").read_text()
        rss = int(status.partition("VmRSS:")[2].split()[0]) * 1024
        threads = int(status.partition("Threads:")[2].split()[0])
        return Sample(rss, len(list((folder / "fd").iterdir())), threads)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(120)
        self._reader.join(60)
        return status


class Client:
    """Sends requests of every kind, a connection each, and keeps what it learned."""

    def __init__(self, server: Server, run: Run, rng: random.Random, name: int) -> None:
        self._server = server
        self._run = run
        self._rng = rng
        self._name = name
        self._count = 0

    async def one(self) -> None:
        """One request."""
        kinds = (
            (self._native, 20), (self._openai, 20), (self._completions, 8), (self._anthropic, 8),
            (self._responses, 8), (self._embed, 12), (self._decide, 4), (self._leave, 12), (self._wrong, 6),
            (self._unload, 1),
        )  # fmt: skip
        kind = self._rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
        await kind()

    def _text(self) -> str:
        return " ".join(self._rng.choices(_WORDS, k=self._rng.randint(1, 30)))

    def _options(self) -> dict[str, Any]:
        return {"num_predict": self._rng.randint(1, 30), "seed": self._rng.randint(1, 1000)}

    async def _native(self) -> None:
        is_stream = self._rng.random() < 0.5
        if self._rng.random() < 0.5:
            path, body = "/api/generate", dict[str, Any](prompt=self._text())
        else:
            path, body = "/api/chat", {"messages": [{"role": "user", "content": self._text()}]}
        whole = {
            "model": self._rng.choice(("talk", "say")),
            "stream": is_stream,
            "options": self._options(),
            **body,
        }
        seen, text = await self._send("native", path, whole)
        last = json.loads(text.splitlines()[-1])
        seen.counts = (
            last.get("prompt_eval_count", 0),
            last.get("prompt_eval_cached_count", 0),
            last.get("eval_count", 0),
        )

    async def _openai(self) -> None:
        body = {"model": "talk", "messages": [{"role": "user", "content": self._text()}],
                "max_tokens": self._rng.randint(1, 30), "seed": self._rng.randint(1, 1000)}  # fmt: skip
        if self._rng.random() < 0.5:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        seen, text = await self._send("openai", "/v1/chat/completions", body)
        seen.counts = _openai_counts(_last_usage(text))

    async def _completions(self) -> None:
        body = {"model": "talk", "prompt": self._text(), "max_tokens": self._rng.randint(1, 30)}
        seen, text = await self._send("openai", "/v1/completions", body)
        seen.counts = _openai_counts(_last_usage(text))

    async def _anthropic(self) -> None:
        body = {"model": "talk", "messages": [{"role": "user", "content": self._text()}],
                "max_tokens": self._rng.randint(1, 30)}  # fmt: skip
        seen, text = await self._send("anthropic", "/v1/messages", body)
        usage = json.loads(text)["usage"]
        cached = usage.get("cache_read_input_tokens", 0)
        seen.counts = (usage["input_tokens"] + cached, None, usage["output_tokens"])

    async def _responses(self) -> None:
        body = {"model": "talk", "input": self._text(), "max_output_tokens": self._rng.randint(1, 30)}
        seen, text = await self._send("responses", "/v1/responses", body)
        usage = json.loads(text)["usage"]
        seen.counts = (usage["input_tokens"], None, usage["output_tokens"])

    async def _embed(self) -> None:
        texts = [self._text() for _ in range(self._rng.randint(1, 4))]
        if self._rng.random() < 0.5:
            seen, text = await self._send("native", "/api/embed", {"model": "embed", "input": texts})
            seen.counts = (json.loads(text)["prompt_eval_count"], 0, 0)
        else:
            seen, text = await self._send("openai", "/v1/embeddings", {"model": "embed", "input": texts})
            seen.counts = (json.loads(text)["usage"]["prompt_tokens"], 0, 0)

    async def _decide(self) -> None:
        questions = {"refund": {"type": "noul", "instructions": self._text()}}
        body = {"model": "talk", "state": self._text(), "questions": questions}
        seen, text = await self._send("systemone", "/v1/systemone", body)
        if seen.status == 200:
            usage = json.loads(text)["usage"]
            seen.counts = (usage["input_tokens"], None, usage["output_tokens"])

    async def _leave(self) -> None:
        """Read some of a long reply and go; also before the first piece of it."""
        body = {"model": "talk", "prompt": self._text(), "options": {**self._options(), "num_predict": 400}}
        seen, _ = await self._send("native", "/api/generate", body, leave_after=self._rng.randint(0, 20))
        seen.counts = None

    async def _wrong(self) -> None:
        path, body = self._rng.choice(
            (
                ("/api/generate", {"model": f"unknown-{self._rng.random()}", "prompt": "x"}),
                ("/v1/chat/completions", {"model": "talk"}),
                ("/api/chat", {"model": "embed", "messages": [{"role": "user", "content": "x"}]}),
                ("/api/embed", {"model": "talk", "input": 7}),
            )
        )
        await self._send("openai" if path.startswith("/v1") else "native", path, body)

    async def _unload(self) -> None:
        await self._send("native", "/api/generate", {"model": "say", "keep_alive": 0})

    async def _send(
        self, surface: str, path: str, body: dict[str, Any], leave_after: int | None = None
    ) -> tuple[Seen, str]:
        self._count += 1
        request_id = f"soak-{self._name}-{self._count}"
        key = self._rng.choice(self._server.keys)
        seen = self._run.seen[request_id] = Seen(key[3:11], surface)
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-Id: {request_id}\r\nConnection: close\r\n"
        )
        if key:
            head += f"Authorization: Bearer {key}\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        try:
            writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            if leave_after is not None:
                if leave_after:
                    seen.lines = await _lines(reader, leave_after)
                return seen, ""
            status, text = _answer(await reader.read())
            seen.status = status
            return seen, text
        finally:
            writer.close()


async def _lines(reader: asyncio.StreamReader, most: int) -> int:
    """How many pieces of a reply were read: each is a line of JSON."""
    found = 0
    while found < most and (line := await reader.readline()):
        found += line.startswith(b'{"model"') and b'"done":false' in line
    return found


def _answer(data: bytes) -> tuple[int, str]:
    head, _, body = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        whole = b""
        while body:
            size, _, body = body.partition(b"\r\n")
            whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
        body = whole
    return int(head.split()[1]), body.decode()


def _last_usage(text: str) -> dict[str, Any]:
    """Of an object, or of the last event of a stream that has it."""
    if not text.startswith("data:"):
        usage: dict[str, Any] = json.loads(text)["usage"]
        return usage
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    return next(event["usage"] for event in reversed(events) if event.get("usage"))


def _openai_counts(usage: dict[str, Any]) -> tuple[int, int | None, int]:
    details = usage.get("prompt_tokens_details") or {}
    return usage["prompt_tokens"], details.get("cached_tokens"), usage["completion_tokens"]


async def load(server: Server, run: Run, arguments: argparse.Namespace) -> None:
    """Send requests at a rate, and look at the server meanwhile."""
    end_s = time.monotonic() + arguments.minutes * 60
    pause_s = arguments.clients / arguments.rate

    async def client(number: int) -> None:
        one = Client(server, run, random.Random(f"{arguments.seed} {number}"), number)
        while time.monotonic() < end_s and not run.is_over:
            began_s = time.monotonic()
            try:
                await one.one()
            except Exception as exc:
                run.wrong.append(f"client {number}: {exc!r}")
            await asyncio.sleep(max(pause_s - (time.monotonic() - began_s), 0))

    async def watch() -> None:
        while time.monotonic() < end_s and not run.is_over:
            run.samples.append(server.sample())
            if len(run.samples) % _SAMPLES_OF_A_LINE == 1:
                print(f"{time.strftime('%H:%M:%S')} {len(run.seen)} requests, {run.samples[-1]}", flush=True)
            for path in ("/metrics", "/api/ps", "/api/usage?by=key,model"):
                await asyncio.to_thread(server.ask, path)
            await asyncio.sleep(_SAMPLE_S)

    await asyncio.gather(watch(), *(client(number) for number in range(arguments.clients)))


def sums_of_log(run: Run) -> dict[tuple[str, str], Counter[str]]:
    """By key and API, from what the log says of each request that the clients sent."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for request_id, seen in run.seen.items():
        entry = run.log.get(request_id)
        if entry is None:
            run.wrong.append(f"the log does not have {request_id}")
            continue
        status = int(entry["status"])
        sums = found[seen.key, seen.surface]
        sums["requests"] += 1
        sums["cancelled"] += status == 499
        sums["errors"] += status != 499 and (status >= 400 or "error" in entry)
        sums["prompt_tokens"] += entry.get("prompt_tokens", 0)
        sums["cached_tokens"] += entry.get("cached", 0)
        sums["generated_tokens"] += entry.get("tokens", 0)
    return found


def compare_clients(run: Run) -> None:
    """Every request by itself: what the client was told is what the log has."""
    for request_id, seen in run.seen.items():
        entry = run.log.get(request_id)
        if entry is None:
            continue
        logged = (entry.get("prompt_tokens", 0), entry.get("cached", 0), entry.get("tokens", 0))
        if seen.counts is None:
            if seen.lines > logged[2]:
                run.wrong.append(f"{request_id}: {seen.lines} pieces were read of {logged}")
            continue
        prompt, cached, generated = seen.counts
        told = (prompt, logged[1] if cached is None else cached, generated)
        if told != logged or seen.status != entry["status"]:
            run.wrong.append(f"{request_id} {seen.surface}: told {told}, logged {logged} {entry}")


def ledger_sums(server: Server, run: Run) -> dict[tuple[str, str], Counter[str]]:
    """By key and API, as `/api/usage` says; the file must say the same after the end."""
    answer = json.loads(server.ask("/api/usage?by=key,surface&since=all"))
    return {
        (row["key"], row["surface"]): Counter({name: row[name] for name in _FIGURES})
        for row in answer["usage"]
    }


def file_sums(path: Path) -> dict[tuple[str, str], Counter[str]]:
    columns = ", ".join(f"sum({name.removesuffix('_tokens')})" for name in _FIGURES)
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            f"SELECT key, surface, {columns} FROM usage GROUP BY key, surface"
        ).fetchall()
    return {(row[0], row[1]): Counter(dict(zip(_FIGURES, row[2:], strict=True))) for row in rows}


def metric_sums(text: str) -> Counter[str]:
    """Requests by API, and tokens, as `/metrics` says."""
    found: Counter[str] = Counter()
    names = (
        "corral_prompt_tokens_total",
        "corral_cached_prompt_tokens_total",
        "corral_generated_tokens_total",
    )
    for line in text.splitlines():
        name, _, rest = line.partition("{")
        labels, _, value = rest.rpartition("} ")
        if name in names:
            found[name.removeprefix("corral_").removesuffix("_total").replace("cached_prompt", "cached")] += (
                int(value)
            )
        elif name == "corral_requests_total":
            pairs = dict(pair.split("=", 1) for pair in labels.replace('"', "").split(","))
            if pairs["route"] in _ROUTES:
                found[f"requests {pairs['surface']}"] += int(value)
                found["cancelled"] += int(value) * (pairs["status"] == "499")
    return found


_ROUTES = frozenset(
    "/api/generate /api/chat /api/embed /v1/chat/completions /v1/completions /v1/embeddings /v1/messages"
    " /v1/responses /v1/systemone".split()
)


def report(run: Run, server: Server, arguments: argparse.Namespace) -> None:
    """Compare, and print."""
    compare_clients(run)
    logged, ledger = sums_of_log(run), ledger_sums(server, run)
    metrics = metric_sums(server.ask("/metrics").decode())
    if logged != ledger:
        run.wrong.append(f"log and ledger differ:\n  {dict(logged)}\n  {ledger}")
    total: Counter[str] = sum(ledger.values(), Counter())
    for name in ("prompt_tokens", "cached_tokens", "generated_tokens", "cancelled"):
        if metrics[name] != total[name]:
            run.wrong.append(f"{name}: metrics {metrics[name]}, ledger {total[name]}")
    for surface in {surface for _, surface in ledger}:
        count = sum(sums["requests"] for (_, name), sums in ledger.items() if name == surface)
        if metrics[f"requests {surface}"] != count:
            run.wrong.append(
                f"requests of {surface}: metrics {metrics[f'requests {surface}']}, ledger {count}"
            )
    status = server.stop()
    if (found := file_sums(server.folder / ".corral" / "usage.sqlite3")) != ledger:
        run.wrong.append(f"the file has {found}, not {ledger}")
    print(f"{arguments.minutes:g} minutes, {len(run.seen)} requests, server ended with {status}")
    print("  " + ", ".join(f"{name} {total[name]}" for name in _FIGURES))
    left = [seen for seen in run.seen.values() if seen.counts is None]
    print(f"  {len(left)} clients left, after {sum(seen.lines for seen in left)} pieces that they read")
    for name in ("rss", "files", "threads"):
        # A connection more or less for each client, and what it asks of the engine, is what happens at the moment.
        slack = 2 * arguments.clients if name == "files" else 2
        _print_flat(name, [getattr(sample, name) for sample in run.samples], run, slack)
    for line, count in run.other_lines.most_common(10):
        print(f"  log {count}x {line}")


def _print_flat(name: str, values: list[int], run: Run, slack: int) -> None:
    """The median of the second fifth against that of the last one: the first is the warm-up."""
    fifth = max(len(values) // 5, 1)
    before, after = statistics.median(values[fifth : 2 * fifth] or values), statistics.median(values[-fifth:])
    change = (after - before) / before
    print(f"  {name}: {before:.0f} -> {after:.0f} ({change:+.2%}), highest {max(values)}")
    if abs(change) > _FLAT and abs(after - before) > slack:
        run.wrong.append(f"{name} is not flat: {change:+.2%}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=10, help="requests a second")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    run = Run()
    signal.signal(signal.SIGTERM, lambda _number, _frame: setattr(run, "is_over", True))
    with tempfile.TemporaryDirectory(prefix="corral-soak-") as folder:
        server = Server(Path(folder), run)
        try:
            asyncio.run(load(server, run, arguments))
            _settle(run)
            report(run, server, arguments)
        finally:
            server.process.kill()
    for line in run.wrong[:20]:
        print(f"WRONG {line}")
    print("everybody counts the same" if not run.wrong else f"{len(run.wrong)} problems")
    return 1 if run.wrong else 0


def _settle(run: Run) -> None:
    """Wait until the log has every request: what was given up ends a moment later."""
    end_s = time.monotonic() + 120
    while time.monotonic() < end_s and not run.seen.keys() <= run.log.keys():
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
