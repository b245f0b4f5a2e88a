"""Clients of every kind."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

from bench.soak.run import Run, Seen
from bench.soak.server import Server

_WORDS = "the fox goes home because snow falls on green hills and nobody knows why it should not".split()


# Kinds of requests that come in bursts.
BURSTS = 8


class Client:
    """Sends requests of every kind, a connection each, and keeps what it learned."""

    def __init__(self, server: Server, run: Run, rng: random.Random, name: int) -> None:
        self._server = server
        self._run = run
        self._rng = rng
        self.name = f"client {name}"
        self._name = name
        self._count = 0
        self._is_largest = False

    async def one(self, *, is_warming: bool = False) -> None:
        """One request. In the warm-up models are unloaded more often."""
        kinds = (
            (self._native, 20), (self._openai, 20), (self._completions, 8), (self._anthropic, 8),
            (self._responses, 8), (self._embed, 12), (self._decide, 4), (self._leave, 12), (self._wrong, 6),
            (self._unload, 1), (self._reload, 10 if is_warming else 1),
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

    async def burst(self, number: int) -> None:
        """A request of the kind with this number, as large as any can be."""
        self._is_largest = True
        try:
            await (self._native, self._openai, self._completions, self._anthropic, self._responses,
                   self._embed, self._decide, self._leave)[number]()  # fmt: skip
        finally:
            self._is_largest = False

    def _up_to(self, most: int) -> int:
        return most if self._is_largest else self._rng.randint(1, most)

    def _text(self) -> str:
        return " ".join(self._rng.choices(_WORDS, k=self._up_to(30)))

    def _options(self) -> dict[str, Any]:
        return {"num_predict": self._up_to(30), "seed": self._rng.randint(1, 1000)}

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
        last = json.loads(text.strip("\n").rpartition("\n")[2])
        seen.counts = (
            last.get("prompt_eval_count", 0),
            last.get("prompt_eval_cached_count", 0),
            last.get("eval_count", 0),
        )

    async def _openai(self) -> None:
        body = {"model": "talk", "messages": [{"role": "user", "content": self._text()}],
                "max_tokens": self._up_to(30), "seed": self._rng.randint(1, 1000)}  # fmt: skip
        if self._rng.random() < 0.5:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        seen, text = await self._send("openai", "/v1/chat/completions", body)
        seen.counts = _openai_counts(_last_usage(text))

    async def _completions(self) -> None:
        body = {"model": "talk", "prompt": self._text(), "max_tokens": self._up_to(30)}
        seen, text = await self._send("openai", "/v1/completions", body)
        seen.counts = _openai_counts(_last_usage(text))

    async def _anthropic(self) -> None:
        body = {"model": "talk", "messages": [{"role": "user", "content": self._text()}],
                "max_tokens": self._up_to(30)}  # fmt: skip
        seen, text = await self._send("anthropic", "/v1/messages", body)
        usage = json.loads(text)["usage"]
        cached = usage.get("cache_read_input_tokens", 0)
        seen.counts = (usage["input_tokens"] + cached, None, usage["output_tokens"])

    async def _responses(self) -> None:
        body = {"model": "talk", "input": self._text(), "max_output_tokens": self._up_to(30)}
        seen, text = await self._send("responses", "/v1/responses", body)
        usage = json.loads(text)["usage"]
        seen.counts = (usage["input_tokens"], None, usage["output_tokens"])

    async def _embed(self) -> None:
        texts = [self._text() for _ in range(self._up_to(4))]
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

    async def _reload(self) -> None:
        """Have a model unloaded, which a key for its use alone may not do, and loaded again."""
        await self._send("native", "/api/generate", {"model": "say", "keep_alive": 0}, key="")
        await self._generate({"model": "say", "prompt": "x", "options": self._options(), "stream": False})

    async def _unload(self) -> None:
        await self._send("native", "/api/generate", {"model": "say", "keep_alive": 0})

    async def _send(
        self,
        surface: str,
        path: str,
        body: dict[str, Any],
        leave_after: int | None = None,
        key: str | None = None,
    ) -> tuple[Seen, str]:
        self._count += 1
        request_id = f"soak-{self._name}-{self._count}"
        key = self._rng.choice(self._server.keys) if key is None else key
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
    events = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
    return next(event["usage"] for event in reversed(events) if event.get("usage"))


def _openai_counts(usage: dict[str, Any]) -> tuple[int, int | None, int]:
    details = usage.get("prompt_tokens_details") or {}
    return usage["prompt_tokens"], details.get("cached_tokens"), usage["completion_tokens"]
