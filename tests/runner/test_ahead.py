"""What goes ahead of a prompt: steps beside streams, never shorter than what is cached, and how they are counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import ContextOverflowError
from corral.runner.ahead import Ahead
from corral.runner.engine import EngineRunner
from corral.runner.factory import EngineFactory
from corral.runner.interface import CompletionRequest, EngineChoice, Final, RunnerSpec
from corral.runner.prompt_states import shared_length
from corral.runner.recent import RecentPrompts
from corral.types import SamplingOptions
from tests.conftest import FIXTURES


class Engine:
    """One slot: a request cuts its cache to what both share, as llama-server does. A token is a letter."""

    def __init__(self) -> None:
        self.cache: list[int] = []
        self.sent: list[int] = []
        self.others = 0
        self.ahead = Ahead(
            None, num_ctx=lambda: 50_000, ask=self.ask, tokenize=self.tokenize, others=lambda: self.others
        )

    async def tokenize(self, text: str) -> list[int]:
        return list(map(ord, text))

    async def ask(self, _path: str, body: dict[str, Any]) -> Any:
        tokens = body["prompt"]
        self.sent.append(len(tokens))
        cached = shared_length(self.cache, tokens)
        self.cache = list(tokens)
        count = len(tokens) - cached
        return {"timings": {"cache_n": cached, "prompt_n": count, "prompt_ms": 2.0 * count}}

    def complete(self, prompt: str | list[int], **sampling: Any) -> tuple[int, Final]:
        """How many tokens were reused in all, and the end as it is reported."""

        async def main() -> Final:
            request = CompletionRequest(prompt, SamplingOptions(**sampling))
            under_way, sent = await self.ahead.begin(request)
            tokens = list(map(ord, sent)) if isinstance(sent, str) else sent
            cached = shared_length(self.cache, tokens)
            self.cache = [*tokens, 1]
            final = Final("stop", len(tokens), cached, 1000, 1, 1000)
            return await self.ahead.end(under_way, final)

        final = asyncio.run(main())
        return final.cached_count, final


def test_alone_it_goes_at_once() -> None:
    engine = Engine()
    engine.complete("x" * 5000)
    assert engine.sent == []


def test_beside_others_in_steps() -> None:
    """Each longer than the one before; the end counts what was cached at the start, and all of the time."""
    engine = Engine()
    engine.others = 1
    cached, final = engine.complete("x" * 5000)
    assert len(engine.sent) > 3
    assert engine.sent == sorted(set(engine.sent))
    assert (cached, final.prompt_count) == (0, 5000)
    assert final.prompt_duration_ns > 2_000_000 * engine.sent[-1]


def test_what_is_cached_stays() -> None:
    """A chat that goes on beside others has as much from the cache as alone."""
    talk = "".join(f"message {i} " for i in range(400))
    results = []
    for others in (0, 1):
        engine = Engine()
        engine.complete(talk)
        engine.others = others
        results.append(engine.complete(talk + "one more question " * 40)[0])
        assert all(length > len(talk) for length in engine.sent)
        assert bool(engine.sent) == bool(others)
    assert results[0] == results[1] == len(talk)


@given(st.lists(st.tuples(st.text(alphabet="ab", max_size=300), st.booleans()), max_size=8))
def test_steps_never_cut_the_cache(turns: list[tuple[str, bool]]) -> None:
    """Whatever came before: no step is shorter than what the engine has of the prompt."""
    engine = Engine()
    engine.ahead._steps.note_step(1000, 100.0)  # slow, so that steps are short
    for text, has_others in turns:
        engine.others = int(has_others)
        before, engine.sent = shared_length(engine.cache, list(map(ord, text))), []
        engine.complete(text)
        assert all(length >= before for length in engine.sent)


def test_far_beyond_what_is_cached() -> None:
    """The engine finds a slot only by a tenth of the request: what is longer comes nearer first."""
    engine = Engine()
    document = "system " * 200
    engine.complete(document)
    engine.sent.clear()
    engine.complete(document + "x" * 30_000)
    assert engine.sent
    assert engine.sent[0] <= 9 * len(document)
    assert len(document + "x" * 30_000) <= 9 * engine.sent[-1]


def test_a_prompt_that_does_not_fit_is_not_computed() -> None:
    engine = Engine()
    engine.others = 1
    with pytest.raises(ContextOverflowError) as caught:
        engine.complete("x" * 60_000)
    assert caught.value.prompt_count == 60_000
    assert engine.sent == []


def test_whoever_wants_no_cache_gets_no_steps() -> None:
    engine = Engine()
    engine.others = 1
    engine.complete("x" * 5000, cache_prompt=False)
    assert engine.sent == []


def test_recent_prompts_are_bounded() -> None:
    """By number; what continues another takes its place."""
    recent = RecentPrompts()
    assert recent.note("abc") == 0
    assert recent.note("abcdef") == 3
    assert len(recent) == 1
    assert recent.note([1, 2]) == 0
    for i in range(500):
        recent.note(f"{i} something")
    assert len(recent) <= 128
    assert recent.note("499 something else") == len("499 something")


@pytest.mark.process
def test_on_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second turn beside a stream has as much from the cache as alone."""
    monkeypatch.setattr("corral.runner.steps._MAX_TOKENS", 64)
    spec = RunnerSpec(FIXTURES / "tiny.gguf", "tiny", num_ctx=4096, num_parallel=2, num_thread=1)
    talk = "a b c d e f g h " * 80

    async def ask(runner: EngineRunner, text: str) -> Final:
        request = CompletionRequest(text, SamplingOptions(temperature=0, num_predict=2))
        async with runner.complete(request) as batches:
            pieces = [piece async for batch in batches for piece in batch]
        final = pieces[-1].final
        assert final is not None
        return final

    async def main() -> None:
        factory = EngineFactory(EngineChoice())
        found = []
        for beside in (False, True):
            runner = await factory.start(spec, lambda _share: None)
            assert isinstance(runner, EngineRunner)
            try:
                first = await ask(runner, talk)
                if beside:
                    other = CompletionRequest("x", SamplingOptions(num_predict=3000, seed=1))
                    async with runner.complete(other) as batches:
                        await anext(batches)
                        found.append(await ask(runner, talk + "i j k l " * 40))
                else:
                    found.append(await ask(runner, talk + "i j k l " * 40))
                assert found[-1].cached_count > first.prompt_count - 10
            finally:
                await runner.close()
        factory.close()
        assert found[0].prompt_count == found[1].prompt_count
        assert abs(found[0].cached_count - found[1].cached_count) <= 1

    asyncio.run(main())
