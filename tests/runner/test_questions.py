"""Questions about tokens: few at a time, long texts in parts, many texts in one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import ContextOverflowError
from corral.runner.interface import CompletionRequest, EngineChoice
from corral.runner.pace import Pace
from corral.runner.questions import PART_CHARS, Questions, split_text
from corral.types import SamplingOptions
from tests.runner.test_engine import FIXTURES, TINY, started


class Engine:
    """Answers when told to, and counts who waits."""

    def __init__(self) -> None:
        self.open_count = self.most = self.call_count = 0
        self.may_answer = asyncio.Event()

    async def ask(self, path: str, body: dict[str, Any]) -> Any:
        self.call_count += 1
        self.open_count += 1
        self.most = max(self.most, self.open_count)
        await self.may_answer.wait()
        self.open_count -= 1
        if path == "/detokenize":
            data = bytes(body["tokens"])
            return {"content": data.decode("utf-8", "replace")}
        content = body["content"] if isinstance(body["content"], list) else [body["content"]]
        tokens: list[int] = []
        for entry in content:
            tokens += [entry] if isinstance(entry, int) else entry.encode()
        return {"tokens": tokens}


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_crowd_asks_one_after_the_other() -> None:
    """A thousand callers are two connections; each gets the tokens of its own text."""

    async def test() -> None:
        engine = Engine()
        questions = Questions(engine.ask)
        calls = [
            asyncio.ensure_future(questions.tokens(f"{i}", add_special=False, parse_special=True))
            for i in range(1000)
        ]
        await settle()
        assert engine.open_count == 2
        engine.may_answer.set()
        assert await asyncio.gather(*calls) == [list(f"{i}".encode()) for i in range(1000)]
        assert engine.most == 2

    asyncio.run(test())


def test_a_caller_who_leaves_keeps_the_place_until_the_engine_is_done() -> None:
    """The engine goes on after a hang-up, so callers who try again must not pile up in it."""

    async def test() -> None:
        engine = Engine()
        questions = Questions(engine.ask)
        for _ in range(50):
            call = asyncio.ensure_future(questions.tokens("x", add_special=False, parse_special=True))
            await settle()
            call.cancel()
            await settle()
        assert engine.call_count == 2
        engine.may_answer.set()
        assert await questions.tokens("y", add_special=False, parse_special=True) == [121]

    asyncio.run(test())


def test_many_texts_are_few_questions() -> None:
    """Texts keep their order and their tokens; empty ones too, and one that is too long for a question."""

    async def test() -> None:
        engine = Engine()
        engine.may_answer.set()
        texts = ["", "a", "b" * (PART_CHARS + 5), "", *(f"text {i}" for i in range(5000))]
        found = await Questions(engine.ask).tokens_of_each(texts, parse_special=True)
        assert [bytes(list(tokens)).decode() for tokens in found] == texts
        assert engine.call_count < 12

    asyncio.run(test())


@given(st.text(), st.integers(2, 9))
def test_parts_are_the_text(text: str, part_chars: int) -> None:
    """Nothing is lost at a cut but, where asked for, the one blank between two words."""
    parts = list(split_text(text, drops_blanks=False, part_chars=part_chars))
    assert "".join(parts) == text
    assert all(len(part) <= part_chars for part in parts)
    assert all(parts[1:])


@given(st.lists(st.sampled_from(["a", "bc", "def"]), min_size=1), st.integers(10, 20))
def test_parts_end_between_words(words: list[str], part_chars: int) -> None:
    """With short words every cut is at a blank."""
    parts = split_text(" ".join(words), drops_blanks=True, part_chars=part_chars)
    assert [word for part in parts for word in part.split(" ")] == words


@given(st.text(min_size=1, max_size=40))
def test_letters_are_whole_after_detokenising_in_parts(text: str) -> None:
    """A letter whose bytes are in several tokens is not cut between two questions."""

    async def test() -> None:
        engine = Engine()
        engine.may_answer.set()
        assert await Questions(engine.ask, part_tokens=6).text(list(text.encode())) == text

    asyncio.run(test())


@pytest.mark.process
@pytest.mark.parametrize(
    ("folder", "model"), [(TINY.parent, TINY.name), (FIXTURES, "tiny.gguf"), (FIXTURES, "embed.gguf")]
)
def test_a_long_text_has_the_tokens_of_the_whole(folder: Path, model: str) -> None:
    """Asked about in parts or at once, a text of words has the same tokens, with and without its frame."""

    async def test() -> None:
        text = "The quick brown fox, 42 times: it jumps (over) the lazy dog's back.\n\n" * 2500
        is_embedding = model == "embed.gguf"
        async with started(EngineChoice(), model, folder=folder, is_embedding=is_embedding) as runner:
            for add_special in (False, True):
                body = {"content": text, "add_special": add_special, "parse_special": True}
                whole = (await runner.request_json("/tokenize", body))["tokens"]
                assert list(await runner.tokenize(text, add_special=add_special)) == whole
                pieces = await runner.tokenize_pieces(text, add_special=add_special)
                assert [token for token, _ in pieces] == whole
            assert [list(ids) for ids in await runner.tokenize_many([text, "a"])] == [
                list(await runner.tokenize(text)),
                list(await runner.tokenize("a")),
            ]

    asyncio.run(test())


@pytest.mark.process
def test_a_prompt_far_too_long_is_refused_in_the_engines_words() -> None:
    """A megabyte of prompt is counted in parts and never reaches the decoder."""

    async def test() -> None:
        async with started(EngineChoice(), TINY.name, folder=TINY.parent) as runner:
            request = CompletionRequest("the sky is blue " * 65536, SamplingOptions(num_predict=1))
            with pytest.raises(ContextOverflowError, match="exceeds the available context size"):
                async with runner.complete(request):
                    raise AssertionError("taken")

    asyncio.run(test())


def test_turns_last_half_a_second() -> None:
    """A fast engine gets more at a time, a slow one less, within bounds; a small turn tells little."""
    pace = Pace()
    first = pace.turn_bytes
    pace.note(first, 0.01)
    assert pace.turn_bytes == 2 * first
    pace.note(10, 1e-9)
    assert pace.turn_bytes == 2 * first
    for _ in range(40):
        pace.note(pace.turn_bytes, 0.0)
    assert pace.turn_bytes == 1 << 20
    for _ in range(40):
        pace.note(pace.turn_bytes, 60.0)
    assert pace.turn_bytes == 1 << 10
