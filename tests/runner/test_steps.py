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


def known(token_s: float, small_s: float, large_s: float = 0.0, *, most_times: float = 3.0) -> Steps:
    """What a token of a stream takes, and one of a prompt in small and large steps; 0: none was computed yet."""
    steps = Steps(most_times=most_times)
    for _ in range(200):
        steps.note_gap(token_s)
        if small_s:
            steps.note_step(50, 50 * small_s)
        if large_s:
            steps.note_step(512, 512 * large_s)
    return steps


def test_sizes_follow_what_is_measured() -> None:
    """Beside a stream, 2.6 tokens' time less the stream's own; not less than nobody notices."""
    assert Steps().size(1, 1) == 16
    assert known(0.1, 0.01).size(1, 1) == pytest.approx(16, abs=1)
    assert known(0.1, 0.01).size(0, 1) == pytest.approx(25, abs=1)
    assert known(0.001, 0.001).size(1, 1) == pytest.approx(19, abs=1)
    assert known(0.1, 0.0, 1e-6).size(1, 1) == 2048
    assert known(0.1, 1e-3, 5e-4).size(1, 1) == pytest.approx(320, abs=1)
    assert known(0.001, 10.0).size(1, 1) == 4
    assert known(0.1, 0.01).size(0, 0) == 512


def test_a_step_has_tokens_of_streams_in_it() -> None:
    """Their time is not the prompt's. What is left is never taken for nothing."""
    steps = known(0.1, 0.01)
    for _ in range(30):
        steps.note_step(20, 0.3, streams=2)
    assert steps.size(2, 2) == pytest.approx(16, abs=1)
    for _ in range(30):
        steps.note_step(20, 0.1, streams=2)
    assert steps.size(2, 2) == 64


def test_a_delay_says_little() -> None:
    """The usual distance of tokens stays, whatever comes between; when it really grows, that is learned."""
    steps = known(0.01, 0.001)
    before = steps.size(1, 1)
    steps.note_gap(5.0)
    assert steps.size(1, 1) <= before * 1.05
    for _ in range(300):
        steps.note_gap(0.03)
    assert steps.size(1, 1) == pytest.approx(48, abs=3)


def test_small_steps_may_not_take_too_long() -> None:
    """They grow until their tokens take three times as long, with those of the streams, or are large ones."""
    assert known(0.01, 0.006, 0.004).size(1, 1) == 4  # 8.5 ms a token; 4.15 in large ones
    assert known(0.01, 0.010, 0.004).size(1, 1) == 5  # 12.5 would be too much, 12 is not
    assert known(0.01, 0.020, 0.004).size(1, 1) == 65
    assert known(0.01, 0.020, 0.004, most_times=10).size(1, 1) == 4
    assert known(0.01, 0.006, 0.004, most_times=1).size(1, 1) == 65
    assert known(0.01, 0.020, 0.004).size(0, 1) == 12  # nobody's stream suffers


def test_what_a_token_takes_depends_on_those_before_it() -> None:
    """Each is compared with them. Where nothing is known, it is as where something is."""
    steps = known(0.1, 0.0)
    for _ in range(30):
        steps.note_step(16, 16 * 0.01, before=0)
        steps.note_step(16, 16 * 0.03, before=4000)
    assert steps.size(1, 1, 100) == pytest.approx(16, abs=1)
    assert steps.size(1, 1, 4100) == pytest.approx(5, abs=1)
    assert steps.size(1, 1, 9000) == steps.size(1, 1, 4100)


def test_what_tells_nothing() -> None:
    """Cached tokens, and clocks that stand still."""
    steps = known(0.1, 0.01)
    before = steps.size(1, 1)
    steps.note_step(0, 1.0)
    steps.note_step(5, 0.0)
    steps.note_gap(0.0)
    assert steps.size(1, 1) == before


def test_models_whose_steps_cost_more() -> None:
    """Larger ones beside streams, none alone."""
    steps = Steps(1 << 30, 64)
    assert steps.size(1, 1) == 64
    for _ in range(100):
        steps.note_gap(0.01)
        steps.note_step(64, 0.64)
    assert steps.size(1, 1) == 64
    assert not steps.is_worth_it(100_000, 0, 0)


def test_little_goes_at_once() -> None:
    """What is not much more than a step."""
    steps = known(0.1, 0.01)
    assert not steps.is_worth_it(steps.size(1, 1), 1, 1)
    assert steps.is_worth_it(2 * steps.size(1, 1), 1, 1)
    assert not steps.is_worth_it(700, 0, 0)


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
            finally:
                await runner.close()
        factory.close()
        (whole, first), (parts, second) = answers
        assert whole == parts
        assert (second.prompt_count, second.cached_count) == (first.prompt_count, first.cached_count)
        assert second.prompt_duration_ns > 0

    asyncio.run(main())
