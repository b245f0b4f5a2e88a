"""Where layers go: never more on a device than it has, each layer once, always the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.devices import CPU, Machine
from corral.gpus import GPU
from corral.runner.interface import GPUChoice
from corral.scheduler.estimate import LayerNeeds
from corral.scheduler.placement import plan_load
from corral.scheduler.plan import Retry
from corral.scheduler.spec import LoadRequest, MemoryShape, SchedulerConfig
from corral.scheduler.split import available_bytes, choose, share_out
from corral.types import LoadOptions

MIB = 1 << 20
GIB = 1 << 30
CONFIG = SchedulerConfig()
# 32 layers of 128 MiB, 1 MiB of them the cache of 256 tokens; the output takes 256 MiB.
SHAPE = MemoryShape(
    file_bytes=32 * 127 * MIB + 512 * MIB,
    n_layer=32,
    n_ctx_train=1 << 20,
    kv_elements_per_token=32 * 2048,
    layer_bytes=(127 * MIB,) * 32,
    layer_kv_elements=(2048,) * 32,
    layer_is_windowed=(False,) * 32,
    output_bytes=256 * MIB,
    input_bytes=256 * MIB,
)
MARGIN = (1024 + 457) * MIB


def card(number: int, free_gib: float, total_gib: float = 80, **changes: Any) -> GPU:
    gpu = GPU(
        number, f"card {number}", "cuda", int(total_gib * GIB), int(free_gib * GIB), device=f"CUDA{number}"
    )
    return replace(gpu, **changes)


def machine(*gpus: GPU) -> Machine:
    return Machine(CPU(8, 16), 64 * GIB, 60 * GIB, gpus)


def wish(shape: MemoryShape = SHAPE, **changes: Any) -> LoadRequest:
    options = {"num_ctx": 256, **changes.pop("options", {})}
    return LoadRequest(
        Path("/m/a"), "a", "a:latest", "d" * 64, LoadOptions(**options), shape=shape, **changes
    )


def placed(plan: Any) -> list[tuple[str, int, int]]:
    return [(share.device, share.first, share.count) for share in plan.split.shares]


ONE_SLOT = SchedulerConfig(num_parallel=1)


@pytest.mark.parametrize(
    ("gpus", "options", "config", "expected"),
    [
        ((card(0, 24),), {}, ONE_SLOT, [("CUDA0", 0, 33)]),
        # The one with the most room, of those that have enough.
        ((card(0, 10), card(1, 24)), {}, ONE_SLOT, [("CUDA1", 0, 33)]),
        ((card(0, 24), card(1, 10)), {}, ONE_SLOT, [("CUDA0", 0, 33)]),
        ((card(0, 24), card(1, 24)), {}, ONE_SLOT, [("CUDA0", 0, 33)]),
        # A card before integrated graphics, however much memory that has.
        ((card(0, 48, is_unified=True), card(1, 8)), {}, ONE_SLOT, [("CUDA1", 0, 33)]),
        # Asked for.
        ((card(0, 24), card(1, 10)), {"main_gpu": 1}, ONE_SLOT, [("CUDA1", 0, 33)]),
        (
            (card(0, 24), card(1, 24)),
            {},
            replace(ONE_SLOT, is_spread=True),
            [("CUDA0", 0, 16), ("CUDA1", 16, 17)],
        ),
        # On none alone: shares of the free memory, from the first device on.
        ((card(0, 4.5), card(1, 4.5)), {}, ONE_SLOT, [("CUDA0", 0, 16), ("CUDA1", 16, 17)]),
        # Not enough for all: the last layers go to devices.
        ((card(0, 2.5),), {}, ONE_SLOT, [("CUDA0", 26, 7)]),
        ((card(0, 24),), {"num_gpu": 5}, ONE_SLOT, [("CUDA0", 28, 5)]),
        ((card(0, 24),), {"num_gpu": 99}, ONE_SLOT, [("CUDA0", 0, 33)]),
        ((card(0, 24),), {"num_gpu": 0}, ONE_SLOT, []),
        ((card(0, 24),), {"main_gpu": -1}, ONE_SLOT, []),
        ((card(0, 24),), {"device_policy": "cpu"}, ONE_SLOT, []),
        (
            (card(0, 24),),
            {"device_policy": "prefer_gpu"},
            replace(ONE_SLOT, device_policy="cpu"),
            [("CUDA0", 0, 33)],
        ),
        ((card(0, 1),), {}, ONE_SLOT, []),
        ((), {}, ONE_SLOT, []),
    ],
)
def test_placement(
    gpus: tuple[GPU, ...],
    options: dict[str, Any],
    config: SchedulerConfig,
    expected: list[tuple[str, int, int]],
) -> None:
    """One card that has room for all, else all of them; the output counts as the last layer."""
    assert placed(plan_load(wish(options=options), config, machine(*gpus))) == expected


def test_what_the_engine_is_told() -> None:
    """Which devices, and how layers are shared out where it cannot be told that."""
    two = machine(card(0, 24), card(1, 10))
    spec = plan_load(wish(), CONFIG, two).spec
    assert spec.gpus == GPUChoice(("CUDA0", "CUDA1"), ("CUDA0",))
    assert (spec.gpus.only, spec.gpus.is_some, spec.gpus.is_none) == (0, False, False)
    both = plan_load(wish(), replace(CONFIG, is_spread=True), two).spec
    assert both.gpus == GPUChoice(("CUDA0", "CUDA1"), None)
    assert (both.gpus.only, both.gpus.is_some, both.tensor_split) == (None, False, ())
    by_hand = plan_load(wish(options={"tensor_split": (3.0, 1.0)}), CONFIG, two).spec
    assert (by_hand.gpus.chosen, by_hand.tensor_split) == (None, (3.0, 1.0))
    without = plan_load(wish(options={"device_policy": "cpu"}), CONFIG, two)
    assert (without.spec.gpus.is_none, without.spec.memory_limit_bytes) == (True, None)
    beyond = plan_load(wish(options={"main_gpu": 7}), CONFIG, two).spec
    assert (beyond.main_gpu, beyond.gpus.is_none) == (7, True)


def test_a_binary_with_two_backends_for_one_card() -> None:
    """The same memory does not count twice: one backend is chosen."""
    vulkan = replace(card(1, 4), library="vulkan", device="Vulkan0")
    plan = plan_load(wish(), ONE_SLOT, machine(card(0, 4), vulkan))
    assert {share.device for share in plan.split.shares} == {"CUDA0"}
    assert plan.spec.gpus == GPUChoice(("CUDA0", "Vulkan0"), ("CUDA0",))


def test_a_model_that_must_be_on_gpus() -> None:
    """The engine must not move layers to the processor to make it fit."""
    spec = plan_load(wish(options={"device_policy": "require_gpu"}), CONFIG, machine(card(0, 3))).spec
    assert (spec.must_be_on_gpus, spec.num_gpu, spec.fits_memory) == (True, 33, False)
    preferred = plan_load(wish(), CONFIG, machine(card(0, 3))).spec
    assert (preferred.must_be_on_gpus, preferred.num_gpu, preferred.fits_memory) == (False, -1, True)


@pytest.mark.parametrize(
    ("free_gib", "options", "on_cpu"), [(24, {}, False), (24, {"num_gpu": 8}, True), (2.5, {}, True)]
)
def test_projectors(free_gib: float, options: dict[str, Any], on_cpu: bool) -> None:
    """Beside all layers if there is a GiB of room, else on the processor (ollama: shouldDisableMMProjOffload)."""
    shape = replace(SHAPE, extra_bytes=600 * MIB, projector_bytes=600 * MIB)
    request = wish(shape, options=options, projector_paths=(Path("/m/p"),))
    plan = plan_load(request, ONE_SLOT, machine(card(0, free_gib)))
    assert plan.spec.projector_on_cpu is on_cpu
    if not on_cpu:
        assert plan.split.device_bytes >= 33 * 127 * MIB + 600 * MIB


def test_unified_memory_of_cuda_is_read_past_the_page_cache() -> None:
    assert plan_load(wish(), CONFIG, machine(card(0, 24, is_unified=True))).spec.direct_io
    assert not plan_load(wish(), CONFIG, machine(card(0, 24))).spec.direct_io
    apple = card(0, 24, is_unified=True, library="metal", device="MTL0")
    assert not plan_load(wish(), CONFIG, machine(apple)).spec.direct_io


@pytest.mark.parametrize(
    ("compute", "library", "expected"),
    [
        ((8, 9), "cuda", None),
        ((5, 2), "cuda", False),
        ((7, 2), "cuda", False),
        ((7, 5), "cuda", None),
        (None, "vulkan", None),
    ],
)
def test_flash_attention_by_device(
    compute: tuple[int, int] | None, library: str, expected: bool | None
) -> None:
    gpu = card(0, 24, compute=compute, library=library)
    assert plan_load(wish(), CONFIG, machine(gpu)).spec.flash_attention is expected
    asked = plan_load(wish(), SchedulerConfig(flash_attention=True), machine(gpu)).spec
    assert asked.flash_attention is True


def test_room() -> None:
    """What the engine and a driver keep is not for models; OLLAMA_GPU_OVERHEAD counts if it is more than that."""
    gpu = card(0, 10)
    assert available_bytes(gpu, 0, 0) == 10 * GIB - MARGIN
    assert available_bytes(gpu, GIB // 2, 0) == 10 * GIB - MARGIN
    assert available_bytes(gpu, 3 * GIB, 0) == 10 * GIB - (3 * 1024 + 457) * MIB
    assert available_bytes(gpu, 0, 100) == 10 * GIB - 557 * MIB
    assert available_bytes(card(0, 1), 0, 0) == 0


sizes = st.integers(0, 4 * GIB)
needs_of = st.builds(
    LayerNeeds,
    st.lists(sizes, min_size=1, max_size=60).map(tuple),
    compute_bytes=sizes,
    host_bytes=sizes,
    anywhere_bytes=sizes,
    projector_bytes=sizes,
)
some_gpus = st.lists(
    st.builds(
        lambda free, unified, library: (free, unified, library),
        st.integers(0, 100 * GIB),
        st.booleans(),
        st.sampled_from(["cuda", "vulkan"]),
    ),
    min_size=1,
    max_size=8,
).map(
    lambda entries: tuple(
        GPU(i, "g", library, 100 * GIB, free, is_unified=unified, device=f"{library}{i}")
        for i, (free, unified, library) in enumerate(entries)
    )
)


@given(needs_of, some_gpus, st.integers(0, 100), st.booleans())
def test_any_split(needs: LayerNeeds, gpus: tuple[GPU, ...], wanted: int, is_spread: bool) -> None:
    """Never more on a device than it has; each layer on one device or on the processor; the same every time."""
    available = {gpu.key: available_bytes(gpu, 0, 0) for gpu in gpus}
    used, split = choose(needs, gpus, available, wanted=wanted, is_spread=is_spread)
    assert (used, split) == choose(needs, gpus, available, wanted=wanted, is_spread=is_spread)
    assert len({gpu.library for gpu in used}) == 1
    for share in split.shares:
        assert share.count > 0
        assert share.size_bytes <= available[share.device]
        assert share.size_bytes >= sum(needs.layers[share.first : share.first + share.count])
    # The layers on devices are the last ones, in one run, in the order of the devices.
    placed_layers = [
        layer for share in split.shares for layer in range(share.first, share.first + share.count)
    ]
    assert placed_layers == list(range(len(needs.layers) - split.offloaded, len(needs.layers)))
    assert split.offloaded <= min(wanted, len(needs.layers))
    devices = [share.device for share in split.shares]
    assert devices == [gpu.key for gpu in used if gpu.key in devices]
    assert split.host_bytes >= sum(needs.layers[: len(needs.layers) - split.offloaded])


@given(needs_of, some_gpus, st.integers(1, 100))
def test_a_single_card_with_room_is_enough(needs: LayerNeeds, gpus: tuple[GPU, ...], wanted: int) -> None:
    """If all fits on one device, one device is used."""
    available = {gpu.key: available_bytes(gpu, 0, 0) for gpu in gpus}
    used, split = choose(needs, gpus, available, wanted=wanted, is_spread=False)
    wanted = min(wanted, len(needs.layers))
    alone = [share_out(needs, (gpu,), available, wanted) for gpu in gpus]
    if any(one.is_whole and not one.projector_on_cpu for one in alone):
        assert len(used) == 1
        assert split.is_whole


@given(
    st.lists(st.integers(0, 1 << 40), max_size=40),
    st.integers(-1, 1 << 20),
    st.none() | st.integers(-1, 1023),
    st.lists(st.floats(0, 1e6), max_size=4).map(tuple),
    some_gpus,
    st.sampled_from(["", "prefer_gpu", "require_gpu", "cpu"]),
    st.none() | st.integers(0, 60),
)
def test_any_plan_with_gpus(
    layers: list[int],
    num_gpu: int,
    main_gpu: int | None,
    tensor_split: tuple[float, ...],
    gpus: tuple[GPU, ...],
    policy: str,
    retry_layers: int | None,
) -> None:
    """Whatever a client asks for and a file says, the plan is one that an engine can be started with."""
    shape = replace(
        SHAPE,
        n_layer=len(layers),
        layer_bytes=tuple(layers),
        layer_kv_elements=(1024,) * len(layers),
        layer_is_windowed=(False,) * len(layers),
    )
    options = {
        "num_gpu": num_gpu,
        "main_gpu": main_gpu,
        "tensor_split": tensor_split,
        "device_policy": policy,
    }
    plan = plan_load(wish(shape, options=options), CONFIG, machine(*gpus), Retry(layers=retry_layers))
    listed = [gpu.key for gpu in gpus]
    assert list(plan.spec.gpus.listed) == listed
    assert plan.spec.gpus.chosen is None or set(plan.spec.gpus.chosen) <= set(listed)
    assert plan.is_offloaded or (plan.vram_bytes == 0 and plan.spec.gpus.is_none)
    assert plan.split.device_bytes <= plan.room_bytes
    assert len(plan.spec.tensor_split) <= max(len(listed), len(tensor_split))
