"""Chains of hashes: equal beginnings have equal keys, and nothing else has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.keys import BLOCK, MAX_BLOCKS, count_for, prompt_keys, prompt_of, seed_of, warm_count

SEED = seed_of("sha256:1")


pieces = st.lists(st.binary(max_size=1500), max_size=6)


@given(pieces, pieces, pieces)
def test_equal_beginnings_have_equal_keys(start: list[bytes], one: list[bytes], other: list[bytes]) -> None:
    """Of whole pieces: a request is a beginning of the next one of its conversation."""
    alone, first, second = (prompt_of(SEED, start + end).keys for end in ([], one, other))
    assert first[: len(alone)] == alone == second[: len(alone)]


@given(st.binary(max_size=3000), st.binary(max_size=3000))
def test_a_text_that_grows_keeps_its_whole_blocks(start: bytes, end: bytes) -> None:
    whole = len(start) // BLOCK
    assert prompt_keys(SEED, start)[:whole] == prompt_keys(SEED, start + end)[:whole]


@given(st.binary(min_size=1, max_size=3000), st.data())
def test_every_byte_counts_from_its_block_on(prompt: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(prompt) - 1))
    changed = prompt[:at] + bytes([prompt[at] ^ 1]) + prompt[at + 1 :]
    before, after = prompt_keys(SEED, prompt), prompt_keys(SEED, changed)
    assert before[: at // BLOCK] == after[: at // BLOCK]
    assert not set(before[at // BLOCK :]) & set(after[at // BLOCK :])


@given(st.binary(max_size=3000))
def test_other_models_adapters_images_and_tenants_share_nothing(prompt: bytes) -> None:
    seeds = [
        SEED,
        seed_of("sha256:2"),
        seed_of("sha256:1", adapter="a"),
        seed_of("sha256:1", salt="a"),
        seed_of("sha256:1", images=["a"]),
        seed_of("sha256:1", images=["a", "b"]),
        seed_of("sha256:1", images=["ab"]),
    ]
    chains = [set(prompt_keys(seed, prompt)) for seed in seeds]
    assert len(set().union(*chains)) == sum(map(len, chains))


def test_blocks_end_with_pieces() -> None:
    lengths = [0, 1, BLOCK, BLOCK + 1, BLOCK * MAX_BLOCKS, BLOCK * MAX_BLOCKS + 5000]
    assert [len(prompt_keys(SEED, bytes(n))) for n in lengths] == [0, 1, 1, 2, MAX_BLOCKS, MAX_BLOCKS]
    assert len(prompt_of(SEED, [bytes(600), b"", bytes(1), bytes(512)]).keys) == 2 + 1 + 1


def test_the_size_of_a_block_and_their_number_are_settings() -> None:
    assert len(prompt_keys(SEED, bytes(640), block=64)) == 10
    assert len(prompt_keys(SEED, bytes(640), block=64, max_blocks=2)) == 2
    assert len(prompt_of(SEED, [b"a"] * 9, max_blocks=5).keys) == 5


def test_where_answers_lie() -> None:
    prompt = prompt_of(SEED, [bytes(600), bytes(1100), b"more", b"", b"then", b"last"])
    assert len(prompt.keys) == 2 + 3 + 1 + 1 + 1
    assert prompt.answers == ((2, 5), (7, 8))
    assert prompt_of(SEED, [b"", b"it began"]).answers == ()


def test_the_first_message_alone_does_not_decide() -> None:
    """All chats with one system prompt begin alike, and must not be taken for one."""
    system = b"You are a helpful assistant. " * 30
    chains = [prompt_keys(SEED, system + b"question %d " % i * 100) for i in range(50)]
    assert len({keys[-1] for keys in chains}) == 50


def test_whoever_was_asked_has_the_answer() -> None:
    answers = ((2, 5), (7, 8))
    assert [warm_count(count, answers) for count in range(10)] == [0, 1, 5, 5, 5, 5, 6, 8, 8, 9]
    assert warm_count(3, ()) == 3


@given(pieces, st.floats(0, 1))
def test_a_count_for_a_share_is_the_smallest_one(given_pieces: list[bytes], share: float) -> None:
    prompt = prompt_of(SEED, [b"a", *given_pieces])
    total = len(prompt.keys)
    count = count_for(share, total, prompt.answers)
    assert 1 <= count <= total
    assert warm_count(count, prompt.answers) >= share * total
    assert count == 1 or warm_count(count - 1, prompt.answers) < share * total


def test_any_text_is_a_seed() -> None:
    assert seed_of("\ud800", salt="ü") != seed_of("", salt="ü")
