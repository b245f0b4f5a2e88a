"""The table of options: what each value becomes, which are refused, and that none of them harms the server."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import InvalidRequestError, OptionError
from corral.inference.options import parse_options, requested_num_ctx
from corral.runner.interface import CompletionRequest, EngineChoice, RunnerSpec, Speculation
from corral.runner.llama_server import completion_body, start_order
from corral.types import LoadOptions, SamplingOptions
from tests.conftest import Server

INTEGERS = (
    "num_ctx num_batch num_gpu main_gpu num_thread draft_num_predict num_keep seed num_predict top_k repeat_last_n"
).split()
FLOATS = ("temperature top_p min_p typical_p repeat_penalty presence_penalty frequency_penalty").split()


def one(name: str, value: Any) -> Any:
    load, sampling = parse_options({}, {name: value})
    return getattr(load, name) if hasattr(load, name) else getattr(sampling, name)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("num_gpu", 1e308, 1 << 20),
        ("num_gpu", -7, -1),
        ("num_ctx", 10**400, 1 << 26),
        ("num_ctx", 1.9, 1),
        ("num_batch", -5, 1),
        ("num_keep", -5, -1),
        ("top_k", -1, 0),
        ("top_k", 1e30, 2**31 - 1),
        ("repeat_last_n", -1, -1),
        ("repeat_last_n", 1e20, 2**31 - 1),
        ("num_predict", -2, -1),
        ("seed", -1, -1),
        ("seed", 42, 42),
        ("seed", 99999999999999999999, 99999999999999999999 % 2**32),
        ("seed", 2**32 - 1, 2**32 - 2),
        ("typical_p", -3, 0.0),
        ("temperature", -1, -1.0),
        ("stop", ["a", "", "b"], ("a", "", "b")),
    ],
)
def test_a_value_and_what_it_means(name: str, value: Any, found: Any) -> None:
    assert one(name, value) == found
    assert type(one(name, value)) is type(found)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("repeat_last_n", -2, "must be -1 or more"),
        ("repeat_penalty", 0, "must be greater than 0"),
        ("repeat_penalty", 1e-45, "must be greater than 0"),
        ("main_gpu", 1e308, "between -1 and 1023"),
        ("temperature", 1e308, "finite number of 32 bits"),
        ("top_p", 10**400, "finite number of 32 bits"),
        ("min_p", math.nan, "finite number of 32 bits"),
        ("presence_penalty", -math.inf, "finite number of 32 bits"),
        ("stop", [str(i) for i in range(10**5)], "at most 1024 strings"),
        ("stop", ["a" * 10**6], "at most 1024 strings of 65536"),
    ],
)
def test_values_without_a_meaning(name: str, value: Any, words: str) -> None:
    """The caller is told; the same value stored in a model is left out, so that the model can run."""
    with pytest.raises(InvalidRequestError, match=words) as refused:
        parse_options({}, {name: value})
    assert not isinstance(refused.value, OptionError)
    assert parse_options({name: value}, {}) == (LoadOptions(), SamplingOptions())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_a_number_is_not_an_integer(value: float) -> None:
    for name in INTEGERS:
        with pytest.raises(OptionError, match="must be of type integer"):
            parse_options({}, {name: value})


_ANY_NUMBER = st.integers(-(10**30), 10**30) | st.floats() | st.just(10**400)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*INTEGERS, *FLOATS], _ANY_NUMBER)))
def test_the_engine_gets_numbers_that_it_can_hold(stored: dict[str, float]) -> None:
    """Whatever a model's parameters say: integers of 32 bits, finite floats, a body and an order that can be sent."""
    stored = {
        name: v for name, v in stored.items() if name in FLOATS or isinstance(v, int) or math.isfinite(v)
    }
    load, sampling = parse_options(stored, {})
    spec = RunnerSpec(
        weights_path=Path("m"),
        weights_key="m",
        num_ctx=max(load.num_ctx, 4),
        num_batch=load.num_batch or 512,
        num_gpu=load.num_gpu,
        main_gpu=load.main_gpu,
        num_thread=load.num_thread,
    )
    order = start_order(spec, EngineChoice(), socket_path="s", key="k")
    body = completion_body(CompletionRequest("x", sampling), 64)
    assert order["num_batch"] >= 2
    assert body["repeat_last_n"] <= 64
    for value in [*order.values(), *body.values()]:
        if isinstance(value, int):
            assert -(2**31) <= value < 2**32
        if isinstance(value, float):
            assert abs(value) < 3.5e38
    json.dumps([order, body], allow_nan=False)


def test_one_step_holds_a_token_of_every_slot() -> None:
    """The engine aborts otherwise."""
    for num_parallel, guessed, least in ((1, 0, 2), (4, 0, 4), (4, 4, 20), (4, 8, 36)):
        guess = Speculation("ngram-simple", guessed, 2) if guessed else None
        spec = RunnerSpec(Path("m"), "m", num_parallel=num_parallel, num_batch=1, speculation=guess)
        order = start_order(spec, EngineChoice(), socket_path="s", key="k")
        assert order["num_batch"] == order["num_ubatch"] == least


def test_unknown_names_are_mentioned_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        parse_options({}, {"tfs_z": 1, "x" * 1000: 2})
    assert "invalid option provided option='tfs_z'" in caplog.text
    assert max(map(len, caplog.text.splitlines())) < 200


def test_the_context_that_was_asked_for() -> None:
    assert requested_num_ctx({}, None) is None
    assert requested_num_ctx({"num_ctx": 7}, {}) == 7
    assert requested_num_ctx({"num_ctx": 7}, {"num_ctx": 0}) == 0
    assert requested_num_ctx({"num_ctx": 7}, {"num_ctx": None}) == 7


def body_with(name: str, value: str) -> bytes:
    options = {"num_predict": 1, name: 0}
    text = json.dumps({"model": "say", "prompt": "now A", "stream": False, "options": options})
    return text.replace(f'"{name}": 0', f'"{name}": {value}').encode()


# Numbers as text, since many cannot be had otherwise.
_HOSTILE = [
    "1e308",
    "-1e308",
    "1" + "0" * 400,
    "-2147483649",
    "4294967296",
    "9223372036854775808",
    "1e-320",
    "0",
    "3",
]


@pytest.mark.parametrize(
    "name", ["num_batch", "num_gpu", "main_gpu", "draft_num_predict", "num_thread", "num_ctx"]
)
def test_hostile_options_leave_no_child_behind(name: str, server: Server) -> None:
    """Whatever a load option says, the answer is 200 or a clear 400, and one engine runs at the end."""
    for value in _HOSTILE:
        status, data = server.request("POST", "/api/generate", body_with(name, value))
        assert status in (200, 400), (value, data)
        assert b"internal server error" not in data
    status, data = server.request(
        "POST", "/api/generate", {"model": "say", "prompt": "now A", "stream": False}
    )
    assert status == 200
    assert json.loads(data)["response"].startswith("Alpha")
    models = server.get("/api/ps")["models"]
    assert len(server.children()) == len(models)


@pytest.mark.parametrize("name", [*FLOATS, "num_keep", "seed", "top_k", "repeat_last_n", "num_predict"])
def test_hostile_sampling_options(name: str, server: Server) -> None:
    for value in _HOSTILE:
        status, data = server.request("POST", "/api/generate", body_with(name, value))
        assert status in (200, 400), (value, data)
        assert b"internal server error" not in data


def test_a_model_with_hostile_parameters_runs(server: Server) -> None:
    """What create took in must not make the model one that never runs."""
    parameters = {
        "num_gpu": 1e308,
        "num_batch": 0,
        "repeat_last_n": -9,
        "seed": 1e30,
        "temperature": 1e300,
        "num_keep": -7,
    }
    server.create("odd-parameters", "say", parameters=parameters)
    answer = server.post("/api/generate", {"model": "odd-parameters", "prompt": "now A", "stream": False})
    assert answer["done"] is True


def test_the_whole_context_is_looked_back_on(server: Server) -> None:
    """`repeat_last_n` -1 is the context's length; -2 is nothing."""
    body = {"model": "say", "prompt": "now A", "stream": False}
    assert server.post("/api/generate", {**body, "options": {"repeat_last_n": -1}})["done"] is True
    status, data = server.request("POST", "/api/generate", {**body, "options": {"repeat_last_n": -2}})
    assert (status, json.loads(data)["error"]) == (400, 'option "repeat_last_n" must be -1 or more')


def test_embedding_with_a_context_too_small_for_a_text(server: Server) -> None:
    """As Ollama: what was asked for decides, though no smaller context than 4 is ever loaded."""
    for num_ctx, truncate, text in (
        (0, True, "input after truncation exceeds maximum context length"),
        (1, True, "input after truncation exceeds maximum context length"),
        (2, True, "input after truncation exceeds maximum context length"),
        (0, False, "the input length exceeds the context length"),
        (3, False, "the input length exceeds the context length"),
    ):
        body = {
            "model": "embed",
            "input": "the sky is blue",
            "truncate": truncate,
            "options": {"num_ctx": num_ctx},
        }
        status, data = server.request("POST", "/api/embed", body)
        assert (status, json.loads(data)["error"]) == (400, text)
    body = {"model": "embed", "input": "the sky is blue", "options": {"num_ctx": 3}}
    assert server.post("/api/embed", body)["prompt_eval_count"] == 3
