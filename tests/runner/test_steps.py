"""Long prompts in steps: how large they are, and that nobody sees them in the answer."""

from __future__ import annotations

import asyncio

import pytest

from corral.runner.engine import EngineRunner
from corral.runner.factory import EngineFactory
from corral.runner.interface import CompletionRequest, EngineChoice, Final, RunnerSpec
from corral.runner.steps import Steps
from corral.types import SamplingOptions
from tests.conftest import FIXTURES


def test_sizes_follow_what_is_measured() -> None:
    """About two tokens' time, not less than a twentieth of a second, within bounds."""
    steps = Steps()
    first = steps.size
    assert first > 1
    for _ in range(30):
        steps.note_stream(10, 1.0)  # 100 ms a token
        steps.note_step(100, 1.0)  # 10 ms a token of a prompt
    assert steps.size == pytest.approx(20, abs=1)
    for _ in range(30):
        steps.note_stream(1000, 1.0)
    assert steps.size == 8
    for _ in range(60):
        steps.note_step(1_000_000, 1.0)
    assert steps.size == 2048
    for _ in range(60):
        steps.note_step(1, 10.0)
    assert steps.size == 8


def test_what_tells_nothing() -> None:
    """Cached tokens, streams of one token, clocks that stand still."""
    steps = Steps()
    before = steps.size
    steps.note_step(0, 1.0)
    steps.note_step(5, 0.0)
    steps.note_stream(1, 9.0)
    steps.note_stream(9, 0.0)
    assert steps.size == before


def test_little_goes_at_once() -> None:
    """What is not much more than a step."""
    steps = Steps()
    assert not steps.is_worth_it(steps.size)
    assert steps.is_worth_it(2 * steps.size)


@pytest.mark.process
def test_on_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a stream the answer and the counts are those of a prompt that was sent whole."""
    monkeypatch.setattr("corral.runner.steps._MAX_TOKENS", 64)
    spec = RunnerSpec(FIXTURES / "tiny.gguf", "tiny", num_ctx=2048, num_parallel=2, num_thread=1)
    prompt = "a b c d e f g h " * 80

    async def ask(runner: EngineRunner, text: str, count: int) -> tuple[str, Final]:
        request = CompletionRequest(text, SamplingOptions(temperature=0, num_predict=count))
        async with runner.complete(request) as batches:
            pieces = [piece async for batch in batches for piece in batch]
        final = pieces[-1].final
        assert final is not None
        return "".join(piece.text for piece in pieces), final

    async def main() -> None:
        factory = EngineFactory(EngineChoice())
        answers = []
        for beside in (False, True):
            runner = await factory.start(spec, lambda _share: None)
            assert isinstance(runner, EngineRunner)
            sent: list[int] = []
            plain = runner.request_json

            async def counted(path: str, body: dict[str, object], plain=plain, sent=sent):  # type: ignore[no-untyped-def]
                if path == "/completion":
                    sent.append(len(body["prompt"]))  # type: ignore[arg-type]
                return await plain(path, body)

            runner._ahead._ask = counted
            try:
                if beside:
                    other = CompletionRequest("x", SamplingOptions(num_predict=1500, seed=1, stop=()))
                    async with runner.complete(other) as batches:
                        await anext(batches)
                        answers.append(await ask(runner, prompt, 5))
                    assert len(sent) > 1
                    assert sent == sorted(sent)
                else:
                    answers.append(await ask(runner, prompt, 5))
                    assert sent == []
            finally:
                await runner.close()
        factory.close()
        (whole, first), (parts, second) = answers
        assert whole == parts
        assert (second.prompt_count, second.cached_count) == (first.prompt_count, first.cached_count)
        assert second.prompt_duration_ns > 0

    asyncio.run(main())
