"""The engine child, on the real engine and on a double: same cases where both can play them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import corral.assets
from corral.errors import (
    ContextOverflowError,
    QueueFullError,
    RunnerExitedError,
    RunnerStartError,
)
from corral.runner.engine import EngineRunner
from corral.runner.factory import EngineFactory
from corral.runner.interface import CompletionRequest, EngineChoice, Piece, RunnerSpec, Speculation
from corral.types import SamplingOptions
from tests.doubles.mtp_model import write_mtp_model
from tests.waiting import wait_until

pytestmark = pytest.mark.process

TESTS = Path(__file__).parent.parent
FIXTURES = TESTS / "fixtures"
TINY = Path(corral.assets.__file__).parent / "corral-tiny.gguf"
FAKE = TESTS / "doubles" / "fake_llama_server.py"
GREEDY = SamplingOptions(temperature=0, num_predict=20)
EXTERNAL = os.environ.get("CORRAL_TEST_LLAMA_SERVER") or shutil.which("llama-server")


def real_engines() -> list[object]:
    """The wheel, and a llama-server binary where this machine has one."""
    engines: list[object] = [pytest.param(EngineChoice(), id="wheel")]
    if EXTERNAL:
        engines.append(pytest.param(EngineChoice(Path(EXTERNAL)), id="llama-server"))
    return engines


@asynccontextmanager
async def started(
    engine: EngineChoice,
    model: str = "say.gguf",
    *,
    folder: Path = FIXTURES,
    hang_timeout_s: float = 0,
    max_waiting: int = 512,
    **spec: object,
) -> AsyncIterator[EngineRunner]:
    factory = EngineFactory(engine, hang_timeout_s=hang_timeout_s, max_waiting=max_waiting)
    values: dict[str, object] = {"num_ctx": 256, "num_thread": 1, **spec}
    path = folder / model
    wanted = RunnerSpec(path, str(path), **values)  # type: ignore[arg-type]
    runner = await factory.start(wanted, lambda _share: None)
    assert isinstance(runner, EngineRunner)
    try:
        yield runner
    finally:
        await runner.close()
        factory.close()


def fake(**settings: object) -> EngineChoice:
    return EngineChoice(FAKE, {f"FAKE_{name.upper()}": str(value) for name, value in settings.items()})


async def collect(runner: EngineRunner, request: CompletionRequest) -> list[Piece]:
    async with runner.complete(request) as batches:
        return [piece async for pieces in batches for piece in pieces]


def run(test: Callable[[], object]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", real_engines())
def test_completion_says_what_the_model_says(engine: EngineChoice) -> None:
    """A scripted model's text comes in order, with exact counts in the final piece."""

    async def test() -> None:
        async with started(engine) as runner:
            pieces = await collect(runner, CompletionRequest("now A", GREEDY))
            assert "".join(piece.text for piece in pieces) == "Alpha beta gamma delta epsilon."
            final = pieces[-1].final
            assert final is not None
            assert (final.reason, final.prompt_count, final.predicted_count) == ("stop", 5, 6)
            assert final.predicted_duration_ns > 0

    run(test)


@pytest.mark.parametrize("engine", real_engines())
def test_length_limit_and_stop_word(engine: EngineChoice) -> None:
    """num_predict ends with `length`, a stop string is cut off and ends with `stop`."""

    async def test() -> None:
        async with started(engine) as runner:
            short = SamplingOptions(temperature=0, num_predict=2)
            pieces = await collect(runner, CompletionRequest("now A", short))
            assert pieces[-1].final is not None
            assert pieces[-1].final.reason == "length"
            stopped = SamplingOptions(temperature=0, num_predict=20, stop=(" gamma",))
            pieces = await collect(runner, CompletionRequest("now A", stopped))
            assert "".join(piece.text for piece in pieces) == "Alpha beta"
            assert pieces[-1].final is not None
            assert pieces[-1].final.reason == "stop"

    run(test)


@pytest.mark.parametrize("engine", real_engines())
def test_tokenize_round_trip_and_ping(engine: EngineChoice) -> None:
    """Token ids give their text back; the main loop answers."""

    async def test() -> None:
        async with started(engine) as runner:
            tokens = await runner.tokenize("hello wörld 😀")
            assert await runner.detokenize(tokens) == "hello wörld 😀"
            assert await runner.ping(5)

    run(test)


@pytest.mark.parametrize("engine", real_engines())
def test_too_long_a_prompt_is_refused_and_the_runner_lives(engine: EngineChoice) -> None:
    """The engine's refusal keeps its words."""

    async def test() -> None:
        async with started(engine) as runner:
            with pytest.raises(ContextOverflowError, match="exceeds the available context size"):
                await collect(runner, CompletionRequest("x" * 2000, GREEDY))
            assert (await collect(runner, CompletionRequest("now A", GREEDY)))[-1].final is not None

    run(test)


@pytest.mark.parametrize("engine", real_engines())
def test_a_draft_model_proposes_and_changes_nothing(engine: EngineChoice) -> None:
    """The text is the same with a draft model as without, and the engine says that it took proposals."""
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    body = {"prompt": prompt, "temperature": 0, "n_predict": 20}

    async def test() -> None:
        answers = []
        drafts = Speculation("draft-simple", 4)
        specs: tuple[dict[str, Any], ...] = ({}, {"draft_path": TINY, "speculation": drafts})
        for spec in specs:
            async with started(engine, TINY.name, folder=TINY.parent, num_ctx=512, **spec) as runner:
                answers.append(await runner.request_json("/completion", body))
        plain, drafted = answers
        assert plain["content"] == drafted["content"] != ""
        assert "draft_n" not in plain["timings"]
        assert drafted["timings"]["draft_n_accepted"] > 0

    run(test)


@pytest.mark.parametrize("engine", real_engines())
def test_what_came_before_is_guessed_and_changes_nothing(engine: EngineChoice) -> None:
    """The text is the same, past the end of the context too, where others of the engine's ways end it."""
    numbers = "one two three four five six seven eight nine ten. "
    prompt = f"<|im_start|>user\nSay this: {numbers * 3}<|im_end|>\n<|im_start|>assistant\n{numbers}one two"
    body = {"prompt": prompt, "temperature": 0, "n_predict": 600, "n_keep": 4, "ignore_eos": True}

    async def test() -> None:
        answers = []
        for guess in (None, Speculation("ngram-simple", 8, 8)):
            spec: dict[str, Any] = {"speculation": guess, "num_batch": 1, "num_parallel": 2}
            async with started(engine, TINY.name, folder=TINY.parent, **spec) as runner:
                both = [runner.request_json("/completion", body) for _ in range(2)]
                answers.append(await asyncio.gather(*both))
        plain, guessed = answers
        assert {answer["content"] for answer in plain} == {answer["content"] for answer in guessed}
        assert all(answer["timings"]["draft_n_accepted"] > 100 for answer in guessed)

    run(test)


def test_a_head_of_the_model_guesses_and_changes_nothing(tmp_path: Path) -> None:
    """A head with random weights is never right; the text is that of the model without it."""
    path = write_mtp_model(tmp_path / "heads.gguf")
    body = {"prompt": "hello there", "temperature": 0, "n_predict": 40, "ignore_eos": True}

    async def test() -> None:
        answers = []
        for guess in (None, Speculation("draft-mtp", 2)):
            async with started(EngineChoice(), path.name, folder=tmp_path, speculation=guess) as runner:
                answers.append(await runner.request_json("/completion", body))
        plain, guessed = answers
        assert plain["content"] == guessed["content"] != ""
        assert guessed["timings"]["draft_n"] > 20

    run(test)


def test_heads_that_the_engine_cannot_use_are_left_out(tmp_path: Path) -> None:
    """It aborts over them; the model is loaded without."""
    path = write_mtp_model(tmp_path / "heads.gguf", heads=2)

    async def test() -> None:
        guess = Speculation("draft-mtp", 2)
        async with started(EngineChoice(), path.name, folder=tmp_path, speculation=guess) as runner:
            assert runner.spec.speculation is None
            assert (await collect(runner, CompletionRequest("hello", GREEDY)))[-1].final is not None

    run(test)


def test_embedding_in_one_call() -> None:
    """Several inputs give rows of length one, each equal to its row alone."""

    async def test() -> None:
        async with started(EngineChoice(), "embed.gguf", num_ctx=128, is_embedding=True) as runner:
            inputs = [await runner.tokenize(text) for text in ("hello", "good morning", "the sky")]
            rows, _ = await runner.embed(inputs)
            alone = [(await runner.embed([ids]))[0][0] for ids in inputs]
            for row, single in zip(rows, alone, strict=True):
                assert sum(value * value for value in row) == pytest.approx(1, abs=1e-4)
                assert row == pytest.approx(single, abs=1e-4)

    run(test)


def test_a_missing_model_is_refused_with_the_engines_words() -> None:
    """The child ends and its stderr is in the error."""

    async def test() -> None:
        with pytest.raises(RunnerStartError) as refused:
            async with started(EngineChoice(), "no-such.gguf"):
                raise AssertionError("a runner without a model")
        assert refused.value.exit_code == 3
        assert "no-such.gguf" in refused.value.log_tail

    run(test)


def test_kill_in_mid_stream_is_an_error_not_an_end() -> None:
    """SIGKILL of the child while it streams raises RunnerExitedError for the reader."""

    async def test() -> None:
        async with started(fake(tokens=10_000, delay_s=0.01)) as runner:
            with pytest.raises(RunnerExitedError) as died:
                async with runner.complete(
                    CompletionRequest("x", SamplingOptions(num_predict=2000))
                ) as batches:
                    async for _pieces in batches:
                        os.killpg(runner.pid, signal.SIGKILL)
            assert died.value.exit_code == -signal.SIGKILL

    run(test)


def test_a_crash_carries_the_last_words() -> None:
    """The assertion that the child died of is in the error."""

    async def test() -> None:
        async with started(fake(tokens=10, crash_at=3)) as runner:
            with pytest.raises(RunnerExitedError, match=r"GGML_ASSERT\(fake\) failed") as died:
                await collect(runner, CompletionRequest("x", GREEDY))
            assert died.value.exit_code == 9
            with pytest.raises(RunnerExitedError):
                await collect(runner, CompletionRequest("x", GREEDY))

    run(test)


def test_a_hanging_child_is_killed() -> None:
    """A child that says nothing while a request runs is stopped after the deadline."""

    async def test() -> None:
        async with started(fake(tokens=10, hang_at=2), hang_timeout_s=0.5) as runner:
            with pytest.raises(RunnerExitedError, match="no sign of life"):
                await collect(runner, CompletionRequest("x", GREEDY))

    run(test)


def test_a_hanging_child_is_killed_though_its_clients_give_up() -> None:
    """Requests that are given up and tried again, each before the deadline, do not put it off."""

    async def test() -> None:
        async with started(fake(tokens=10, hang_at=2), hang_timeout_s=1.0) as runner:
            while not runner.exited.done():
                with pytest.raises((TimeoutError, RunnerExitedError)):
                    await asyncio.wait_for(collect(runner, CompletionRequest("x", GREEDY)), 0.3)
            assert "no sign of life" in str(runner.exited.result())

    run(test)


def test_a_request_that_is_given_up_leaves_a_sound_child_alone() -> None:
    """An engine that answers is not taken for a hanging one, however long nobody asks it for anything."""

    async def test() -> None:
        async with started(EngineChoice(), hang_timeout_s=2.0) as runner:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await collect(runner, CompletionRequest("x", GREEDY))
            await asyncio.sleep(5)  # more than two deadlines
            assert await collect(runner, CompletionRequest("x", GREEDY))

    run(test)


def test_a_load_that_hangs_can_be_cancelled() -> None:
    """Cancelling a start kills the child and leaves none behind."""
    before = _children_of(os.getpid())

    async def test() -> None:
        factory = EngineFactory(fake(load_hangs=1))
        spec = RunnerSpec(FIXTURES / "say.gguf", "k", num_ctx=256)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(factory.start(spec, lambda _share: None), 0.5)
        factory.close()

    run(test)
    assert _children_of(os.getpid()) == before


def test_load_progress_is_reported() -> None:
    """The share grows from 0 to near 1."""

    async def test() -> list[float]:
        shares: list[float] = []
        factory = EngineFactory(fake(load_s=0.2))
        runner = await factory.start(RunnerSpec(FIXTURES / "say.gguf", "k", num_ctx=256), shares.append)
        await runner.close()
        factory.close()
        return [share for share in shares if share >= 0]

    shares = asyncio.run(test())
    assert len(shares) >= 5
    assert shares == sorted(shares)


def test_cancelled_request_frees_its_slot(tmp_path: Path) -> None:
    """Leaving a completion closes the connection: the engine sees it and the next request runs."""
    log = tmp_path / "log"

    async def test() -> None:
        async with started(fake(tokens=100_000, delay_s=0.001, log=log)) as runner:
            endless = CompletionRequest("x", SamplingOptions(num_predict=2500))
            async with runner.complete(endless) as batches:
                await anext(batches)
            await asyncio.to_thread(wait_until, lambda: "cancelled" in log.read_text())
            assert runner.active_count == 0

    run(test)


def test_requests_beyond_the_slots_wait_and_the_queue_is_bounded() -> None:
    """One runs, one waits, the third is refused; the waiting one is served."""

    async def test() -> None:
        async with started(fake(tokens=50, delay_s=0.05), max_waiting=1) as runner:
            first = asyncio.create_task(collect(runner, CompletionRequest("x", GREEDY)))
            second = asyncio.create_task(collect(runner, CompletionRequest("x", GREEDY)))
            while runner.active_count < 2:
                await asyncio.sleep(0)
            with pytest.raises(QueueFullError):
                await collect(runner, CompletionRequest("x", GREEDY))
            assert (await first)[-1].final is not None
            assert (await second)[-1].final is not None

    run(test)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_orphan_when_the_parent_is_killed() -> None:
    """A child of a process that got SIGKILL ends by itself."""
    program = f"""
import asyncio
from pathlib import Path
from corral.runner.factory import EngineFactory
from corral.runner.interface import EngineChoice, RunnerSpec

async def main():
    spec = RunnerSpec(Path({str(FIXTURES / "say.gguf")!r}), "k", num_ctx=256)
    runner = await EngineFactory(EngineChoice()).start(spec, lambda _share: None)
    print(runner.pid, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""
    import subprocess

    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child_pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not _is_running(child_pid))


def _is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def _children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
