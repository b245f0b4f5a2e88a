"""Chains of hashes: equal beginnings have equal keys, and nothing else has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corral.cluster.keys import BLOCK, MAX_BLOCKS, PARTS, count_for, parts_of, prompt_keys, seed_of, share_of

SEED = seed_of("sha256:1")


@given(st.binary(max_size=3000), st.binary(max_size=3000), st.binary(max_size=3000))
def test_equal_beginnings_have_equal_keys(start: bytes, one: bytes, other: bytes) -> None:
    alone, first, second = (prompt_keys(SEED, start + end) for end in (b"", one, other))
    assert first[: len(alone)] == alone == second[: len(alone)]


@given(st.binary(min_size=64, max_size=3000), st.data())
def test_every_byte_of_a_unit_counts_from_there_on(prompt: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(prompt) - 1))
    changed = prompt[:at] + bytes([prompt[at] ^ 1]) + prompt[at + 1 :]
    before, after = prompt_keys(SEED, prompt), prompt_keys(SEED, changed)
    whole = at // (BLOCK // PARTS) if at < BLOCK else PARTS + at // BLOCK - 1
    assert before[:whole] == after[:whole]
    assert not set(before[whole:]) & set(after[whole:])


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


def test_units_are_eighths_of_the_first_block_and_then_blocks() -> None:
    lengths = [0, 63, 64, 511, 512, 1023, 1024, BLOCK * MAX_BLOCKS, BLOCK * MAX_BLOCKS + 5000]
    counts = [len(prompt_keys(SEED, bytes(length))) for length in lengths]
    assert counts == [0, 0, 1, 7, 8, 8, 9, MAX_BLOCKS + 7, MAX_BLOCKS + 7]
    assert [parts_of(count) for count in (0, 1, 7, 8, 9, 10)] == [0, 1, 7, 8, 16, 24]


def test_the_size_of_a_block_is_a_setting() -> None:
    assert len(prompt_keys(SEED, bytes(640), block=64)) == 8 + 9
    assert len(prompt_keys(SEED, bytes(640), block=64, max_blocks=2)) == 8 + 1


def test_the_first_message_alone_does_not_decide() -> None:
    """All chats with one system prompt begin alike, and must not be taken for one."""
    system = b"You are a helpful assistant. " * 30
    chains = [prompt_keys(SEED, system + b"question %d " % i * 100) for i in range(50)]
    assert len({keys[-1] for keys in chains}) == 50


@given(st.integers(1, 200), st.floats(0, 1))
def test_a_count_for_a_share_is_the_smallest_one(total: int, share: float) -> None:
    count = count_for(share, total)
    assert 1 <= count <= total
    assert share_of(count, total) >= share - 1e-9
    assert count == 1 or share_of(count - 1, total) < share


def test_any_text_is_a_seed() -> None:
    assert seed_of("\ud800", salt="ü") != seed_of("", salt="ü")
