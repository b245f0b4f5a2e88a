"""`/metrics` of a running server agrees with what its clients saw."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from tests.conftest import Server
from tests.ports import free_port
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


def test_the_share_of_the_context_while_a_reply_grows(fake_server: Callable[..., Server]) -> None:
    server = fake_server({}, tokens=10**6, delay_s=0.002)
    body = {"model": "m", "prompt": "x", "options": {"num_ctx": 256}}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("POST", "/api/generate", json.dumps(body))
        response = connection.getresponse()
        response.readline()
        first = total(server, "corral_kv_usage_ratio", model="m:latest")
        wait_until(lambda: total(server, "corral_kv_usage_ratio", model="m:latest") > max(first, 0.1))
        assert total(server, "corral_kv_usage_ratio") <= 1
        response.close()
    wait_until(lambda: total(server, "corral_kv_usage_ratio") == 0)


def test_tokens_of_keys_if_wanted(fake_server: Callable[..., Server]) -> None:
    for wants_keys in ("1", "0"):
        server = fake_server({"CORRAL_METRICS_KEYS": wants_keys}, tokens=5)
        key = json.loads(server.request("POST", "/api/keys", {"name": "a"})[1])
        for headers in ({"Authorization": f"Bearer {key['key']}"}, {}):
            body = {"model": "m", "prompt": "two words", "stream": False}
            assert server.request("POST", "/api/generate", body, headers)[0] == 200
        found = total(server, "corral_key_tokens_total", key=key["id"], kind="generated")
        assert found == (5 if wants_keys == "1" else 0)
        assert total(server, "corral_key_tokens_total", kind="prompt") == (2 if wants_keys == "1" else 0)


def test_pulls(start_server: Callable[..., Server]) -> None:
    server = start_server(CORRAL_DEFAULT_REGISTRY="http://127.0.0.1:9")
    assert server.post("/api/pull", {"model": "corral-tiny", "stream": False}) == {"status": "success"}
    assert server.request("POST", "/api/pull", {"model": "nothing", "stream": False})[0] >= 400
    assert server.request("POST", "/api/push", {"model": "a/nothing", "stream": False})[0] >= 400
    assert total(server, "corral_pulls_total", result="success") == 1
    assert total(server, "corral_pulls_total", result="failed") == 1
    assert total(server, "corral_pushes_total", result="failed") == 1
    assert total(server, "corral_store_free_bytes") > 0


def get(port: int, path: str, key: str = "") -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status


def test_an_address_of_its_own(start_server: Callable[..., Server]) -> None:
    """Metrics are nowhere else, nothing else is there, and keys are asked for as everywhere."""
    port = free_port()
    server = start_server(CORRAL_METRICS_LISTEN=f"127.0.0.1:{port}", CORRAL_AUTH="on")
    env = {**server.env}
    words = [sys.executable, "-m", "corral.cli.main", "key", "create", "a", "--scope", "read"]
    key = subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout.strip()
    assert get(port, "/metrics", key) == 200
    assert get(port, "/metrics") == 401
    assert get(port, "/api/version") == get(port, "/api/tags", key) == get(port, "/") == 404
    assert get(server.port, "/metrics", key) == 404
    assert get(server.port, "/api/tags", key) == 200
    server.close()
    with pytest.raises(OSError):
        get(port, "/metrics")


def test_an_address_that_is_taken(start_server: Callable[..., Server]) -> None:
    server = start_server()
    env = {**server.env, "OLLAMA_HOST": "127.0.0.1:0", "CORRAL_METRICS_LISTEN": f"127.0.0.1:{server.port}"}
    words = [sys.executable, "-m", "corral.cli.main", "serve"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "address already in use" in done.stderr


def test_a_socket_in_the_file_system(start_server: Callable[..., Server], tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    server = start_server(CORRAL_METRICS_LISTEN=f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n")
        with client.makefile("rb") as answer:
            assert b"corral_build_info" in answer.read()
    server.close()
    assert not path.exists()
