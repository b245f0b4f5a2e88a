"""What Corral relies on in the engine without its promise: a new wheel that changes it fails here."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import pytest
import xllamacpp

from corral.runner.compat_llama_server import STATE_PREFIX, ask_for_states, flush_log, read_state


@pytest.mark.parametrize("text", [STATE_PREFIX, b"LLAMA_SERVER_ROUTER_PORT"])
def test_the_wheel_knows_the_words_of_router_mode(text: bytes) -> None:
    with (
        Path(xllamacpp.xllamacpp.__file__).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        assert content.find(text) >= 0


def test_the_port_is_set() -> None:
    environment: dict[str, str] = {}
    ask_for_states(environment)
    assert environment == {"LLAMA_SERVER_ROUTER_PORT": "1"}


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (b'{"state":"loading","payload":{"value":0.25,"stages":["text_model"]}}', ("loading", 0.25)),
        (b'{"state":"loading","payload":{"value":1}}', ("loading", 1.0)),
        (b'{"state":"ready","payload":{"model":"x"}}', ("ready", 0.0)),
        (b'{"state":"ready","payload":null}', ("ready", 0.0)),
        (b'{"state":"ready","payload":[1]}', ("ready", 0.0)),
        (b'{"state":"sleeping"}', ("sleeping", 0.0)),
        (b'{"payload":{}}', None),
        (b'["ready"]', None),
        (b'"ready"', None),
        (b"ready", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_states(text: bytes, state: tuple[str, float] | None) -> None:
    assert read_state(STATE_PREFIX + text + b"\n") == state


def test_other_lines_report_no_state() -> None:
    assert read_state(b'{"state":"ready"}\n') is None


def test_the_wheel_exports_its_log() -> None:
    """The reason of a failed load is in there, and llama.cpp writes it from a thread."""
    assert flush_log(xllamacpp)


def test_a_wheel_without_the_log_is_left_alone() -> None:
    class Package:
        xllamacpp = ctypes  # a module whose file is no library

    assert not flush_log(Package)


def test_the_wheel_takes_what_a_start_order_sets() -> None:
    """Names of parameters that `child.py` sets, and devices with a kind that it compares."""
    parameters = xllamacpp.CommonParams()
    assert parameters.warmup is True
    assert parameters.fit_params is True
    kinds = xllamacpp.ggml_backend_dev_type
    assert kinds.GGML_BACKEND_DEVICE_TYPE_CPU in {device["type"] for device in xllamacpp.get_device_info()}
    assert kinds.GGML_BACKEND_DEVICE_TYPE_ACCEL not in {
        kinds.GGML_BACKEND_DEVICE_TYPE_GPU,
        kinds.GGML_BACKEND_DEVICE_TYPE_IGPU,
    }
