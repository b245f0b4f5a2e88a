"""Who has to go for a new model: those where it wants to go, as few as possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from corral.gpus import GPU
from corral.runner.interface import RunnerSpec
from corral.scheduler.eviction import beside, eviction_order, in_the_way, victims
from corral.scheduler.placement import plan_load
from corral.scheduler.plan import Plan
from corral.scheduler.spec import SchedulerConfig
from tests.scheduler.test_split import GIB, card, machine, wish

CONFIG = SchedulerConfig(num_parallel=1)


@dataclass
class Loaded:
    name: str
    keep_alive_ns: int = 1
    on: Mapping[str, float] = field(default_factory=dict)
    is_on_host: bool = False
    cache_mib: int = 0

    @property
    def spec(self) -> RunnerSpec:
        return RunnerSpec(Path(f"/m/{self.name}"), self.name, cache_ram_mib=self.cache_mib)

    def bytes_on(self, device: str) -> int:
        return int(self.on.get(device, 0) * GIB)


def plan_on(*gpus: GPU, **options: object) -> Plan:
    return plan_load(wish(options=options), CONFIG, machine(*gpus))


def names(found: list[Loaded]) -> list[str]:
    return [one.name for one in found]


def test_order() -> None:
    found = [Loaded("c", 5), Loaded("b", 1), Loaded("a", 1), Loaded("d", (1 << 63) - 1)]
    assert names(eviction_order(found)) == ["a", "b", "c", "d"]


def test_the_card_where_the_fewest_have_to_go() -> None:
    """About 5 GiB are wanted: on the second card one model has to go, on the first one two."""
    loaded = [
        Loaded("a", 1, {"CUDA0": 2}),
        Loaded("b", 2, {"CUDA0": 3}),
        Loaded("c", 3, {"CUDA1": 8}),
        Loaded("d", 0, {}, is_on_host=True),
    ]
    plan = plan_on(card(0, 2.5, 8), card(1, 2, 12))
    assert names(victims(plan, loaded)) == ["c"]
    assert names(victims(plan, [*loaded, Loaded("e", 0, {"CUDA0": 5})])) == ["e"]


def test_if_no_card_would_do_all_on_devices_go() -> None:
    loaded = [Loaded("a", 2, {"CUDA0": 1}), Loaded("b", 1, {"CUDA1": 1}), Loaded("c", 0, {}, is_on_host=True)]
    assert names(victims(plan_on(card(0, 2, 4), card(1, 2, 4)), loaded)) == ["b", "a"]


def test_a_model_on_the_processor_pushes_none_off_a_card() -> None:
    loaded = [
        Loaded("a", 0, {"CUDA0": 4}),
        Loaded("b", 1, {"CUDA0": 1}, is_on_host=True),
        Loaded("c", 2, {}, is_on_host=True),
    ]
    assert names(victims(plan_on(card(0, 20), device_policy="cpu"), loaded)) == ["b", "c"]


def test_nobody_who_would_help() -> None:
    """What is too large even for empty cards is loaded beside those that are elsewhere."""
    assert victims(plan_on(card(0, 2, 4)), [Loaded("c", 0, {}, is_on_host=True)]) == []


def test_a_further_attempt_has_its_devices_to_itself() -> None:
    loaded = [Loaded("a", 0, {"CUDA0": 1}), Loaded("b", 0, {"CUDA1": 1}), Loaded("c", 0, {}, is_on_host=True)]
    plan = plan_on(card(0, 20), card(1, 10))
    assert in_the_way(plan, loaded, is_retry=False, fits=True) == []
    assert names(in_the_way(plan, loaded, is_retry=True, fits=True)) == ["a"]
    on_cpu = plan_on(card(0, 20), num_gpu=0)
    assert names(in_the_way(on_cpu, loaded, is_retry=True, fits=True)) == ["c"]


def test_a_model_that_is_all_on_a_card_needs_the_others_memory() -> None:
    """If it does not fit all the same, what lacks is the machine's; unless the card has no memory of its own."""
    loaded = [
        Loaded("a", 0, {"CUDA0": 4}),
        Loaded("b", 1, {"CUDA0": 1}, is_on_host=True),
        Loaded("c", 2, {}, is_on_host=True),
    ]
    plan = plan_on(card(0, 20))
    assert plan.split.is_whole
    assert names(victims(plan, loaded)) == ["b", "c"]
    assert names(in_the_way(plan, loaded, is_retry=False, fits=False)) == ["b", "c"]
    unified = plan_on(card(0, 20, is_unified=True))
    assert names(victims(unified, loaded)) == ["a", "b"]


def test_no_more_go_than_have_to() -> None:
    """In their order; those without a part of the card stay."""
    plan = plan_on(card(0, 2, 12))
    lacking = (plan.whole_bytes - dict(plan.room)["CUDA0"]) / GIB
    loaded = [
        Loaded("a", 1, {"CUDA0": lacking / 2}),
        Loaded("b", 2, {"CUDA1": 9}),
        Loaded("c", 3, {"CUDA0": lacking / 2}),
        Loaded("d", 4, {"CUDA0": 9}),
    ]
    assert names(victims(plan, loaded)) == ["a", "c"]
    assert names(victims(plan, loaded[:3])) == ["a", "c"]
    assert names(victims(plan, loaded[:2])) == ["a"]  # not enough: all that use the card


def test_of_cards_that_are_alike_the_one_with_the_most_room() -> None:
    loaded = [Loaded("a", 1, {"CUDA0": 9}), Loaded("b", 2, {"CUDA1": 9})]
    assert names(victims(plan_on(card(0, 1, 12), card(1, 2, 12)), loaded)) == ["b"]
    assert names(victims(plan_on(card(0, 2, 12), card(1, 1, 12)), loaded)) == ["a"]


def test_what_others_may_still_take() -> None:
    """Half of the room that they have for prompts, and never more than there is."""
    here = machine()

    def other(mib: int) -> Loaded:
        return Loaded("a", cache_mib=mib)

    assert beside(here, []) == here
    left = beside(here, [other(1024), other(512)])
    assert left.free_bytes == here.free_bytes - 768 * (1 << 20)
    assert left.total_bytes == here.total_bytes
    assert beside(here, [other(1 << 30)]).free_bytes == 0
