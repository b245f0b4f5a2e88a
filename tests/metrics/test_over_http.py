"""`/metrics` of a running server agrees with what its clients saw."""

from __future__ import annotations

import http.client
import json
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from tests.conftest import Server
from tests.waiting import wait_until


def scrape(server: Server, accept: str = "text/plain") -> tuple[str, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.headers["Content-Type"], response.read().decode()


def total(server: Server, name: str, **labels: str) -> float:
    """The sum of a sample's values over the series that have these labels."""
    return sum(
        sample.value
        for family in parse_plain(scrape(server)[1])
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_sums_are_those_of_the_answers(fake_server: Callable[..., Server]) -> None:
    """Many clients at a time, on several surfaces, with errors between."""
    server = fake_server({}, tokens=5)

    def ask(number: int) -> tuple[int, int]:
        if number % 10 == 9:
            status, _ = server.request("POST", "/api/generate", {"model": "missing", "prompt": "x"})
            assert status == 404
            return 0, 0
        if number % 3:
            body = {"model": "m", "prompt": f"number {number}", "stream": False}
            answer = server.post("/api/generate", body)
            return answer["prompt_eval_count"], answer["eval_count"]
        messages = [{"role": "user", "content": f"number {number}"}]
        usage = server.post("/v1/chat/completions", {"model": "m", "messages": messages})["usage"]
        return usage["prompt_tokens"], usage["completion_tokens"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(300)))
    prompt_count, count = (sum(column) for column in zip(*answers, strict=True))
    wait_until(lambda: total(server, "corral_requests_total", route="/api/generate", status="404") == 30)
    assert total(server, "corral_requests_total", model="m:latest", status="200") == 270
    assert total(server, "corral_requests_total", surface="openai", status="200") == 90
    assert total(server, "corral_request_duration_seconds_count", model="m:latest") == 270
    assert total(server, "corral_prompt_tokens_total", model="m:latest") == prompt_count
    assert total(server, "corral_generated_tokens_total", model="m:latest") == count
    assert total(server, "corral_time_to_first_token_seconds_count", model="m:latest") == 270
    assert total(server, "corral_model_loads_total", model="m:latest", reason="wanted") == 1
    assert total(server, "corral_model_loaded", model="m:latest") == 1
    assert total(server, "corral_requests_running") == 0
    assert total(server, "corral_store_bytes") > 0
    assert "missing" not in scrape(server)[1]


def test_a_client_that_leaves_is_counted(fake_server: Callable[..., Server]) -> None:
    server = fake_server({}, tokens=10**6, delay_s=0.002)
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("POST", "/api/generate", json.dumps({"model": "m", "prompt": "x"}))
        response = connection.getresponse()
        response.readline()
        assert total(server, "corral_requests_running", model="m:latest") == 1
        response.close()
    wait_until(lambda: total(server, "corral_requests_total", status="499", reason="ClientGoneError") == 1)
    wait_until(lambda: total(server, "corral_requests_running", model="m:latest") == 0)
    assert total(server, "corral_generated_tokens_total", model="m:latest") > 0


def test_both_formats(fake_server: Callable[..., Server]) -> None:
    server = fake_server({"CORRAL_METRICS_VLLM": "1"}, tokens=2)
    server.post("/api/generate", {"model": "m", "prompt": "x", "stream": False})
    readers: list[tuple[str, Any, str]] = [
        ("text/plain", parse_plain, "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0",
            parse_open,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ]
    for accept, parse, wanted in readers:
        kind, text = scrape(server, accept)
        assert kind == wanted
        names = {sample.name for family in parse(text) for sample in family.samples}
        assert {"corral_requests_total", "corral_build_info", "vllm:num_requests_running"} <= names


def test_nothing_is_counted_when_switched_off(start_server: Callable[..., Server]) -> None:
    server = start_server(CORRAL_METRICS="0")
    assert server.request("GET", "/metrics")[0] == 404
