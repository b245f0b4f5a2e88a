"""Ten thousand requests on every API, many at a time, with clients that leave: all sums are the same.

In one process: the real steps, APIs, pipeline and scheduler; the runner and the connections are doubles.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest

from corral import caller, requestfacts
from corral.api.anthropic.routes import anthropic_surface
from corral.api.http.app import App
from corral.api.http.exchange import Exchange
from corral.api.http.limits import BodyLimits
from corral.api.http.routing import Handler, Router
from corral.api.http.steps import Step, chain
from corral.api.http.steps.dispatch import Dispatch
from corral.api.http.steps.failures import answer_errors
from corral.api.http.steps.measure import Measure, use_of
from corral.api.native.routes import native_surface
from corral.api.openai.routes import openai_surface
from corral.api.responses.routes import responses_surface
from corral.api.systemone.routes import systemone_surface
from corral.caller import Caller
from corral.inference.pipeline import Inference
from corral.metrics.server import Served, ServerMetrics
from corral.requestfacts import RequestFacts
from corral.runner.interface import CompletionRequest, Piece, Runner, RunnerSpec
from corral.usage.ledger import UsageLedger
from corral.usage.rows import FIGURES, Question
from corral.web.call import Call
from tests.inference.recording import Recording, RecordingRunner

COUNT = 10_000
AT_A_TIME = 64
REPLY = "one two three four five six seven"
KEYS = ("", "alice", "bob")


class CountingRunner(RecordingRunner):
    """Notes what it read, as the real one does, also for those who leave. `said`: pieces that were taken from it."""

    said = 0

    @contextlib.asynccontextmanager
    async def complete(self, request: CompletionRequest) -> AsyncIterator[AsyncIterator[list[Piece]]]:
        self._replies.append(REPLY)
        try:
            async with super().complete(request) as pieces:
                yield self._counted(pieces)
        finally:
            requestfacts.current().note_tokens(len(request.prompt), len(request.prompt) // 3, 0)

    async def _counted(self, pieces: AsyncIterator[list[Piece]]) -> AsyncIterator[list[Piece]]:
        async for some in pieces:
            CountingRunner.said += len(some)
            yield some

    async def embed(self, inputs: Any, *, is_continued: bool = False) -> Any:
        rows, count = await super().embed(inputs, is_continued=is_continued)
        requestfacts.current().note_tokens(count, 0, 0)
        return rows, count

    async def score(self, prompt: Any, tokens: Any, images: Any = (), **others: Any) -> Any:
        scores = await super().score(prompt, tokens, images, **others)
        requestfacts.current().note_tokens(scores.prompt_count, scores.cached_count, scores.predicted_count)
        return scores


class CountingRecording(Recording):
    async def start(self, spec: RunnerSpec, on_progress: Any) -> Runner:
        on_progress(1.0)
        return CountingRunner(spec, self.replies)


class Client:
    """A connection that keeps what was sent. The client goes when it has seen so many pieces (None: never)."""

    peer, is_encrypted, is_blocked, is_readable = "127.0.0.1", False, False, True

    def __init__(self, path: str, body: dict[str, Any], key: str, leave_after: int | None) -> None:
        data = json.dumps(body).encode()
        headers = [(b"x-test-key", key.encode()), (b"content-length", b"%d" % len(data))]
        self.request = Mock(
            method="POST", path=path, raw_path=path, query=b"", headers=headers, size_bytes=len(data)
        )
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.written: list[bytes] = []
        self._parts = [data, b""]
        self._leave_after = leave_after
        if leave_after == 0:
            self.gone.set_result(None)

    async def read(self) -> bytes:
        return self._parts.pop(0)

    def start(self, status: int, _headers: Any, _size_bytes: int | None) -> None:
        self.status = status

    def write(self, data: bytes) -> None:
        self.written.append(data)
        if len(self.written) == self._leave_after and not self.gone.done():
            self.gone.set_result(None)

    def end(self, trailers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """The answer is complete."""


def orders(rng: random.Random) -> tuple[str, str, dict[str, Any], int | None]:
    """A request: its API, its path, its body, and after how many pieces its client goes."""
    text = "x" * rng.randint(1, 40)
    messages = [{"role": "user", "content": text}]
    streams: list[tuple[str, str, dict[str, Any]]] = [
        ("native", "/api/generate", {"model": "m", "prompt": text}),
        ("native", "/api/chat", {"model": "m", "messages": messages}),
        ("openai", "/v1/chat/completions", {"model": "m", "messages": messages, "stream": True,
                                            "stream_options": {"include_usage": True}}),
        ("anthropic", "/v1/messages", {"model": "m", "messages": messages, "max_tokens": 99, "stream": True}),
    ]  # fmt: skip
    wholes: list[tuple[str, str, dict[str, Any]]] = [
        ("native", "/api/embed", {"model": "e", "input": [text, "y"]}),
        ("openai", "/v1/embeddings", {"model": "e", "input": text}),
        ("openai", "/v1/completions", {"model": "m", "prompt": text}),
        ("anthropic", "/v1/messages", {"model": "m", "messages": messages, "max_tokens": 99}),
        ("responses", "/v1/responses", {"model": "m", "input": text, "store": False}),
        ("systemone", "/v1/systemone", {"model": "m", "state": text, "questions": {
            "q": {"type": "noul", "instructions": "?"}}}),
        ("native", "/api/generate", {"model": f"unknown-{rng.random()}", "prompt": text}),
        ("openai", "/v1/chat/completions", {"model": "m", "messages": 7}),
    ]  # fmt: skip
    if rng.random() < 0.3:
        return (*rng.choice(streams), rng.randint(0, 6))
    return (*rng.choice([*streams, *wholes, *wholes]), None)


def told(client: Client) -> tuple[int, int]:
    """What a whole answer says of the tokens of prompt and reply, whatever its API calls them."""
    text = b"".join(client.written).decode()
    prompt = generated = 0
    for line in text.splitlines():
        line = line.removeprefix("data: ")
        if not line.startswith("{"):
            continue
        value = json.loads(line)
        value = value.get("response", value) if value.get("type") else value
        usage = value.get("usage") or (value.get("message") or {}).get("usage") or {}
        prompt = max(
            prompt, value.get("prompt_eval_count", usage.get("prompt_tokens", usage.get("input_tokens", 0)))
        )
        generated = max(
            generated, value.get("eval_count", usage.get("completion_tokens", usage.get("output_tokens", 0)))
        )
    return prompt, generated


@pytest.mark.slow
def test_all_sums_are_the_same(tmp_path: Path) -> None:
    recording = CountingRecording(tmp_path / "models")
    recording.add("m", "say.gguf", template="{{ .Prompt }}")
    recording.add("e", "embed.gguf")
    metrics = ServerMetrics()
    ledger = UsageLedger(tmp_path / "usage.sqlite3", delay_s=0.01)
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    CountingRunner.said = 0

    def count_use(served: Served, facts: RequestFacts) -> None:
        if served.is_use:
            ledger.note(use_of(served, facts))

    async def find_key(exchange: Exchange, following: Handler) -> None:
        caller.begin(Caller(key_id=exchange.header(b"x-test-key")))
        await following(exchange)

    async def one(app: App, rng: random.Random) -> None:
        surface, path, body, leave_after = orders(rng)
        client = Client(path, body, rng.choice(KEYS), leave_after)
        await app(cast("Call", client))
        seen[f"requests {surface}"] += 1
        seen["errors"] += client.status >= 400
        facts = requestfacts.current()  # the application has set them in this task
        if leave_after is None:
            if (found := told(client)) != (facts.prompt_tokens, facts.tokens):
                wrong.append(f"{path}: told {found}, counted {facts}")
        else:
            seen["left"] += 1

    async def drive(service: Inference) -> None:
        surfaces = [
            native_surface(Mock(inference=service, cloud_source="config")),
            openai_surface(service, Mock()),
            anthropic_surface(service),
            responses_surface(service, Mock()),
            systemone_surface(service),
        ]
        dispatch = Dispatch(Router(surfaces))
        steps: list[Step] = [Measure([metrics.served, count_use]), answer_errors, dispatch.find, find_key]
        app = App(chain(steps, dispatch.run), BodyLimits())
        left = iter(range(COUNT))

        async def client(number: int) -> None:
            rng = random.Random(number)
            for _ in left:
                await one(app, rng)

        await asyncio.gather(*map(client, range(AT_A_TIME)))

    with closing(ledger):
        recording.run(drive)
        sums = {
            surface: dict(zip(FIGURES, row, strict=True))
            for (surface,), row in ledger.sums(Question(("surface",))).items()
        }
        models = {place[0] for place in ledger.sums(Question(("model",)))}
    with closing(UsageLedger(tmp_path / "usage.sqlite3")) as again:
        written = {
            place: dict(zip(FIGURES, row, strict=True))
            for place, row in again.sums(Question(("key",))).items()
        }
    total = Counter[str]()
    for row in sums.values():
        total.update(row)
    assert total["requests"] == COUNT
    assert {name: row["requests"] for name, row in sums.items()} == {
        name.removeprefix("requests "): count for name, count in seen.items() if name.startswith("requests ")
    }
    assert total["errors"] == seen["errors"] > 100
    assert seen["left"] >= total["cancelled"] > 1000
    assert not wrong, (len(wrong), wrong[:3])
    # Of those who left, what had come by then; a decision is a token.
    assert total["generated"] == CountingRunner.said + seen["requests systemone"]
    assert models == {"", "m:latest", "e:latest"}
    # And three others who count say the same.
    for figure, counter in (
        ("prompt", metrics.prompt_tokens),
        ("cached", metrics.cached_tokens),
        ("generated", metrics.generated_tokens),
    ):
        assert total[figure] == counter.value("m:latest") + counter.value("e:latest")
    for figure in FIGURES:
        assert sum(row[figure] for row in written.values()) == pytest.approx(total[figure])
    assert {place[0] for place in written} == set(KEYS)
