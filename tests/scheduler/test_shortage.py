"""What is said of a model that does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from corral.devices import CPU, Machine
from corral.errors import CorralError, RunnerStartError
from corral.gpus import GPU
from corral.runner.interface import RunnerSpec
from corral.scheduler.plan import Plan
from corral.scheduler.shortage import is_out_of_memory, kept_beside, no_device, shortage
from corral.scheduler.spec import Estimate

GIB = 1 << 30
CAUSE = RunnerStartError("llama-server process has terminated: exit status 3: std::bad_alloc")


def plan(needed: int, *, num_parallel: int = 1, is_offloaded: bool = False) -> Plan:
    spec = RunnerSpec(Path("m"), "m", num_ctx=4096, num_parallel=num_parallel)
    return Plan(spec, Estimate(needed, needed, 0), is_offloaded=is_offloaded)


def machine_of(free_bytes: int, *gpus: GPU) -> Machine:
    return Machine(CPU(4, 4), 8 * GIB, free_bytes, gpus)


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


def test_what_is_given_up_already_does_not_help() -> None:
    """One slot, and a cache that is small as it is."""
    small = replace(plan(3 * GIB).spec, kv_cache_type="q4_0")
    text = str(shortage(replace(plan(3 * GIB), spec=small), machine_of(GIB), CAUSE, has_others=False))
    assert text.endswith(
        "less is needed with a smaller num_ctx (now 4096) or a smaller model (fewer parameters, lower"
        " quantisation)"
    )


def test_as_much_as_there_is_is_not_too_much() -> None:
    text = str(shortage(plan(GIB), machine_of(GIB), CAUSE, has_others=False))
    assert text.startswith("the engine ran out of memory while it loaded the model (about 1.0 GiB of system")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0.0 MiB"),
        (GIB // 1024, "1.0 MiB"),
        (GIB - 1, "1024.0 MiB"),
        (GIB, "1.0 GiB"),
        (GIB * 3 // 2, "1.5 GiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert f"({text} of system memory" in str(
        shortage(plan(size), machine_of(8 * GIB), CAUSE, has_others=False)
    ).replace("about ", "")


def test_those_that_stay_are_named() -> None:
    staying = [("b:latest", "agents"), ("c:latest", "always")]
    error = kept_beside("a:latest", plan(3 * GIB), machine_of(GIB), staying)
    assert str(error) == (
        "a:latest needs 3.0 GiB of memory, 1.0 GiB are free, and these do not make room for it:"
        " b:latest (group agents), c:latest (group always)"
    )
    assert (error.needed_bytes, error.free_bytes) == (3 * GIB, GIB)
    assert "corral stop" in error.hint and "num_ctx (now 4096)" in error.hint
    gpu = GPU(0, "g", "cuda", 8 * GIB, 2 * GIB)
    error = kept_beside("a:latest", plan(3 * GIB, is_offloaded=True), machine_of(GIB, gpu), staying)
    assert "needs 3.0 GiB of GPU memory, 2.0 GiB are free" in str(error)
    assert error.free_bytes == 2 * GIB


def test_no_device_that_could_be_used() -> None:
    cards = [GPU(number, f"card {number}", "cuda", 8 * GIB, GIB) for number in (0, 1)]
    error = no_device("a:latest", machine_of(GIB, *cards))
    assert str(error) == (
        "a:latest must run on a GPU (device_policy is require_gpu), and no GPU has room for it (found: card 0,"
        " card 1); corral doctor says which GPUs are used"
    )
    assert (error.needed_bytes, error.free_bytes) == (0, 2 * GIB)
    assert "(found: none that the engine can use)" in str(no_device("a:latest", machine_of(GIB)))


@pytest.mark.parametrize(
    ("text", "log_tail", "exit_code", "is_out"),
    [
        ("exit status 1", "", 1, False),
        ("exit status 1", "", None, False),
        ("killed", "", -9, True),
        ("ended", "", -11, False),
        ("exit status 1", "ggml: CUDA error: Out Of Memory", 1, True),
        ("std::bad_alloc", "", 3, True),
        ("vk::Device: ErrorOutOfDeviceMemory", "", 1, True),
        ("Resource temporarily unavailable", "", 1, True),
    ],
)
def test_how_a_lack_of_memory_is_known(text: str, log_tail: str, exit_code: int | None, is_out: bool) -> None:
    error = RunnerStartError(text, exit_code=exit_code, log_tail=log_tail)
    assert is_out_of_memory(error) is is_out


def test_errors_of_other_kinds_say_it_too() -> None:
    assert is_out_of_memory(CorralError("out of memory"))
    assert not is_out_of_memory(CorralError("no such file"))
