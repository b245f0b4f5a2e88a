"""A mixed load for an hour: do memory, descriptors and threads stay flat, and does everybody count the same?

    python -m bench.bench_soak [--minutes 60] [--warm-minutes 5] [--rate 10] [--clients 6] [--seed 1]

A server of its own on loopback, with small models of the tests, API keys, and requests of every kind on every API:
whole and streamed, embeddings, decisions, errors, unknown models, clients that leave in the middle, models that are
unloaded. Every request has an id. At the end the sums of the clients, of the server's log, of the usage ledger and of
the metrics are compared; they must be equal, whatever else the machine does. The status is 1 if they are not.

What the server keeps on purpose has bounds, and the time that counts begins when all of it is full:

- the last 500 decisions of the scheduler: the warm-up unloads models often, until `/api/events` has counted them;
- the last 200 requests, and the last 128 prompts of an engine: by the number of requests;
- names of models that were asked for (4,096 in each cache): that many unknown ones are sent first;
- responses of `/v1/responses` that no client asked to store (64 MiB by default, for an hour): here it is 64 KiB
  (`CORRAL_RESPONSES_MAX_BYTES`), and a response has more than a kilobyte;
- prompts that no slot of an engine holds (64 MiB and more by default): here `CORRAL_CACHE_RAM` is 4 MiB, which 220
  conversations of this load fill;
- and five minutes at least of the load itself, for the memory allocators.

Then memory and threads of the server, of each engine that lives all the time, and of the children that come and go
are looked at every five seconds. The median of the first tenth of the looks and that of the last may be 2 % apart.
Descriptors depend on what happens at the moment, so they are counted twice while no request runs, before and after,
with every model loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.processes import Change, Look, changes, file_changes, look_at

_FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
_TEMPLATE = "{{ if .System }}{{ .System }}|{{ end }}{{ .Prompt }}{{ .Response }}"
_MODELS = {"talk": "tiny", "say": "say", "embed": "embed"}
_FIGURES = ("requests", "errors", "cancelled", "prompt_tokens", "cached_tokens", "generated_tokens")
_SAMPLE_S = 5.0
_SAMPLES_OF_A_LINE = 12
# How far apart the beginning and the end may be.
_FLAT = 0.02
# What has to be full before the time counts; see above.
_EVENTS = 500
_NAMES = 4096
_RESPONSES_BYTES = 64 << 10
_RESPONSE_BYTES = 1 << 10
_CACHE_RAM_MIB = 4
_CONVERSATIONS = 1000
_WARM_LIMIT_S = 1800.0
# Descriptors are counted when they have been the same for so many looks.
_QUIET_LOOKS = 20
_QUIET_LOOK_S = 0.5
_QUIET_LIMIT_S = 120.0
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
class Run:
    """All that is known."""

    seen: dict[str, Seen] = field(default_factory=dict)
    log: dict[str, dict[str, Any]] = field(default_factory=dict)
    other_lines: Counter[str] = field(default_factory=Counter)
    looks: list[Look] = field(default_factory=list)
    # While no request runs, before and after the time that counts.
    quiet: list[Look] = field(default_factory=list)
    # How many requests of each kind were sent.
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    # SIGTERM: the report comes early.
    is_over: bool = False

    def is_settled(self) -> bool:
        """Whether the log has every request: what was given up ends a moment later."""
        return self.seen.keys() <= self.log.keys()


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
            "CORRAL_RESPONSES_MAX_BYTES": str(_RESPONSES_BYTES),
            "CORRAL_CACHE_RAM": str(_CACHE_RAM_MIB),
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

    def event_count(self) -> int:
        """How many decisions the scheduler has made so far."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/events", headers={"Accept": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as response:
            events = json.load(response)["events"]
        return int(events[-1]["id"]) if events else 0

    def look(self) -> Look:
        return look_at(self.process.pid)

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
        self.name = f"client {name}"
        self._name = name
        self._count = 0

    async def one(self, *, is_warming: bool = False) -> None:
        """One request. In the warm-up models are unloaded more often."""
        kinds = (
            (self._native, 20), (self._openai, 20), (self._completions, 8), (self._anthropic, 8),
            (self._responses, 8), (self._embed, 12), (self._decide, 4), (self._leave, 12), (self._wrong, 6),
            (self._unload, 10 if is_warming else 1),
        )  # fmt: skip
        kind = self._rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
        self._run.kinds[kind.__name__] += 1
        await kind()

    async def load_all(self) -> None:
        """One request to each model."""
        for model in ("talk", "say"):
            await self._generate({"model": model, "prompt": "x", "options": self._options(), "stream": False})
        await self._embed()

    async def ask_unknown(self) -> None:
        """A model with a name that nobody has used before."""
        await self._send("native", "/api/generate", {"model": f"unknown-{self._rng.random()}", "prompt": "x"})

    def _text(self) -> str:
        return " ".join(self._rng.choices(_WORDS, k=self._rng.randint(1, 30)))

    def _options(self) -> dict[str, Any]:
        return {"num_predict": self._rng.randint(1, 30), "seed": self._rng.randint(1, 1000)}

    async def _native(self) -> None:
        body = {
            "model": self._rng.choice(("talk", "say")),
            "stream": self._rng.random() < 0.5,
            "options": self._options(),
        }
        if self._rng.random() < 0.5:
            await self._generate({**body, "prompt": self._text()})
        else:
            messages = [{"role": "user", "content": self._text()}]
            await self._generate({**body, "messages": messages}, "/api/chat")

    async def _generate(self, body: dict[str, Any], path: str = "/api/generate") -> None:
        seen, text = await self._send("native", path, body)
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


class Load:
    """Clients that send requests at a rate, in phases."""

    def __init__(self, server: Server, run: Run, arguments: argparse.Namespace) -> None:
        self._server = server
        self._run = run
        self._pause_s = arguments.clients / arguments.rate
        self._minutes = arguments.minutes
        self._warm_s = arguments.warm_minutes * 60
        self._began_s = time.monotonic()
        self._clients = [
            Client(server, run, random.Random(f"{arguments.seed} {number}"), number)
            for number in range(arguments.clients)
        ]

    async def go(self) -> None:
        await asyncio.gather(*(self._ask_unknown(client) for client in self._clients))
        await self._until(self._is_warm, is_warming=True)
        self._say(f"warm after {time.monotonic() - self._began_s:.0f} s, {dict(self._run.kinds)}")
        await self._be_quiet()
        end_s = time.monotonic() + self._minutes * 60
        await self._until(lambda: time.monotonic() >= end_s, is_warming=False)
        await self._be_quiet()

    async def _ask_unknown(self, client: Client) -> None:
        for _ in range(-(-_NAMES // len(self._clients))):
            await self._kept(client, client.ask_unknown())

    async def _until(self, is_over: Callable[[], bool], *, is_warming: bool) -> None:
        async def send(client: Client) -> None:
            while not done.is_set():
                began_s = time.monotonic()
                await self._kept(client, client.one(is_warming=is_warming))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(
                        done.wait(), max(self._pause_s - (time.monotonic() - began_s), 0.001)
                    )

        async def watch() -> None:
            while not self._run.is_over and not await asyncio.to_thread(is_over):
                look = await asyncio.to_thread(self._server.look)
                if not is_warming:
                    self._run.looks.append(look)
                    if len(self._run.looks) % _SAMPLES_OF_A_LINE == 1:
                        self._say(_line(look, self._server.process.pid))
                for path in ("/metrics", "/api/ps", "/api/top", "/api/usage?by=key,model"):
                    await asyncio.to_thread(self._server.ask, path)
                await asyncio.sleep(_SAMPLE_S)
            done.set()

        done = asyncio.Event()
        await asyncio.gather(watch(), *map(send, self._clients))

    async def _kept(self, client: Client, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as exc:
            self._run.wrong.append(f"{client.name}: {exc!r}")

    def _is_warm(self) -> bool:
        kinds, now_s = self._run.kinds, time.monotonic()
        if now_s > self._began_s + _WARM_LIMIT_S:
            self._run.wrong.append(f"the warm-up did not fill what has bounds: {dict(kinds)}")
            return True
        return (
            now_s > self._began_s + self._warm_s
            and kinds["_openai"] + kinds["_anthropic"] + kinds["_completions"] > _CONVERSATIONS
            and kinds["_responses"] > _RESPONSES_BYTES // _RESPONSE_BYTES
            and self._server.event_count() > _EVENTS
        )

    async def _be_quiet(self) -> None:
        """Load every model, wait until nothing runs and nothing changes, and look."""
        await self._kept(self._clients[0], self._clients[0].load_all())
        end_s = time.monotonic() + _QUIET_LIMIT_S
        looks: list[Look] = []
        while time.monotonic() < end_s and not (self._run.is_settled() and _is_steady(looks)):
            await asyncio.to_thread(time.sleep, _QUIET_LOOK_S)
            looks.append(self._server.look())
        self._run.quiet.append(looks[-1])
        self._say(f"quiet: {_line(looks[-1], self._server.process.pid)}")

    def _say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {len(self._run.seen)} requests, {text}", flush=True)


def _is_steady(looks: list[Look]) -> bool:
    """Whether the last looks found the same processes with the same descriptors."""
    if len(looks) < _QUIET_LOOKS:
        return False
    found = [{pid: held.files for pid, held in look.items()} for look in looks[-_QUIET_LOOKS:]]
    return all(each == found[0] for each in found)


def _line(look: Look, root: int) -> str:
    """All processes in one line, the server first."""
    return ", ".join(
        f"{'server' if pid == root else pid} {held.rss >> 10} KiB {held.file_count} files {held.threads} threads"
        for pid, held in look.items()
    )


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
    for change in changes(run.looks, server.process.pid):
        _check_flat(change, run)
    for change in file_changes(*run.quiet):
        _check_flat(change, run)
    for line, count in run.other_lines.most_common(10):
        print(f"  log {count}x {line}")


def _check_flat(change: Change, run: Run) -> None:
    print(f"  {change}")
    if abs(change.share) > _FLAT:
        run.wrong.append(f"not flat: {change}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--warm-minutes", type=float, default=5, help="the least before the time counts")
    parser.add_argument("--rate", type=float, default=10, help="requests a second")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    run = Run()
    signal.signal(signal.SIGTERM, lambda _number, _frame: setattr(run, "is_over", True))
    with tempfile.TemporaryDirectory(prefix="corral-soak-") as folder:
        server = Server(Path(folder), run)
        try:
            asyncio.run(Load(server, run, arguments).go())
            report(run, server, arguments)
        finally:
            server.process.kill()
    for line in run.wrong[:20]:
        print(f"WRONG {line}")
    print("everybody counts the same" if not run.wrong else f"{len(run.wrong)} problems")
    return 1 if run.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
