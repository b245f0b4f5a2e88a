"""What goes ahead of a prompt: steps beside streams, never shorter than what is cached, and how they are counted."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import ContextOverflowError
from corral.runner.ahead import Ahead, UnderWay
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
        self.slots: list[int | None] = []
        self.others = 0
        self.ahead = Ahead(
            None, num_ctx=lambda: 50_000, ask=self.ask, tokenize=self.tokenize, others=lambda: self.others
        )

    def end_streams(self) -> None:
        """Nobody else has a stream here."""
        assert self.ahead._streams == 0
        assert not self.ahead._running

    async def tokenize(self, text: str) -> list[int]:
        return list(map(ord, text))

    async def ask(self, _path: str, body: dict[str, Any]) -> Any:
        tokens = body["prompt"]
        self.sent.append(len(tokens))
        self.slots.append(body.get("id_slot"))
        cached = shared_length(self.cache, tokens)
        self.cache = list(tokens)
        count = len(tokens) - cached
        return {"id_slot": 3, "timings": {"cache_n": cached, "prompt_n": count, "prompt_ms": 2.0 * count}}

    def complete(self, prompt: str | list[int], **sampling: Any) -> tuple[int, Final]:
        """How many tokens were reused in all, and the end as it is reported."""

        async def main() -> Final:
            request = CompletionRequest(prompt, SamplingOptions(**sampling))
            under_way = UnderWay(request)
            try:
                sent = await self.ahead.begin(under_way)
                tokens = list(map(ord, sent)) if isinstance(sent, str) else sent
                cached = shared_length(self.cache, tokens)
                self.cache = [*tokens, 1]
                self.ahead.note_tokens(under_way, 1, 0.1)
                final = Final("stop", len(tokens), cached, 1000, 1, 1000)
                return await self.ahead.end(under_way, final)
            finally:
                self.ahead.leave(under_way)
                self.end_streams()

        final = asyncio.run(main())
        return final.cached_count, final


def test_alone_it_goes_in_batches() -> None:
    """As the engine would compute it, so that steps can become small when somebody comes; a short one at once."""
    engine = Engine()
    engine.complete("x" * 700)
    assert engine.sent == []
    _, final = engine.complete([7] * 2000)
    assert engine.sent == [512, 1024, 1536]
    assert engine.slots == [None, None, None]  # the engine finds the slot
    assert (final.prompt_count, final.cached_count) == (2000, 0)


def test_steps_follow_who_is_there() -> None:
    """Alone, beside somebody who may get a stream any moment, beside a stream."""

    async def main() -> None:
        engine = Engine()
        stream = UnderWay(CompletionRequest("s", SamplingOptions()))
        await engine.ahead.begin(stream)
        plain = engine.ask

        async def ask(path: str, body: dict[str, Any]) -> Any:
            answer = await plain(path, body)
            if len(engine.sent) == 4:
                engine.others = 1
            elif len(engine.sent) == 8:
                engine.ahead.note_tokens(stream, 1, 0.0)
            return answer

        engine.ahead._ask = ask
        under_way = UnderWay(CompletionRequest("x" * 20_000, SamplingOptions()))
        await engine.ahead.begin(under_way)
        sizes = [after - before for before, after in itertools.pairwise([0, *engine.sent])]
        assert sizes[:4] == [512] * 4
        assert sizes[7] == 125  # a quarter of a second
        assert sizes[12] == 40  # 2.6 tokens of 50 ms, less the one of the stream
        engine.ahead.leave(under_way)
        engine.ahead.leave(stream)
        engine.end_streams()

    asyncio.run(main())


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
        engine.sent.clear()
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


def test_a_prompt_that_leaves_no_room_is_not_computed() -> None:
    engine = Engine()
    engine.others = 1
    engine.complete([7] * 50_000)
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


@pytest.mark.process
def test_seeds_and_probabilities_beside_a_stream() -> None:
    """They are those of a prompt that was computed alone, also after the same prompt was given up half way."""
    spec = RunnerSpec(FIXTURES / "tiny.gguf", "tiny", num_ctx=4096, num_parallel=2, num_thread=1)
    sampling = SamplingOptions(temperature=0.9, seed=7, num_predict=12)
    request = CompletionRequest("a b c d e f g h " * 150, sampling, top_logprobs=3)

    async def ask(runner: EngineRunner) -> tuple[str, list[float], Final]:
        async with runner.complete(request) as batches:
            pieces = [piece async for batch in batches for piece in batch]
        final = pieces[-1].final
        assert final is not None
        found = [entry.logprob for piece in pieces for entry in piece.logprobs]
        return "".join(piece.text for piece in pieces), found, final

    async def give_up(runner: EngineRunner) -> None:
        asked = asyncio.Event()
        plain = runner._ahead._ask

        async def ask_once(path: str, body: dict[str, Any]) -> Any:
            asked.set()
            return await plain(path, body)

        runner._ahead._ask = ask_once
        work = asyncio.create_task(ask(runner))
        await asyncio.wait_for(asked.wait(), 60)
        work.cancel()
        await asyncio.wait({work})
        runner._ahead._ask = plain

    async def main() -> None:
        factory = EngineFactory(EngineChoice())
        found = []
        for beside in (False, True):
            runner = await factory.start(spec, lambda _share: None)
            assert isinstance(runner, EngineRunner)
            try:
                if beside:
                    other = CompletionRequest("x", SamplingOptions(num_predict=4000, seed=1))
                    async with runner.complete(other) as batches:
                        await anext(batches)
                        await give_up(runner)
                        assert len(runner._ahead._running) == 1
                        found.append(await ask(runner))
                else:
                    found.append(await ask(runner))
                assert runner._ahead._streams == 0
                assert runner.active_count == 0
            finally:
                await runner.close()
        factory.close()
        (text, probabilities, final), (text2, probabilities2, final2) = found
        assert text == text2
        assert probabilities == pytest.approx(probabilities2, abs=0.02)
        assert final.prompt_count == final2.prompt_count

    asyncio.run(main())


def test_what_a_request_that_is_given_up_has_read() -> None:
    """The engine's progress; with steps, what the first of them found was computed before."""
    under_way = UnderWay(CompletionRequest("x", SamplingOptions()))
    assert (under_way.read_count, under_way.found_count) == (0, 0)
    for processed, cache, found in ((0, 8, 0), (8, 8, 8), (20, 8, 8)):
        under_way.note_progress({"total": 20, "cache": cache, "processed": processed, "time_ms": 1})
        assert (under_way.read_count, under_way.found_count) == (processed, found)
    under_way.cached_count = 3
    under_way.note_progress({"total": 20, "cache": 16, "processed": 18, "time_ms": 1})
    assert (under_way.read_count, under_way.found_count) == (18, 3)


def test_what_steps_have_read() -> None:
    engine = Engine()
    engine.cache = list(range(100))
    request = CompletionRequest(list(range(5000)), SamplingOptions())
    under_way = UnderWay(request)
    asyncio.run(engine.ahead.begin(under_way))
    assert under_way.read_count == engine.sent[-1] > 100
    assert under_way.found_count == 100
    assert engine.ahead.held_tokens == under_way.read_count
    engine.ahead.note_tokens(under_way, 3, 0.1)
    assert engine.ahead.held_tokens == under_way.read_count + 3
    engine.ahead.leave(under_way)
    assert engine.ahead.held_tokens == 0
