"""The whole pipeline without a process: a store with small models, the real scheduler, and a runner that records."""

from __future__ import annotations

import asyncio
import contextlib
import json
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from corral.config import Settings
from corral.devices import CPU, Machine
from corral.errors import ContextOverflowError, RunnerExitedError
from corral.inference.pipeline import Inference
from corral.inference.profile import Profiles
from corral.names import ModelName
from corral.runner.interface import (
    CompletionRequest,
    Final,
    Piece,
    Runner,
    RunnerFacts,
    RunnerSpec,
    TokenScores,
)
from corral.scheduler.loop import Scheduler
from corral.scheduler.spec import SchedulerConfig
from corral.store.manifests import Layer, Manifest
from corral.store.models import ModelStore
from corral.types import Chunk
from corral.weights.translate.cache import TranslatedFiles
from tests.conftest import FIXTURES

_GIB = 1 << 30
_Result = TypeVar("_Result")


class RecordingRunner:
    """Says what it is told to say, a word at a time; a token is a letter. `requests`: what it was asked."""

    def __init__(self, spec: RunnerSpec, replies: list[str | BaseException]) -> None:
        self.spec = spec
        self.facts = RunnerFacts(spec.num_ctx, "<s>", "</s>", 1, 2, False, False, "<__media__>")
        self.exited: asyncio.Future[RunnerExitedError] = asyncio.get_running_loop().create_future()
        self.requests: list[CompletionRequest] = []
        self.embedded: list[Any] = []
        self.is_closed = False
        self.left_early = 0
        self.kept_count = 0
        self._replies = replies

    active_count = 0
    running_count = waiting_count = 0
    turn_bytes = 1 << 20
    context_ratio = 0.0

    @contextlib.asynccontextmanager
    async def complete(self, request: CompletionRequest) -> AsyncIterator[AsyncIterator[list[Piece]]]:
        self.requests.append(request)
        if len(request.prompt) > self.spec.num_ctx:
            raise ContextOverflowError(
                "too long", prompt_count=len(request.prompt), num_ctx=self.spec.num_ctx
            )
        reply = self._replies.pop(0)
        if isinstance(reply, BaseException):
            raise reply
        is_over = False

        async def pieces() -> AsyncIterator[list[Piece]]:
            nonlocal is_over
            words = reply.split(" ")
            for i, word in enumerate(words[:-1]):
                yield [Piece(word + " ")]
                await asyncio.sleep(0)
                del i
            is_over = True
            count = len(request.prompt)
            yield [Piece(words[-1], final=Final("stop", count, 0, 1, len(words), 1))]

        try:
            yield pieces()
        finally:
            self.left_early += not is_over

    async def embed(
        self, inputs: Sequence[Any], *, is_continued: bool = False
    ) -> tuple[list[array[float]], int]:
        self.embedded.append(list(inputs))
        return [array("f", [float(len(entry)), 1.0]) for entry in inputs], sum(map(len, inputs))

    async def rerank(
        self, query: str, documents: Sequence[str], *, is_continued: bool = False
    ) -> tuple[list[float], int]:
        return [float(len(document)) for document in documents], sum(map(len, documents))

    async def score(self, prompt: Any, tokens: Sequence[int], images: Any = (), **_: Any) -> TokenScores:
        return TokenScores(tuple(1 / len(tokens) for _ in tokens), len(prompt), 0, 1)

    async def decide(self, body: dict[str, Any]) -> dict[str, Any]:
        return body

    async def tokenize(
        self, text: str, *, add_special: bool = False, parse_special: bool = True
    ) -> list[int]:
        return list(map(ord, text))

    async def tokenize_many(self, texts: Sequence[str], *, parse_special: bool = True) -> list[Sequence[int]]:
        return [list(map(ord, text)) for text in texts]

    async def tokenize_pieces(
        self, text: str, *, add_special: bool = False, parse_special: bool = True
    ) -> list[tuple[int, str | list[int]]]:
        return [(ord(char), char) for char in text]

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return "".join(map(chr, tokens))

    async def ping(self, timeout_s: float) -> bool:
        return True

    async def keep_prompts(self, timeout_s: float) -> None:
        self.kept_count += 1

    async def close(self) -> None:
        self.is_closed = True


@dataclass
class Recording:
    """`replies` are said in order, by whichever runner; an exception is raised instead. Runners in order of start."""

    folder: Path
    replies: list[str | BaseException] = field(default_factory=list)
    runners: list[RecordingRunner] = field(default_factory=list)
    emitted: list[Chunk] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ModelStore(self.folder)

    def add(self, name: str, gguf: str, *, config: dict[str, Any] | None = None, **layers: Any) -> None:
        """A model of a fixture; `layers` by kind: `template` and `system` as texts, `params` as an object."""

        def layer(kind: str, data: bytes) -> Layer:
            put = self.store.blobs.put_bytes(data)
            return Layer(f"application/vnd.ollama.image.{kind}", put.digest, put.size_bytes)

        values = {
            "model_format": "gguf",
            "model_family": "llama",
            "model_families": ["llama"],
            **(config or {}),
        }
        config_layer = self.store.blobs.put_bytes(json.dumps(values).encode())
        found = [layer("model", (FIXTURES / gguf).read_bytes())]
        for kind, content in layers.items():
            text = content if isinstance(content, str) else json.dumps(content)
            found.append(layer(kind, text.encode()))
        manifest = Manifest(
            Layer(
                "application/vnd.docker.container.image.v1+json", config_layer.digest, config_layer.size_bytes
            ),
            tuple(found),
        )
        self.store.manifests.write(ModelName.parse(name), manifest.encode())

    async def start(self, spec: RunnerSpec, on_progress: Callable[[float], None]) -> Runner:
        on_progress(1.0)
        runner = RecordingRunner(spec, self.replies)
        self.runners.append(runner)
        return runner

    async def emit(self, chunks: list[Chunk]) -> None:
        self.emitted += chunks

    def run(self, work: Callable[[Inference], Awaitable[_Result]]) -> _Result:
        """Do something with the pipeline, in an event loop and a scheduler of its own."""

        async def measure() -> Machine:
            return Machine(CPU(2, 4), 16 * _GIB, 12 * _GIB)

        async def main() -> _Result:
            settings = Settings(models_dir=self.folder)
            scheduler = Scheduler(SchedulerConfig(), self, measure=measure)
            async with scheduler:
                profiles = Profiles(settings, self.store)
                return await work(Inference(settings, profiles, scheduler, TranslatedFiles(self.folder)))

        return asyncio.run(main())

    @property
    def text(self) -> str:
        return "".join(chunk.content for chunk in self.emitted)

    @property
    def thinking(self) -> str:
        return "".join(chunk.thinking for chunk in self.emitted)

    @property
    def prompts(self) -> list[Any]:
        return [request.prompt for runner in self.runners for request in runner.requests]
