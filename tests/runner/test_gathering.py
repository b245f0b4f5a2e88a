"""Texts of many clients in one call: each gets its own vectors and count, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import contextlib
from array import array
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from corral import caller
from corral.caller import Caller
from corral.errors import CorralError, EngineError, QueueFullError, RunnerExitedError
from corral.runner.factory import EngineFactory
from corral.runner.gathering import Gathering
from corral.runner.interface import EngineChoice, RunnerSpec
from tests.conftest import FIXTURES


class Engine:
    """A token is a letter; a text of `bad` is refused. `calls`: how many texts each call had."""

    def __init__(self) -> None:
        self.slot_free = asyncio.Semaphore(1)
        self.calls: list[int] = []
        self.dies = False
        self.turn_bytes = 1 << 20
        self.gathering = Gathering(self.slot, self.tokens, self.run, turn_bytes=lambda: self.turn_bytes)

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        async with self.slot_free:
            yield

    async def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(map(ord, text)) for text in texts]

    async def run(self, tokens: Sequence[Sequence[int]]) -> list[array[float]]:
        self.calls.append(len(tokens))
        await asyncio.sleep(0)
        if self.dies:
            raise RunnerExitedError("died")
        if list(map(ord, "bad")) in list(map(list, tokens)):
            raise EngineError(400, "no")
        return [array("f", entry) for entry in tokens]


async def held(engine: Engine, *requests: list[Any]) -> list[Any]:
    """What requests get that come while the engine is busy."""
    await engine.slot_free.acquire()
    tasks = [asyncio.create_task(engine.gathering.embed(request)) for request in requests]
    await asyncio.sleep(0)
    engine.slot_free.release()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_they_go_together() -> None:
    """One call; rows and counts are parted again, texts and tokens alike."""

    async def main() -> None:
        engine = Engine()
        first, second, third = await held(engine, ["ab"], ["c", "def"], [[1, 2, 3]])
        assert engine.calls == [4]
        assert first == ([array("f", [97, 98])], 2)
        assert second == ([array("f", [99]), array("f", [100, 101, 102])], 4)
        assert third == ([array("f", [1, 2, 3])], 3)
        assert len(engine.gathering) == 0

    asyncio.run(main())


def test_a_call_is_bounded() -> None:
    """Hundreds go in several."""

    async def main() -> None:
        engine = Engine()
        answers = await held(engine, *([f"{i}"] for i in range(600)))
        assert engine.calls == [256, 256, 88]
        assert [rows[0][0] for rows, _ in answers[:10]] == list(range(48, 58))

    asyncio.run(main())


def test_a_call_is_no_longer_than_a_turn() -> None:
    """What takes longer goes in several, in the order in which it came."""

    async def main() -> None:
        engine = Engine()
        engine.turn_bytes = 100
        answers = await held(engine, *(["x" * 40] for _ in range(5)), ["y" * 300], ["z"])
        assert engine.calls == [2, 2, 1, 1, 1]
        assert [rows[0][0] for rows, _ in answers] == [*map(ord, "xxxxxyz")]

    asyncio.run(main())


def test_the_urgent_go_first_and_keys_take_turns() -> None:
    """A key for batches has many texts waiting; each call holds one."""

    async def main() -> None:
        engine = Engine()
        engine.turn_bytes = 1
        order: list[str] = []
        await engine.slot_free.acquire()

        async def ask(text: str, who: Caller) -> None:
            caller.begin(who)
            await engine.gathering.embed([text])
            order.append(text)

        callers = {
            "b": Caller(priority="batch", share="b"),
            "n": Caller(share="n"),
            "m": Caller(share="m"),
            "i": Caller(priority="interactive", share="i"),
        }
        names = ["b1", "b2", "b3", "n1", "n2", "m1", "i1"]
        tasks = [asyncio.create_task(ask(name, callers[name[0]])) for name in names]
        await asyncio.sleep(0)
        engine.slot_free.release()
        await asyncio.gather(*tasks)
        assert order[0] == "i1"
        assert order.index("m1") < order.index("n2")
        assert [name for name in order if name[0] == "b"] == ["b1", "b2", "b3"]
        assert len(engine.gathering) == 0

    asyncio.run(main())


def test_a_full_gathering_makes_way_for_the_urgent() -> None:
    async def main() -> None:
        engine = Engine()
        await engine.slot_free.acquire()
        tasks = [asyncio.create_task(engine.gathering.embed([text])) for text in ("a", "b")]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            engine.gathering.make_way()
        caller.begin(Caller(priority="interactive", share="i"))
        engine.gathering.make_way()
        engine.slot_free.release()
        first, second = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(first, tuple) and isinstance(second, QueueFullError)

    asyncio.run(main())


def test_long_texts_are_not_computed_together() -> None:
    """What several slots would take in one step stays small."""

    async def main() -> None:
        engine = Engine()
        engine.turn_bytes = 10_000
        engine.gathering._slots = 8
        await held(engine, *(["x" * 400] for _ in range(5)), *(["y" * 20] for _ in range(9)))
        assert engine.calls == [2, 2, 10]

    asyncio.run(main())


def test_the_next_call_is_made_while_one_is_computed() -> None:
    """With two turns, whoever comes while both are taken goes with the first that ends; the other goes on."""

    async def main() -> None:
        engine = Engine()
        engine.slot_free = asyncio.Semaphore(2)
        may_end = asyncio.Event()
        plain = engine.gathering._run

        async def slow(tokens: Sequence[Sequence[int]]) -> list[array[float]]:
            rows = await plain(tokens)
            if [120] in list(map(list, tokens)):
                await may_end.wait()
            return rows

        engine.gathering._run = slow
        slow_one = asyncio.create_task(engine.gathering.embed(["x"]))
        await asyncio.sleep(0)
        while not engine.calls:
            await asyncio.sleep(0)
        assert await engine.gathering.embed(["a"]) == ([array("f", [97])], 1)
        assert not slow_one.done()
        may_end.set()
        assert await slow_one == ([array("f", [120])], 1)

    asyncio.run(main())


def test_one_at_fault() -> None:
    """Only it gets the error."""

    async def main() -> None:
        engine = Engine()
        fine, bad, other = await held(engine, ["a"], ["bad"], ["b"])
        assert fine == ([array("f", [97])], 1)
        assert other == ([array("f", [98])], 1)
        assert isinstance(bad, EngineError)

    asyncio.run(main())


def test_an_answer_that_nobody_foresaw(caplog: pytest.LogCaptureFixture) -> None:
    """One by one then; only the one at fault gets the error, whatever its kind."""

    async def main() -> None:
        engine = Engine()
        plain = engine.gathering._run

        async def odd(tokens: Sequence[Sequence[int]]) -> list[array[float]]:
            if [120] in list(map(list, tokens)):
                raise KeyError("embedding")
            return await plain(tokens)

        engine.gathering._run = odd
        fine, bad = await held(engine, ["a"], ["x"])
        assert fine == ([array("f", [97])], 1)
        assert isinstance(bad, KeyError)

    asyncio.run(main())
    assert "one by one" in caplog.text


def test_the_first_may_leave() -> None:
    """The others are served; nothing is asked when all have left."""

    async def main() -> None:
        engine = Engine()
        await engine.slot_free.acquire()
        tasks = [asyncio.create_task(engine.gathering.embed([text])) for text in ("a", "b")]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0)
        engine.slot_free.release()
        assert await tasks[1] == ([array("f", [98])], 1)
        assert engine.calls == [1]
        await engine.slot_free.acquire()
        alone = asyncio.create_task(engine.gathering.embed(["c"]))
        await asyncio.sleep(0)
        alone.cancel()
        engine.slot_free.release()
        await asyncio.sleep(0.01)
        assert engine.calls == [1]

    asyncio.run(main())


@pytest.mark.parametrize("is_closed", [False, True])
def test_the_end_of_the_engine(is_closed: bool) -> None:
    """Nobody waits forever."""

    async def main() -> None:
        engine = Engine()
        engine.dies = True
        await engine.slot_free.acquire()
        tasks = [asyncio.create_task(engine.gathering.embed([text])) for text in ("a", "b")]
        await asyncio.sleep(0)
        if is_closed:
            await asyncio.sleep(0)
            engine.gathering.close()
        else:
            engine.slot_free.release()
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(answer, CorralError)

    asyncio.run(main())


async def made() -> Gathering:
    return Engine().gathering


def test_what_may_join() -> None:
    """Not what is long, empty, or many."""
    gathering = asyncio.run(made())
    assert gathering.may_join(["a", "b"])
    assert gathering.may_join([[1, 2]])
    for inputs in (["a" * 10_000], [""], ["a"] * 9, [[1] * 9000]):
        assert not gathering.may_join(inputs)


@pytest.mark.process
def test_on_the_engine() -> None:
    """The same vectors and counts as one by one, in fewer calls."""
    texts = [f"text number {i}" + " and more" * (i % 5) for i in range(24)]

    async def main() -> None:
        factory = EngineFactory(EngineChoice())
        spec = RunnerSpec(FIXTURES / "embed.gguf", "e", num_ctx=256, num_thread=1, is_embedding=True)
        runner = await factory.start(spec, lambda _share: None)
        try:
            single = [await runner.embed([text]) for text in texts]
            together = await asyncio.gather(*(runner.embed([text]) for text in texts))
            for (rows, count), (expected, expected_count) in zip(together, single, strict=True):
                assert count == expected_count
                assert rows[0].tolist() == pytest.approx(expected[0].tolist(), abs=1e-4)
        finally:
            await runner.close()
            factory.close()

    asyncio.run(main())
