"""Prompts on disk: which state is read for a prompt, what is written, what goes, and what a bad file does."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.digest import Digest
from corral.errors import EngineError
from corral.runner.factory import EngineFactory
from corral.runner.interface import CompletionRequest, EngineChoice, Final, RunnerSpec
from corral.runner.prompt_states import Prompt, PromptStates, shared_length
from corral.runner.slots import Slots
from corral.types import SamplingOptions
from tests.conftest import FIXTURES

DIGEST = Digest("ab" * 32)
LONG = "It was a dark and stormy night. " * 100


def order(**changes: Any) -> dict[str, Any]:
    weights = changes.pop("weights")
    plain = {"model": str(weights), "adapters": [], "num_ctx": 4096, "num_thread": 2}
    return {**plain, "embedding": False, "projector": "", "draft": "", **changes}


class FakeEngine:
    """Writes and reads states as llama-server does; `asked`: how it was asked, `free`: slots that had no request."""

    def __init__(self, folder: Path, free: Sequence[int] = (0, 1, 2, 3)) -> None:
        self.free = list(free)
        self.saves = 600
        self.folder = folder
        self.asked: list[str] = []
        self.fails = False

    async def ask(self, path: str, body: dict[str, Any]) -> Any:
        self.asked.append(path)
        file = self.folder / body["filename"]
        if self.fails:
            raise EngineError(400, "cannot")
        if path.endswith("save"):
            file.write_bytes(b"x" * 1000)
            return {"n_saved": self.saves, "n_written": 1000}
        return {"n_restored": 600 if len(file.read_bytes()) == 1000 else 0}

    async def unused(self) -> list[int]:
        return self.free


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / f"sha256-{DIGEST.hex}"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def states(tmp_path: Path) -> PromptStates:
    return PromptStates(tmp_path / "prompts", 1)


def folder_of(states: PromptStates, weights: Path, **changes: Any) -> Path:
    folder = states.folder_of(order(weights=weights, **changes), "engine 1")
    assert folder is not None
    return folder


def add(states: PromptStates, folder: Path, prompt: Prompt, size: int = 1000, used_s: int = 0) -> Path:
    path = states.new_path(folder)
    path.write_bytes(b"x" * size)
    states.keep(path, prompt, 600)
    if used_s and path.exists():
        os.utime(path, (used_s, used_s))
    return path


texts = st.one_of(st.text(alphabet="ab", max_size=20), st.lists(st.integers(0, 2), max_size=20))


@given(texts, texts)
def test_shared_length(first: Prompt, second: Prompt) -> None:
    """As counted letter by letter."""
    expected = 0
    if isinstance(first, str) == isinstance(second, str):
        while expected < min(len(first), len(second)) and first[expected] == second[expected]:
            expected += 1
    assert shared_length(first, second) == expected


def test_what_a_state_depends_on(states: PromptStates, weights: Path, tmp_path: Path) -> None:
    """Another context, engine or file has other states; another number of threads, or more memory, has the same."""
    plain = folder_of(states, weights)
    for same in ({"num_thread": 7}, {"memory_limit_bytes": 5}, {"num_parallel": 2}, {"media_marker": "x"}):
        assert folder_of(states, weights, **same) == plain
    binary = tmp_path / "llama-server"
    binary.write_text("1")
    first = states.folder_of(order(weights=weights), "engine 1", [binary])
    binary.write_text("another build")
    assert states.folder_of(order(weights=weights), "engine 1", [binary]) != first
    assert folder_of(states, weights, num_ctx=8192) != plain
    assert states.folder_of(order(weights=weights), "engine 2") != plain
    assert plain.name.startswith(DIGEST.hex[:16])
    weights.write_bytes(b"other weights")
    assert folder_of(states, weights) != plain


def test_guessing_from_what_came_before_shares_states(states: PromptStates, weights: Path) -> None:
    """It keeps nothing beside the cache."""
    guess = {"speculation": {"kind": "ngram-simple", "tokens": 8, "match": 8}}
    plain = states.folder_of(order(weights=weights, speculation=None), "engine")
    assert states.folder_of(order(weights=weights, **guess), "engine") == plain is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"embedding": True},
        {"projector": "p"},
        {"draft": "d"},
        {"speculation": {"kind": "draft-mtp", "tokens": 2, "match": 0}},
    ],
)
def test_models_without_states(states: PromptStates, weights: Path, changes: dict[str, Any]) -> None:
    """Vectors have none; what else the engine keeps beside the cache is not saved with it."""
    assert states.folder_of(order(weights=weights, **changes), "engine") is None


def test_off(tmp_path: Path, weights: Path) -> None:
    """Nothing is written, and what was written before goes."""
    states = PromptStates(tmp_path / "prompts", 1)
    path = add(states, folder_of(states, weights), LONG)
    off = PromptStates(tmp_path / "prompts", 0)
    assert off.folder_of(order(weights=weights), "engine") is None
    off.sweep()
    assert not path.exists()


def test_only_the_owner_can_read(states: PromptStates, weights: Path) -> None:
    """A prompt is what somebody wrote."""
    path = add(states, folder_of(states, weights), LONG)
    for file in (path, path.with_suffix(".json")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_longer_one_takes_the_place_of_its_beginning(states: PromptStates, weights: Path) -> None:
    """A conversation has one state, however often it was unloaded."""
    folder = folder_of(states, weights)
    first, other = add(states, folder, LONG), add(states, folder, "Another. " + LONG)
    second = add(states, folder, LONG + "And then?")
    assert [path.exists() for path in (first, other, second)] == [False, True, True]


def test_the_quota_holds(states: PromptStates, weights: Path) -> None:
    """Of all models together; those used longest ago go first."""
    size = 300_000
    one, two = folder_of(states, weights), folder_of(states, weights, num_ctx=99)
    paths = [add(states, folder, f"{i} {LONG}", size, 2000 + i) for i, folder in enumerate((one, two, one))]
    newest = add(states, two, "new", size)
    assert [path.exists() for path in (*paths, newest)] == [False, True, True, True]
    assert not states.has_room(600_000)


def test_halves_are_removed(states: PromptStates, weights: Path) -> None:
    """What a kill between two writes left."""
    folder = folder_of(states, weights)
    (folder / "a.state").write_bytes(b"x")
    os.utime(folder / "a.state", (1, 1))
    (folder / "b.json").write_text("{}")
    unfinished = folder / ".c.json.123.456"
    unfinished.write_text("{")
    states.sweep()
    assert unfinished.exists()  # somebody may still be writing it
    os.utime(unfinished, (1, 1))
    states.sweep()
    assert not folder.exists()


@pytest.mark.parametrize(
    "note", ["", "[]", '{"prompt": 5, "tokens": 1}', '{"prompt": [1, "x"], "tokens": 1}', "\0"]
)
def test_bad_notes(states: PromptStates, weights: Path, note: str) -> None:
    """Count as absent."""
    folder = folder_of(states, weights)
    path = add(states, folder, LONG)
    path.with_suffix(".json").write_text(note)
    assert states.saved(folder) == []


def test_they_go_with_their_weights(states: PromptStates, weights: Path) -> None:
    """When the blob is deleted, and when a sweep finds that nothing uses it."""
    removals: list[Callable[[], None]] = [
        lambda: states.delete(DIGEST),
        lambda: states.sweep({Digest("cd" * 32)}),
    ]
    for remove in removals:
        path = add(states, folder_of(states, weights), LONG)
        states.sweep({DIGEST})
        assert path.exists()
        remove()
        assert not path.exists()


def slots_of(states: PromptStates, folder: Path, count: int = 2) -> tuple[Slots, FakeEngine]:
    engine = FakeEngine(folder)
    return Slots(count, states, folder, engine.ask, engine.unused), engine


def test_a_prompt_gets_the_state_that_it_begins_like(states: PromptStates, weights: Path) -> None:
    """Not a short one, not when a slot does as well, not when little would be reused."""
    folder = folder_of(states, weights)
    add(states, folder, LONG)
    add(states, folder, LONG[:1500] + "x" * 1000)

    async def main() -> None:
        slots, engine = slots_of(states, folder)
        assert await slots.prepare("short") is None
        assert await slots.prepare("y" * 2000) is None
        assert await slots.prepare(LONG[:1200] + "z" * 9000) is None
        assert engine.asked == []
        restored = await slots.prepare(LONG + "What next?")
        assert restored is not None
        assert restored.prompt == LONG
        assert await slots.prepare(LONG + "And now?") is None  # it lies in a slot
        assert engine.asked == ["/slots/0?action=restore"]

    asyncio.run(main())


def test_slots_that_are_in_use_are_left_alone(states: PromptStates, weights: Path) -> None:
    """One that streams its first answer was not noted yet: only what the engine calls unused counts."""
    folder = folder_of(states, weights)
    path = add(states, folder, LONG)

    async def main() -> None:
        slots, engine = slots_of(states, folder)
        engine.free = [1]
        assert await slots.prepare(LONG) is not None
        assert engine.asked == ["/slots/1?action=restore"]
        slots, engine = slots_of(states, folder)
        engine.free = []
        assert await slots.prepare(LONG) is None
        assert engine.asked == []

    asyncio.run(main())
    assert path.exists()


def test_an_engine_that_takes_long_costs_no_state(
    states: PromptStates, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompt is computed, and the state stays for another time."""
    monkeypatch.setattr("corral.runner.slots._RESTORE_TIMEOUT_S", 0.01)
    folder = folder_of(states, weights)
    path = add(states, folder, LONG)

    async def never(_path: str, _body: dict[str, Any]) -> Any:
        await asyncio.Event().wait()

    async def main() -> None:
        engine = FakeEngine(folder)
        slots = Slots(2, states, folder, never, engine.unused)
        assert await slots.prepare(LONG) is None

    asyncio.run(main())
    assert path.exists()


def test_a_slot_that_holds_something_else_is_not_saved(states: PromptStates, weights: Path) -> None:
    """A request that was cancelled leaves no note; what the engine counts tells. The older state stays."""
    folder = folder_of(states, weights)
    older = add(states, folder, LONG)

    async def main() -> None:
        slots, engine = slots_of(states, folder)
        slots.note(0, LONG + "And?", 1000)
        engine.saves = 12
        await slots.save(10)
        assert engine.asked == ["/slots/0?action=save"]

    asyncio.run(main())
    assert older.exists()
    assert [state.prompt for state in states.saved(folder)] == [LONG]
    assert len(list(folder.iterdir())) == 2


def test_full_slots_are_left_alone(states: PromptStates, weights: Path) -> None:
    """Each holds a conversation that may go on."""
    folder = folder_of(states, weights)
    add(states, folder, LONG)

    async def main() -> None:
        slots, engine = slots_of(states, folder)
        for number in (0, 1):
            slots.note(number, f"{number}", 5)
        assert await slots.prepare(LONG) is None
        assert engine.asked == []

    asyncio.run(main())


def test_what_the_engine_cannot_read_is_removed(states: PromptStates, weights: Path) -> None:
    """It refuses the file, reads something else, or reuses nothing of it."""
    folder = folder_of(states, weights)

    async def main() -> None:
        for spoil in ("refuses", "cut", "useless"):
            path = add(states, folder, LONG)
            slots, engine = slots_of(states, folder)
            engine.fails = spoil == "refuses"
            if spoil == "cut":
                path.write_bytes(b"x" * 900)
            restored = await slots.prepare(LONG)
            assert (restored is None) == (spoil != "useless")
            if restored is not None:
                await slots.check(restored, LONG, 599)
                assert path.exists()
                await slots.check(restored, LONG, 3)
            assert not path.exists()

    asyncio.run(main())


def test_what_is_worth_it_is_saved(states: PromptStates, weights: Path) -> None:
    """Long prompts that are not on disk yet, and that are not too large."""
    folder = folder_of(states, weights)

    async def main() -> None:
        slots, engine = slots_of(states, folder, 4)
        slots.note(0, "short", 50)
        slots.note(1, LONG, 600)
        slots.note(2, "huge" + LONG, 600_000)
        slots.note(9, "nowhere", 600)
        await slots.save(10)
        assert engine.asked == ["/slots/1?action=save"]
        (saved,) = states.saved(folder)
        assert (saved.prompt, saved.token_count) == (LONG, 600)
        other, engine = slots_of(states, folder)
        restored = await other.prepare(LONG)
        assert restored is not None
        other.note(0, LONG, 601)
        await other.save(10)  # it is there already
        assert engine.asked == ["/slots/0?action=restore"]

    asyncio.run(main())


def test_a_save_that_fails_leaves_nothing(states: PromptStates, weights: Path) -> None:
    """A full disk, an engine that refuses."""
    folder = folder_of(states, weights)

    async def main() -> None:
        slots, engine = slots_of(states, folder)
        slots.note(0, LONG, 600)
        engine.fails = True
        await slots.save(10)

    asyncio.run(main())
    assert list(folder.iterdir()) == []


@pytest.mark.process
def test_on_the_engine(tmp_path: Path) -> None:
    """A prompt is back after its engine has ended, and answered like one that was computed."""
    spec = RunnerSpec(FIXTURES / "tiny.gguf", "tiny", num_ctx=2048, num_parallel=2, num_thread=1)
    states = PromptStates(tmp_path / "prompts", 100)
    prompt = "a b c d e f g h " * 90

    async def ask(factory: EngineFactory, text: str, *, keeps: bool) -> tuple[str, Final]:
        runner = await factory.start(spec, lambda _share: None)
        try:
            request = CompletionRequest(text, SamplingOptions(temperature=0, num_predict=8))
            async with runner.complete(request) as batches:
                pieces = [piece async for batch in batches for piece in batch]
            if keeps:
                await runner.keep_prompts(60)
        finally:
            await runner.close()
        final = pieces[-1].final
        assert final is not None
        return "".join(piece.text for piece in pieces), final

    async def main() -> None:
        kept, plain = EngineFactory(EngineChoice(), states=states), EngineFactory(EngineChoice())
        try:
            _, first = await ask(kept, prompt, keeps=True)
            assert (first.cached_count, first.prompt_count > 512) == (0, True)
            text, second = await ask(kept, prompt + "what", keeps=False)
            assert second.cached_count > first.prompt_count - 10
            expected, third = await ask(plain, prompt + "what", keeps=False)
            assert (text, third.cached_count) == (expected, 0)
        finally:
            kept.close()
            plain.close()

    asyncio.run(main())
