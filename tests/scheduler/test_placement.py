"""Decisions about a load: each rule as a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.devices import CPU, Machine
from corral.gpus import GPU
from corral.scheduler.choices import choose_num_batch, choose_num_ctx, choose_num_thread, lower_tier
from corral.scheduler.estimate import estimate_memory, kv_bytes, padded_context
from corral.scheduler.placement import Fit, fit, max_loaded_models, plan_load
from corral.scheduler.plan import Retry
from corral.scheduler.spec import LoadRequest, MemoryShape, SchedulerConfig
from corral.types import LoadOptions

MIB = 1 << 20
GIB = 1 << 30
CONFIG = SchedulerConfig()
# Llama 3.1 8B as Q4_K_M: 32 layers of 8 heads with 128 + 128 elements.
LLAMA_8B = MemoryShape(
    file_bytes=4_920 * MIB,
    repackable_bytes=3_800 * MIB,
    n_layer=32,
    n_embd=4096,
    n_ff=14336,
    n_vocab=128_256,
    n_ctx_train=131_072,
    kv_elements_per_token=32 * 8 * 256,
)
TINY = MemoryShape(file_bytes=20 * MIB, n_ctx_train=8192, kv_elements_per_token=1024)


def wish(shape: MemoryShape = TINY, **changes: Any) -> LoadRequest:
    options = changes.pop("options", LoadOptions())
    return LoadRequest(Path("/m/a"), "a", "a:latest", "d" * 64, options, shape=shape, **changes)


def cpu_machine(free_gib: float = 16, total_gib: float = 16) -> Machine:
    return Machine(CPU(4, 8), int(total_gib * GIB), int(free_gib * GIB))


def gpu_machine(vram_gib: float, *, count: int = 1, free_gib: float | None = None) -> Machine:
    free = vram_gib if free_gib is None else free_gib
    gpus = tuple(
        GPU(i, "RTX", "cuda", int(vram_gib * GIB), int(free * GIB), device=f"CUDA{i}") for i in range(count)
    )
    return Machine(CPU(8, 16), 64 * GIB, 60 * GIB, gpus)


@pytest.mark.parametrize(
    ("num_ctx", "config", "machine", "trained", "expected"),
    [
        (0, CONFIG, cpu_machine(), 131_072, 4096),
        (0, CONFIG, gpu_machine(22.9), 131_072, 4096),
        (0, CONFIG, gpu_machine(23), 131_072, 32_768),
        (0, CONFIG, gpu_machine(23.5, count=2), 1 << 20, 262_144),  # the tier counts all GPUs
        (0, CONFIG, cpu_machine(), 2048, 2048),
        (0, CONFIG, cpu_machine(), 0, 4096),  # the file does not say
        (0, SchedulerConfig(context_length=10_000), gpu_machine(80), 131_072, 10_000),
        (0, SchedulerConfig(context_length=10_000), cpu_machine(), 2048, 2048),
        (777, SchedulerConfig(context_length=10_000), cpu_machine(), 8192, 777),
        (100_000, CONFIG, cpu_machine(), 8192, 8192),
        (2_000_000_000, CONFIG, cpu_machine(), 8192, 8192),
        (-5, CONFIG, cpu_machine(), 8192, 4),
        (1, CONFIG, cpu_machine(), 8192, 4),
    ],
)
def test_num_ctx(
    num_ctx: int, config: SchedulerConfig, machine: Machine, trained: int, expected: int
) -> None:
    """Request over environment over VRAM tier, at least 4, at most what was trained."""
    request = wish(MemoryShape(n_ctx_train=trained), options=LoadOptions(num_ctx=num_ctx))
    assert choose_num_ctx(request, config, machine) == expected


def test_num_ctx_of_vision_models() -> None:
    """An image alone takes hundreds of tokens: at least 2048, unless the model was trained for less."""
    small = LoadOptions(num_ctx=64)
    assert choose_num_ctx(wish(options=small, has_vision=True), CONFIG, cpu_machine()) == 2048
    short = wish(MemoryShape(n_ctx_train=1024), options=small, has_vision=True)
    assert choose_num_ctx(short, CONFIG, cpu_machine()) == 1024


def test_lower_tier() -> None:
    """The automatic context goes down a step at a time."""
    assert [lower_tier(n) for n in (262_144, 32_768, 4096, 2048)] == [32_768, 4096, None, None]


@pytest.mark.parametrize(
    ("options", "changes", "machine", "num_ctx", "expected"),
    [
        (LoadOptions(), {}, cpu_machine(64), 131_072, 512),
        (LoadOptions(), {}, gpu_machine(24), 4096, 512),
        (LoadOptions(), {}, gpu_machine(24), 32_768, 1024),
        (LoadOptions(), {}, gpu_machine(24), 32_769, 2048),
        (LoadOptions(num_gpu=0), {}, gpu_machine(48), 32_768, 512),
        (LoadOptions(num_batch=64), {}, gpu_machine(48), 32_768, 64),
        (LoadOptions(num_batch=0), {}, cpu_machine(), 4096, 1),  # the engine aborts on 0
        (LoadOptions(), {"has_completion": False}, cpu_machine(), 512, 512),
        (LoadOptions(), {"has_completion": False}, cpu_machine(), 8192, 2048),
    ],
)
def test_num_batch(
    options: LoadOptions, changes: dict[str, Any], machine: Machine, num_ctx: int, expected: int
) -> None:
    """512 on a CPU, larger steps for larger contexts on GPUs, all of it for encoders."""
    request = wish(options=options, **changes)
    assert choose_num_batch(request, CONFIG, machine.gpus, num_ctx) == expected


@pytest.mark.parametrize(("predicted_gib", "expected"), [(10, 2048), (12.1, 1024), (15.1, 512), (16, 512)])
def test_num_batch_by_room(predicted_gib: float, expected: int) -> None:
    """A larger step needs room beside the model: 60 % at most for 2048, 75 % for 1024, 80 % with what it takes."""
    gpus = gpu_machine(24).gpus
    size = int(predicted_gib * GIB)
    assert choose_num_batch(wish(), CONFIG, gpus, 65_536, size, 20 * GIB) == expected


def test_num_batch_of_a_small_gpu_without_flash_attention() -> None:
    """Without flash attention the buffers of a step are large: half of it on small CUDA cards."""
    config = SchedulerConfig(flash_attention=False)
    assert choose_num_batch(wish(), config, gpu_machine(6).gpus, 8192) == 256
    assert choose_num_batch(wish(), config, gpu_machine(6).gpus, 4096) == 512
    assert choose_num_batch(wish(), config, gpu_machine(12).gpus, 8192) == 512
    assert choose_num_batch(wish(), CONFIG, gpu_machine(6).gpus, 8192) == 1024


@pytest.mark.parametrize(
    ("cpu", "wanted", "expected"),
    [
        (CPU(1, 1), 0, 1),
        (CPU(2, 2), 0, 2),
        (CPU(4, 4), 0, 4),
        (CPU(4, 8), 0, 4),
        (CPU(8, 8), 0, 7),  # no hyper-threads for the server: it gets a core
        (CPU(8, 16), 0, 8),
        (CPU(8, 16), 3, 3),
        (CPU(8, 16), 64, 16),  # more threads than cores only wait for each other
    ],
)
def test_num_thread(cpu: CPU, wanted: int, expected: int) -> None:
    """One thread a physical core; a request may ask for less, or for hyper-threads, never for more."""
    machine = Machine(cpu, GIB, GIB)
    assert choose_num_thread(wish(options=LoadOptions(num_thread=wanted)), machine) == expected


def test_a_small_model_runs_on_one_thread() -> None:
    """Two would spend their time waiting for each other; who asks for more gets it."""
    machine = Machine(CPU(8, 16), GIB, GIB)
    for size_bytes, wanted, expected in ((4 * MIB, 0, 1), (4 * MIB, 2, 2), (17 * MIB, 0, 8)):
        shape = MemoryShape(file_bytes=size_bytes)
        request = wish(shape, options=LoadOptions(num_thread=wanted))
        assert choose_num_thread(request, machine) == expected


@pytest.mark.parametrize(
    ("shape", "changes", "config", "free_gib", "expected"),
    [
        (TINY, {}, CONFIG, 16, 4),
        (TINY, {}, CONFIG, 0.25, 2),
        (TINY, {}, CONFIG, 0.1, 1),
        (LLAMA_8B, {}, CONFIG, 64, 4),
        (LLAMA_8B, {}, CONFIG, 10, 1),  # more than half of what is free
        (LLAMA_8B, {"options": LoadOptions(num_ctx=16_384)}, CONFIG, 64, 2),  # 2 GiB for each further slot
        (LLAMA_8B, {"options": LoadOptions(num_ctx=32_768)}, CONFIG, 64, 1),
        (TINY, {}, SchedulerConfig(num_parallel=7), 0.1, 7),  # the settings are an order
        (TINY, {"has_completion": False}, SchedulerConfig(num_parallel=7), 16, 8),
        (TINY, {"family": "qwen3next"}, SchedulerConfig(num_parallel=7), 16, 1),
        (TINY, {"family": "lfm2moe"}, CONFIG, 16, 1),
    ],
)
def test_num_parallel(
    shape: MemoryShape, changes: dict[str, Any], config: SchedulerConfig, free_gib: float, expected: int
) -> None:
    """Four slots where they are cheap, else two, else one; one where the model allows no more."""
    plan = plan_load(wish(shape, **changes), config, cpu_machine(free_gib, 64))
    assert plan.spec.num_parallel == expected


def test_caches_that_cannot_be_cut() -> None:
    """The engine keeps copies of windows and of recurrent states."""
    for changes, expected in (({}, False), ({"family": "lfm2"}, True)):
        plan = plan_load(wish(TINY, **changes), CONFIG, cpu_machine())
        assert plan.spec.keeps_checkpoints == expected
    windowed = MemoryShape(file_bytes=MIB, window_tokens=512)
    assert plan_load(wish(windowed), CONFIG, cpu_machine()).spec.keeps_checkpoints


def test_slots_of_an_encoder_take_no_cache() -> None:
    """It gets all of them, whatever its context is; one that caches gets as many as are cheap."""
    for is_encoder, expected in ((True, 8), (False, 1)):
        shape = MemoryShape(
            file_bytes=300 * MIB, n_layer=12, kv_elements_per_token=18_432, is_encoder=is_encoder
        )
        wanted = wish(shape, has_completion=False, is_embedding=True, options=LoadOptions(num_ctx=32_768))
        assert plan_load(wanted, CONFIG, cpu_machine(64, 64)).spec.num_parallel == expected


def test_retry_gives_up_slots_and_context() -> None:
    """The second attempt: one slot, the lower context, and no limit but the machine's."""
    request = wish(LLAMA_8B)
    machine = gpu_machine(24)
    assert plan_load(request, CONFIG, machine).spec.num_ctx == 32_768
    plan = plan_load(request, CONFIG, machine, Retry(4096))
    assert (plan.spec.num_ctx, plan.spec.num_parallel) == (4096, 1)
    explicit = wish(LLAMA_8B, options=LoadOptions(num_ctx=9000))
    assert plan_load(explicit, CONFIG, machine, Retry(4096)).spec.num_ctx == 9000
    assert plan_load(request, CONFIG, cpu_machine(), Retry(None)).spec.memory_limit_bytes == 16 * GIB


def test_memory_limit() -> None:
    """A child's private memory is bounded well above the prediction, never above the machine, not with a GPU."""
    plan = plan_load(wish(), CONFIG, cpu_machine(64, 64))
    assert (
        plan.spec.memory_limit_bytes
        == 2 * plan.estimate.private_bytes + (plan.spec.cache_ram_mib << 20) + GIB
    )
    assert plan_load(wish(LLAMA_8B), CONFIG, cpu_machine(8, 8)).spec.memory_limit_bytes == 8 * GIB
    assert plan_load(wish(), CONFIG, gpu_machine(24)).spec.memory_limit_bytes is None
    assert plan_load(wish(), CONFIG, Machine(CPU(1, 1), 0, 0)).spec.memory_limit_bytes is None


@pytest.mark.parametrize(
    ("changes", "config", "machine", "expected_mib"),
    [
        # One slot of 4096 tokens has 512 MiB, the automatic four have 2 GiB.
        ({}, {}, cpu_machine(64, 64), 4096),  # twice that
        ({}, {}, cpu_machine(11, 16), 1024),  # one slot now
        ({}, {}, cpu_machine(8, 16), 623),  # what is left of the share that a model may take
        ({}, {}, cpu_machine(1, 16), 0),
        ({"options": LoadOptions(num_ctx=131_072)}, {}, cpu_machine(256, 256), 8192),
        ({}, {}, gpu_machine(80), 4096),  # beside a GPU it lies in the main memory
        ({}, {"cache_ram_mib": 0}, cpu_machine(64, 64), 0),
        ({}, {"cache_ram_mib": 77}, cpu_machine(1, 16), 77),
        ({"has_completion": False}, {}, cpu_machine(64, 64), 0),
    ],
)
def test_memory_for_prompts_that_no_slot_holds(
    changes: dict[str, Any], config: dict[str, Any], machine: Machine, expected_mib: int
) -> None:
    """Bounded by the cache of the model, by a quarter of the free memory, and by what makes the model fit."""
    options = {"options": LoadOptions(num_ctx=4096), **changes}
    plan = plan_load(wish(LLAMA_8B, **options), SchedulerConfig(**config), machine)
    assert plan.spec.cache_ram_mib == pytest.approx(expected_mib, abs=40)


def test_a_small_model_has_memory_for_prompts_too() -> None:
    """Its cache is nearly nothing, and many chats fit into the least that is given."""
    plan = plan_load(wish(replace(TINY, kv_elements_per_token=1)), CONFIG, cpu_machine(64, 64))
    assert plan.spec.cache_ram_mib == 64


def test_the_cache_of_prompts_never_makes_a_model_not_fit() -> None:
    """What fits without it fits with it, and the limit of the child leaves room for it."""
    for free_gib in range(1, 65):
        machine = cpu_machine(free_gib, 64)
        plan = plan_load(wish(LLAMA_8B), CONFIG, machine)
        needed = plan.estimate.total_bytes + (plan.spec.cache_ram_mib << 20)
        assert plan.spec.cache_ram_mib == 0 or needed * 5 <= machine.free_bytes * 4
        assert plan.spec.memory_limit_bytes is not None
        assert plan.spec.memory_limit_bytes >= min(
            plan.estimate.private_bytes + (plan.spec.cache_ram_mib << 20), machine.total_bytes
        )


@pytest.mark.parametrize(
    ("cpu", "config", "gpus", "expected"),
    [
        (CPU(4, 4), {}, False, None),
        (CPU(4, 4, is_arm=True), {}, False, False),
        (CPU(4, 4, is_arm=True), {"flash_attention": True}, False, True),
        (CPU(4, 4, is_arm=True), {"kv_cache_type": "q8_0"}, False, None),  # it needs it
        (CPU(4, 4, is_arm=True), {}, True, None),
        (CPU(4, 4), {"flash_attention": False}, False, False),
    ],
)
def test_flash_attention(cpu: CPU, config: dict[str, Any], gpus: bool, expected: bool | None) -> None:
    """The engine's choice, but for the processors of Arm, where it is slow."""
    machine = replace(gpu_machine(24) if gpus else cpu_machine(), cpu=cpu)
    assert plan_load(wish(), SchedulerConfig(**config), machine).spec.flash_attention is expected


def test_spec_carries_the_request() -> None:
    """What is not decided here passes through."""
    options = LoadOptions(num_gpu=7, main_gpu=1, use_mmap=False, num_thread=1)
    request = wish(
        options=options,
        adapter_paths=(Path("/m/lora"),),
        projector_paths=(Path("/m/proj"),),
        draft_path=Path("/m/draft"),
        context_shift=False,
        is_embedding=True,
        pooling="mean",
    )
    config = SchedulerConfig(kv_cache_type="q8_0", flash_attention=True)
    spec = plan_load(request, config, cpu_machine()).spec
    assert (spec.num_gpu, spec.main_gpu, spec.use_mmap, spec.num_thread) == (7, 1, False, 1)
    assert (spec.adapter_paths, spec.projector_paths) == ((Path("/m/lora"),), (Path("/m/proj"),))
    assert (spec.draft_path, spec.context_shift) == (Path("/m/draft"), False)
    assert (spec.is_embedding, spec.pooling) == (True, "mean")
    assert (spec.kv_cache_type, spec.flash_attention) == ("q8_0", True)


def test_offloaded_models_count_vram() -> None:
    """With a GPU the prediction is held against its memory; `num_gpu` 0 stays in the machine's."""
    plan = plan_load(wish(LLAMA_8B), CONFIG, gpu_machine(24))
    assert plan.is_offloaded
    assert plan.split.is_whole
    # Of 24 GiB, 1 GiB and what a driver takes stay free.
    assert fit(plan, gpu_machine(24)) == Fit(plan.vram_bytes, 24 * GIB - (1024 + 457) * MIB)
    assert plan.spec.num_ubatch == plan.spec.num_batch == 1024
    on_cpu = plan_load(wish(LLAMA_8B, options=LoadOptions(num_gpu=0)), CONFIG, gpu_machine(24))
    assert (on_cpu.is_offloaded, on_cpu.vram_bytes) == (False, 0)
    assert (on_cpu.spec.num_gpu, on_cpu.spec.gpus.is_none, on_cpu.spec.num_ubatch) == (0, True, 0)
    assert fit(on_cpu, gpu_machine(24)).is_enough


def test_a_gpu_without_room() -> None:
    """The engine is still asked to use it, and the plan says that not all layers are expected there."""
    full = gpu_machine(24, free_gib=2)
    plan = plan_load(wish(LLAMA_8B), CONFIG, full)
    assert plan.is_offloaded
    assert (plan.split.offloaded, plan.split.layer_count) == (0, 33)
    assert not fit(plan, full).is_enough
    assert plan.spec.num_gpu == -1


def test_gpu_overhead_is_reserved() -> None:
    """OLLAMA_GPU_OVERHEAD bytes of each GPU are nobody's, in the plan and for the engine."""
    machine = gpu_machine(12)
    plan = plan_load(wish(LLAMA_8B), CONFIG, machine)
    assert fit(plan, machine).is_enough
    assert plan.spec.fit_target_mib == 0
    with_less = plan_load(wish(LLAMA_8B), SchedulerConfig(gpu_overhead_bytes=8 * GIB), machine)
    assert not fit(with_less, machine).is_enough
    assert with_less.spec.fit_target_mib == 8192
    small = plan_load(wish(LLAMA_8B), SchedulerConfig(gpu_overhead_bytes=GIB), machine)
    assert small.spec.fit_target_mib == 0  # the engine leaves that anyway


def test_max_loaded_models() -> None:
    """Automatic: three, and three for each GPU."""
    assert max_loaded_models(CONFIG, cpu_machine()) == 3
    assert max_loaded_models(CONFIG, gpu_machine(8, count=2)) == 6
    assert max_loaded_models(SchedulerConfig(max_loaded_models=1), gpu_machine(8, count=2)) == 1


# --- estimate ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cache_type", "expected_mib"),
    [("", 512), ("f16", 512), ("bf16", 512), ("f32", 1024), ("q8_0", 272), ("q4_0", 144), ("nonsense", 512)],
)
def test_kv_bytes_are_exact(cache_type: str, expected_mib: int) -> None:
    """4096 tokens of an 8B model take 512 MiB as f16; quantised caches count their blocks."""
    assert kv_bytes(LLAMA_8B, 4096, cache_type) == expected_mib * MIB


def test_context_is_allocated_in_steps() -> None:
    """The engine rounds a slot's context up to 256."""
    assert [padded_context(n) for n in (4, 256, 257, 777)] == [256, 256, 512, 1024]


def test_sliding_windows_keep_a_window() -> None:
    """Layers with a window stop growing with the context."""
    shape = MemoryShape(kv_elements_per_token=100, window_elements_per_token=500, window_tokens=1024)
    assert kv_bytes(shape, 1024, "f16") == 600 * 1024 * 2
    assert kv_bytes(shape, 32_768, "f16") == (100 * 32_768 + 500 * 1536) * 2


def test_weights_count_once() -> None:
    """What the engine copies lies in its own memory instead of the file's mapping; without mmap all of it does."""

    def predict(**changes: bool) -> tuple[int, int]:
        flags = {"is_repacked": True, "uses_mmap": True, **changes}
        e = estimate_memory(LLAMA_8B, num_ctx=4096, num_parallel=1, ubatch=512, cache_type="", **flags)
        return e.total_bytes, e.private_bytes

    total, private = predict()
    assert total - private == (4920 - 3800) * MIB
    assert predict(is_repacked=False) == (total, private - 3800 * MIB)
    assert predict(uses_mmap=False) == (total, total)
    assert predict(uses_mmap=False, is_repacked=False) == (total, total)


@pytest.mark.parametrize(
    ("repackable_mib", "options", "machine", "expected"),
    [
        (3800, {}, cpu_machine(64, 64), True),
        (1000, {}, cpu_machine(64, 64), False),  # most of its pages are in use
        (0, {}, cpu_machine(64, 64), False),
        (3800, {"use_mmap": False}, cpu_machine(64, 64), False),
        (3800, {}, gpu_machine(80), False),
        (3800, {"num_gpu": 0}, gpu_machine(80), True),
    ],
)
def test_pages_are_given_back_where_they_were_copied(
    repackable_mib: int, options: dict[str, Any], machine: Machine, expected: bool
) -> None:
    shape = replace(LLAMA_8B, repackable_bytes=repackable_mib * MIB)
    plan = plan_load(wish(shape, options=LoadOptions(**options)), CONFIG, machine)
    assert plan.spec.gives_back is expected


def test_only_a_preload_warms_up() -> None:
    """Whoever waits for an answer does not wait for a computation that warms up."""
    for is_preload in (False, True):
        plan = plan_load(wish(is_preload=is_preload), CONFIG, cpu_machine(64, 64))
        assert plan.spec.warms_up is is_preload
    assert wish(is_preload=True) == wish()


@given(
    st.builds(
        MemoryShape,
        **{
            name: st.integers(0, 1 << 40)
            for name in ("file_bytes", "n_embd", "n_ff", "n_vocab", "n_ctx_train", "kv_elements_per_token")
        },
    ),
    st.integers(-(1 << 31), 1 << 31),
    st.none() | st.integers(-5, 1 << 31),
    st.integers(0, 1 << 45),
)
def test_any_plan_is_startable(
    shape: MemoryShape, num_ctx: int, num_batch: int | None, free_bytes: int
) -> None:
    """Whatever a file or a client says, the numbers given to the engine are ones that it survives."""
    request = wish(shape, options=LoadOptions(num_ctx=num_ctx, num_batch=num_batch))
    spec = plan_load(request, CONFIG, Machine(CPU(2, 2), 1 << 40, free_bytes)).spec
    assert spec.num_ctx >= 1
    assert spec.num_parallel in {1, 2, 4}
    assert spec.num_batch >= 1
    assert spec.num_thread >= 1
    assert spec.memory_limit_bytes is None or 0 < spec.memory_limit_bytes <= 1 << 40


def test_a_fit_target_of_the_settings_is_the_engines() -> None:
    """Before the overhead, which stays free at least."""
    gpu = GPU(0, "card", "cuda", 80 * GIB, 80 * GIB, device="CUDA0")
    here = Machine(CPU(8, 16), 64 * GIB, 60 * GIB, (gpu,))
    for mib, overhead in ((1, 0), (3000, 8 * GIB)):
        config = SchedulerConfig(fit_target_mib=mib, gpu_overhead_bytes=overhead)
        assert plan_load(wish(), config, here).spec.fit_target_mib == mib


def test_memory_that_a_gpu_shares_with_the_machine_counts_once() -> None:
    """What is on such a device and what is beside it come out of the same memory."""
    gpu = GPU(0, "chip", "metal", 48 * GIB, 40 * GIB, is_unified=True, device="MTL0")
    here = Machine(CPU(8, 16), 64 * GIB, 10 * GIB, (gpu,))
    plan = plan_load(wish(), SchedulerConfig(), here)
    assert plan.is_offloaded and plan.split.is_whole
    found = fit(plan, here)
    assert found == Fit(plan.split.device_bytes + plan.split.host_bytes, 10 * GIB)
    assert found.is_enough
    assert not fit(plan, replace(here, free_bytes=found.needed_bytes * 5 // 4 - 1)).is_enough
    assert fit(plan, replace(here, free_bytes=found.needed_bytes * 5 // 4 + 1)).is_enough
