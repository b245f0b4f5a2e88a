"""What a load gives up, step by step, after running out of memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.devices import Machine
from corral.gpus import GPU
from corral.scheduler import reasons
from corral.scheduler.ladder import next_retry
from corral.scheduler.placement import plan_load
from corral.scheduler.plan import FIRST, Retry
from corral.scheduler.spec import LoadRequest, SchedulerConfig
from tests.scheduler.test_split import GIB, SHAPE, card, machine, wish

CONFIG = SchedulerConfig(num_parallel=1)


def climb(
    request: LoadRequest, config: SchedulerConfig, on: Machine, *, has_others: bool = False
) -> list[tuple[str, Retry]]:
    """Every attempt fails: the words of the log for each further one, and what it gave up."""
    retry, found = FIRST, []
    plan = plan_load(request, config, on, retry)
    while (following := next_retry(plan, retry, request, config, on, has_others=has_others)) is not None:
        after = plan_load(request, config, on, following)
        found.append(
            (reasons.retry(plan.spec, after.spec).removeprefix("retry after out of memory: "), following)
        )
        plan, retry, has_others = after, following, False
        assert len(found) < 60
    return found


def words(request: LoadRequest, config: SchedulerConfig, *gpus: GPU, has_others: bool = False) -> list[str]:
    return [step for step, _ in climb(request, config, machine(*gpus), has_others=has_others)]


AUTOMATIC = wish(options={"num_ctx": 0})


def test_one_card() -> None:
    """Layers, then the context with all layers again, then the processor."""
    assert words(AUTOMATIC, CONFIG, card(0, 40)) == [
        "GPU layers automatic -> 24",
        "GPU layers 24 -> 16",
        "GPU layers 16 -> 8",
        "num_ctx 262144 -> 32768, GPU layers 8 -> automatic",
        "num_ctx 32768 -> 4096",
        "devices CUDA0 -> CPU",
    ]


def test_two_cards() -> None:
    """The card that is left is tried like the first one, before the processor."""
    request = wish(options={"num_ctx": 4096})
    assert words(request, CONFIG, card(0, 40), card(1, 20)) == [
        "GPU layers automatic -> 24",
        "GPU layers 24 -> 16",
        "GPU layers 16 -> 8",
        "devices CUDA0 -> CUDA1",
        "GPU layers automatic -> 24",
        "GPU layers 24 -> 16",
        "GPU layers 16 -> 8",
        "devices CUDA1 -> CPU",
    ]


def test_others_slots_and_projector_go_first() -> None:
    shape = replace(SHAPE, extra_bytes=GIB, projector_bytes=GIB)
    request = wish(shape, projector_paths=("/m/p",), options={"num_ctx": 256})
    steps = words(request, SchedulerConfig(), card(0, 40), has_others=True)
    assert steps[:2] == ["slots 4 -> 1, projector on the CPU", "GPU layers automatic -> 24"]
    (alone, *_) = words(wish(), CONFIG, card(0, 40), has_others=True)
    assert alone == "no other model is loaded"


@pytest.mark.parametrize(
    ("options", "config", "expected"),
    [
        # Layers that were asked for, and a context that was asked for, stay.
        ({"num_gpu": 20, "num_ctx": 4096}, CONFIG, ["devices CUDA0 -> CPU"]),
        ({"num_ctx": 0}, replace(CONFIG, context_length=8192, device_policy="require_gpu"), []),
        ({"num_ctx": 4096, "device_policy": "require_gpu"}, CONFIG, []),
        (
            {"num_ctx": 0, "device_policy": "require_gpu"},
            CONFIG,
            ["num_ctx 32768 -> 4096"],
        ),
    ],
)
def test_what_was_asked_for_is_kept(
    options: dict[str, Any], config: SchedulerConfig, expected: list[str]
) -> None:
    assert words(wish(options=options), config, card(0, 20, total_gib=24)) == expected


def test_a_chosen_card_is_not_exchanged() -> None:
    steps = words(wish(options={"main_gpu": 0}), CONFIG, card(0, 40), card(1, 40))
    assert steps[-1] == "devices CUDA0 -> CPU"


def test_processors_alone() -> None:
    """As before: one further attempt, with what the settings left open."""
    assert words(AUTOMATIC, CONFIG) == ["memory limit raised to 68.7 GB"]
    assert words(wish(), SchedulerConfig()) == ["slots 4 -> 1, memory limit raised to 68.7 GB"]


@given(
    st.lists(st.integers(0, 80), min_size=0, max_size=4),
    st.sampled_from([0, 256, 100_000]),
    st.sampled_from([-1, 0, 5, 99]),
    st.sampled_from(["prefer_gpu", "require_gpu", "cpu"]),
    st.booleans(),
    st.booleans(),
)
def test_every_climb_ends(
    free_gib: list[int], num_ctx: int, num_gpu: int, policy: str, is_spread: bool, has_others: bool
) -> None:
    """No attempt is made twice, none uses a device that was given up, and the last resort is the processor."""
    gpus = [card(number, free) for number, free in enumerate(free_gib)]
    request = wish(options={"num_ctx": num_ctx, "num_gpu": num_gpu, "device_policy": policy})
    config = SchedulerConfig(is_spread=is_spread)
    steps = climb(request, config, machine(*gpus), has_others=has_others)
    retries = [retry for _, retry in steps]
    assert len(set(retries)) == len(retries)
    assert all(retry.is_any for retry in retries)
    avoided = [retry.avoided for retry in retries]
    assert all(before <= after for before, after in pairwise(avoided))
    may_use = bool(gpus) and policy != "cpu" and num_gpu != 0
    assert any(retry.on_cpu for retry in retries) == (may_use and policy == "prefer_gpu")
    assert not any(retry.on_cpu for retry in retries[:-1])
