"""Child processes get what libraries and drivers need, and no secret."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.childenv import child_environment, worker_environment
from corral.config import Settings
from corral.runner.engines.environment import engine_variables
from tests.conftest import Server

SECRETS = {
    "HF_TOKEN": "hf-TOPSECRET",
    "AWS_SECRET_ACCESS_KEY": "aws-TOPSECRET",
    "https_proxy": "http://bob:proxy-TOPSECRET@127.0.0.1:1",
    "NVIDIA_API_KEY": "ngc-TOPSECRET",
    "LLAMA_ARG_HF_TOKEN": "llama-TOPSECRET",
    "OPENAI_API_KEY": "sk-TOPSECRET",
}
NEEDED = {
    "PATH": "/bin",
    "HOME": "/home/x",
    "LC_ALL": "C",
    "LD_LIBRARY_PATH": "/lib",
    "CUDA_VISIBLE_DEVICES": "1",
    "HIP_VISIBLE_DEVICES": "0",
    "HSA_OVERRIDE_GFX_VERSION": "10.3.0",
    "GGML_VK_VISIBLE_DEVICES": "0",
    "VK_ICD_FILENAMES": "/x.json",
    "OMP_NUM_THREADS": "2",
    "GOMP_SPINCOUNT": "9",
}


def test_what_is_needed_and_what_is_not() -> None:
    assert child_environment((), {**SECRETS, **NEEDED, "EDITOR": "vi", "LLAMA_ARG_CTX_SIZE": "1"}) == NEEDED
    assert worker_environment({**SECRETS, **NEEDED}) == {"LD_LIBRARY_PATH": "/lib"}


@pytest.mark.slow
@given(st.dictionaries(st.from_regex(r"(CUDA|GGML|HSA|LC|X)_[A-Z_]{0,12}", fullmatch=True), st.just("x")))
def test_no_name_of_a_secret_passes(env: dict[str, str]) -> None:
    for name in child_environment((), env):
        assert not any(word in name for word in ("KEY", "TOKEN", "SECRET", "PASS", "AUTH"))


def test_names_that_somebody_wants_passed() -> None:
    """By name or by pattern; whoever writes them down means them."""
    env = {"FOO_A": "1", "MY_KEY": "2", "BAR": "3"}
    assert child_environment(("FOO_*", "MY_KEY"), env) == {"FOO_A": "1", "MY_KEY": "2"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {}),
        ({"CORRAL_ENGINE_ENV": "FOO_*"}, {"FOO_A": "1"}),
        ({"OLLAMA_VULKAN": "0"}, {"GGML_VK_VISIBLE_DEVICES": ""}),
        ({"OLLAMA_LIBRARY_PATH": "/opt/l"}, {"LD_LIBRARY_PATH": "/opt/l:/lib"}),
        (
            {"OLLAMA_LLM_LIBRARY": "cpu_avx2"},
            {
                "CUDA_VISIBLE_DEVICES": "-1",
                "ROCR_VISIBLE_DEVICES": "-1",
                "HIP_VISIBLE_DEVICES": "-1",
                "GGML_VK_VISIBLE_DEVICES": "",
            },
        ),
        ({"OLLAMA_LLM_LIBRARY": "vulkan"}, {
            "CUDA_VISIBLE_DEVICES": "-1", "ROCR_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"
        }),
        ({"OLLAMA_LLM_LIBRARY": "cuda_v13"}, {
            "ROCR_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1", "GGML_VK_VISIBLE_DEVICES": ""
        }),
    ],
)  # fmt: skip
def test_settings_that_reach_the_engine(
    settings: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    env = {**settings, "FOO_A": "1", "LD_LIBRARY_PATH": "/lib"}
    assert engine_variables(Settings.from_env(env), env) == expected


def test_no_setting_of_ollama_is_without_effect_in_silence() -> None:
    """Those that choose libraries and devices, too."""
    names = (
        "OLLAMA_DEBUG_LOG_REQUESTS OLLAMA_SCHED_SPREAD OLLAMA_LIBRARY_PATH OLLAMA_IGPU_ENABLE OLLAMA_VULKAN"
        " OLLAMA_LLM_LIBRARY OLLAMA_MAX_TRANSFER_STREAMS LLAMA_ARG_FIT LLAMA_ARG_FIT_TARGET"
    ).split()
    assert Settings.from_env(dict.fromkeys(names, "1")).warnings == ()
    assert Settings.from_env({"OLLAMA_SCHED_SPREAD": "1"}).is_spread is True
    assert Settings.from_env({"OLLAMA_SCHED_SPREAD": "0"}).is_spread is False
    assert Settings.from_env({"LLAMA_ARG_FIT": "off"}).fits_memory is False
    assert Settings.from_env({"LLAMA_ARG_FIT": "on"}).fits_memory is True


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at processes through /proc")
def test_an_engine_holds_no_secret(start_server: Callable[..., Server]) -> None:
    server = start_server(**SECRETS, no_proxy="127.0.0.1", OMP_WAIT_POLICY="passive")
    server.create("say", "say")
    server.post(
        "/api/generate", {"model": "say", "prompt": "a", "stream": False, "options": {"num_predict": 1}}
    )
    (child, *_) = [
        pid for pid in server.children() if "runner.child" in Path(f"/proc/{pid}/cmdline").read_text()
    ]
    assert "TOPSECRET" not in environment_of(child)
    assert "OMP_WAIT_POLICY=passive" in environment_of(child)


def test_bodies_of_requests_are_kept_on_request(start_server: Callable[..., Server]) -> None:
    """A body and a script that sends it again, for inference only; nobody else may read them."""
    server = start_server(OLLAMA_DEBUG_LOG_REQUESTS="1")
    server.create("say", "say")
    body = {"model": "say", "prompt": "now A", "stream": False, "options": {"num_predict": 1}}
    server.post("/api/generate", body)
    server.post("/api/show", {"model": "say"})
    (line,) = [line for line in server.log if "bodies of inference requests" in line]
    folder = Path(line.rsplit(" ", 1)[1].strip())
    try:
        assert folder.stat().st_mode & 0o777 == 0o700
        data, script = sorted(folder.iterdir())
        assert (data.suffix, script.suffix) == (".json", ".sh")
        assert b'"prompt": "now A"' in data.read_bytes()
        assert data.stat().st_mode & 0o777 == 0o600
        assert f"http://127.0.0.1:{server.port}/api/generate" in script.read_text()
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
