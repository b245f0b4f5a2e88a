"""What is said of a model that does not fit."""

from __future__ import annotations

from pathlib import Path

from corral.devices import CPU, Machine
from corral.errors import RunnerStartError
from corral.gpus import GPU
from corral.runner.interface import RunnerSpec
from corral.scheduler.plan import Plan
from corral.scheduler.shortage import shortage
from corral.scheduler.spec import Estimate

GIB = 1 << 30
CAUSE = RunnerStartError("llama-server process has terminated: exit status 3: std::bad_alloc")


def plan(needed: int, *, num_parallel: int = 1, is_offloaded: bool = False) -> Plan:
    spec = RunnerSpec(Path("m"), "m", num_ctx=4096, num_parallel=num_parallel)
    return Plan(spec, Estimate(needed, needed, 0), is_offloaded=is_offloaded)


def test_it_says_what_is_needed_what_there_is_and_what_helps() -> None:
    machine = Machine(CPU(4, 4), 8 * GIB, GIB // 2)
    error = shortage(plan(3 * GIB, num_parallel=4), machine, CAUSE, has_others=True)
    assert str(error) == (
        "model requires more system memory (3.0 GiB) than is available (512.0 MiB); less is needed with a smaller"
        " num_ctx (now 4096), a smaller OLLAMA_NUM_PARALLEL (now 4), OLLAMA_KV_CACHE_TYPE=q8_0, a smaller model"
        " (fewer parameters, lower quantisation) or fewer models at a time (OLLAMA_MAX_LOADED_MODELS)"
    )
    assert (error.needed_bytes, error.free_bytes) == (3 * GIB, GIB // 2)


def test_a_prediction_that_was_wrong_is_not_held_against_the_machine() -> None:
    """Enough seemed to be there, and the engine ran out all the same: its words are given."""
    text = str(shortage(plan(GIB), Machine(CPU(4, 4), 8 * GIB, 2 * GIB), CAUSE, has_others=False))
    assert text.startswith("the engine ran out of memory while it loaded the model (about 1.0 GiB")
    assert "2.0 GiB free): llama-server process has terminated: exit status 3: std::bad_alloc; less" in text
    assert "OLLAMA_MAX_LOADED_MODELS" not in text


def test_a_gpu_has_memory_of_its_own() -> None:
    gpu = GPU(0, "g", "cuda", 8 * GIB, 2 * GIB)
    text = str(
        shortage(
            plan(4 * GIB, is_offloaded=True),
            Machine(CPU(4, 4), 64 * GIB, 64 * GIB, (gpu,)),
            CAUSE,
            has_others=False,
        )
    )
    assert text.startswith("model requires more GPU memory (4.0 GiB) than is available (2.0 GiB)")
