"""What a client waited for, in its answer, if it asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from corral.api.http.waits import native_member, timings_member
from corral.types import GenerationMetrics, Waits
from tests.conftest import Server

MESSAGES = [{"role": "user", "content": "hi"}]
ASKED = {"X-Corral-Metrics": "1"}


def test_members() -> None:
    waits = Waits(
        first_token_ns=250_000_000, queue_ns=2_000_000, load_ns=100_000_000, token_gap_ns=10_500_000
    )
    metrics = GenerationMetrics(
        prompt_eval_count=10, prompt_eval_duration_ns=40_000_000, eval_count=5, eval_duration_ns=50_000_000,
        cached_count=6, waits=waits,
    )  # fmt: skip
    native = json.loads(b"{" + b"".join(native_member(metrics))[1:] + b"}")["metrics"]
    assert native == {
        "time_to_first_token_ms": 250, "queue_time_ms": 2, "load_time_ms": 100, "prompt_time_ms": 40,
        "generation_time_ms": 50, "mean_itl_ms": 10.5, "tokens_per_second": 100, "cached_tokens": 6,
    }  # fmt: skip
    timings = json.loads(b"{" + timings_member(metrics)[1:] + b"}")["timings"]
    assert (timings["prompt_n"], timings["cache_n"], timings["prompt_per_second"]) == (4, 6, 100)
    assert (timings["predicted_n"], timings["predicted_ms"], timings["predicted_per_second"]) == (5, 50, 100)
    assert "draft_n" not in timings
    assert not native_member(GenerationMetrics())
    assert timings_member(GenerationMetrics()) == timings_member(None) == b""


def answers(server: Server, path: str, body: dict[str, Any], headers: dict[str, str]) -> list[dict[str, Any]]:
    status, data = server.request("POST", path, body, headers)
    assert status == 200, data
    lines = (line.removeprefix(b"data: ") for line in data.splitlines())
    return [json.loads(line) for line in lines if line.startswith(b"{")]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body", "member"),
    [
        ("/api/generate", {"prompt": "hi", "options": {"num_predict": 4}}, "metrics"),
        ("/api/chat", {"messages": MESSAGES, "options": {"num_predict": 4}}, "metrics"),
        ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 4}, "timings"),
        ("/v1/completions", {"prompt": "hi", "max_tokens": 4}, "timings"),
    ],
)
def test_who_asks_gets_it(
    server: Server, path: str, body: dict[str, Any], member: str, is_stream: bool
) -> None:
    body = {"model": "say", "stream": is_stream, **body}
    found = [answer[member] for answer in answers(server, path, body, ASKED) if member in answer]
    assert len(found) == 1
    assert 0 < found[0]["time_to_first_token_ms"] < 300_000
    assert not any(member in answer for answer in answers(server, path, body, {}))


def test_a_load_is_part_of_the_wait(fake_server: Callable[..., Server]) -> None:
    server = fake_server({}, tokens=3)
    body = {"model": "m", "prompt": "x", "stream": False}
    (first,) = answers(server, "/api/generate", body, ASKED)
    assert first["metrics"]["time_to_first_token_ms"] >= first["metrics"]["load_time_ms"] > 0
    (second,) = answers(server, "/api/generate", body, ASKED)
    assert second["metrics"]["load_time_ms"] == 0
