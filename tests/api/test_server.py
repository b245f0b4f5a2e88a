"""The server from outside: what it says, what it does when clients leave and children die."""

from __future__ import annotations

import concurrent.futures
import json
import math
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Server
from tests.waiting import PATIENCE_S, wait_until

StartServer = Callable[..., Server]


def test_streamed_and_whole_answers_agree(server: Server) -> None:
    """The pieces of a stream joined are the whole answer; the last object carries the figures."""
    body = {"model": "say", "prompt": "now A"}
    events = server.stream("/api/generate", body)
    whole = server.post("/api/generate", {**body, "stream": False})
    assert whole["response"] == "Alpha beta gamma delta epsilon."
    assert "".join(event["response"] for event in events) == whole["response"]
    assert [event["done"] for event in events] == [False] * (len(events) - 1) + [True]
    final = events[-1]
    assert (final["done_reason"], final["prompt_eval_count"], final["eval_count"]) == ("stop", 5, 6)
    assert final["total_duration"] >= final["load_duration"] > 0
    assert list(final)[:5] == ["model", "created_at", "response", "done", "done_reason"]


def test_context_continues_a_conversation(server: Server) -> None:
    """The tokens of an answer, fed back, come before the next prompt."""
    first = server.post("/api/generate", {"model": "say", "prompt": "now A", "stream": False})
    body = {"model": "say", "prompt": " B", "context": first["context"], "_debug_render_only": True}
    rendered = server.post("/api/generate", body)["_debug_info"]["rendered_template"]
    assert rendered == "now AAlpha beta gamma delta epsilon. B"


def test_same_seed_same_text(server: Server) -> None:
    """A hot model says the same with the same seed, and something else with another."""

    def say(seed: int) -> str:
        options = {"seed": seed, "temperature": 1.5, "num_predict": 20}
        text: str = server.post(
            "/api/generate", {"model": "tiny", "prompt": "hi", "options": options, "stream": False}
        )["response"]
        return text

    assert say(7) == say(7)
    assert len({say(seed) for seed in range(4)}) > 1


def test_a_cut_prompt_is_told(server: Server) -> None:
    """When the conversation does not fit, the final object says how much was left out."""
    messages = [{"role": "user", "content": "word " * 60}, {"role": "assistant", "content": "y"}] * 3
    body = {"model": "say", "messages": [*messages, {"role": "user", "content": "now A"}], "stream": False}
    cut = server.post("/api/chat", {**body, "options": {"num_ctx": 256, "num_predict": 5}})
    assert cut["truncated"] is True
    assert cut["truncated_count"] >= 1
    whole = server.post("/api/chat", {**body, "options": {"num_ctx": 2048, "num_predict": 5}})
    assert "truncated" not in whole


def test_embeddings_of_a_batch(server: Server) -> None:
    """Rows have length one, equal the rows of single calls, and can be shortened."""
    texts = ["hello", "good morning", "the sky"]
    rows = server.post("/api/embed", {"model": "embed", "input": texts})["embeddings"]
    for text, row in zip(texts, rows, strict=True):
        assert math.fsum(value * value for value in row) == pytest.approx(1, abs=1e-4)
        single = server.post("/api/embed", {"model": "embed", "input": text})["embeddings"][0]
        assert row == pytest.approx(single, abs=1e-4)
    short = server.post("/api/embed", {"model": "embed", "input": "hello", "dimensions": 4})["embeddings"][0]
    assert len(short) == 4
    assert math.fsum(value * value for value in short) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat", "/api/embed"])
def test_no_model_is_a_clear_refusal(server: Server, path: str) -> None:
    """Unlike the original, generate and embed say what chat says."""
    assert server.request("POST", path, {}) == (400, b'{"error":"model is required"}')


def test_form_content_type_of_curl(server: Server) -> None:
    """curl -d sends a form's content type; the body counts."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    status, data = server.request("POST", "/api/show", {"model": "say"}, headers)
    assert status == 200
    assert json.loads(data)["details"]["family"] == "llama"


@pytest.mark.parametrize(
    ("route", "body", "status", "text"),
    [
        ("web_search", b'{"query":"x"}', 403, "ollama cloud is disabled: web search is unavailable"),
        ("web_fetch", b"anything", 403, "ollama cloud is disabled: web fetch is unavailable"),
        ("web_fetch", b" ", 400, "missing request body"),
    ],
)
def test_what_runs_elsewhere_is_refused(
    server: Server, route: str, body: bytes, status: int, text: str
) -> None:
    """The original's words for a server without its hosted service."""
    assert server.request("POST", f"/api/experimental/{route}", body) == (
        status,
        json.dumps({"error": text}, separators=(",", ":")).encode(),
    )


def test_bodies_and_nesting_are_bounded(start_server: StartServer) -> None:
    """Beyond the bound a request is refused with what to do about it, and the server goes on."""
    server = start_server(CORRAL_MAX_BODY_BYTES="1000", CORRAL_MAX_JSON_DEPTH="20")
    status, data = server.request("POST", "/api/generate", {"prompt": "x" * 2000})
    assert status == 413
    assert b"CORRAL_MAX_BODY_BYTES" in data
    status, data = server.request("POST", "/api/generate", b'{"options":' + b"[" * 30 + b"]" * 30 + b"}")
    assert (status, data) == (400, b'{"error":"json: exceeded max depth"}')
    assert server.get("/api/version")["version"]


def open_stream(server: Server, path: str, body: dict[str, object]) -> socket.socket:
    """A connection on which a request was sent and its first bytes have come."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    connection.sendall(head.encode() + data)
    return connection


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/api/generate", "/v1/chat/completions", "/v1/completions"])
def test_a_client_that_leaves_stops_the_decoder(
    fake_server: Callable[..., Server], tmp_path: Path, path: str, stream: bool
) -> None:
    """The engine sees the end of the request soon after the client is gone, streamed or not; the slot is free."""
    log = tmp_path / "log"
    server = fake_server({"OLLAMA_NUM_PARALLEL": "1"}, tokens=10**6, delay_s=0.002, log=log)
    messages = [{"role": "user", "content": "x"}]
    connection = open_stream(
        server, path, {"model": "m", "prompt": "x", "messages": messages, "stream": stream}
    )
    wait_until(lambda: log.exists() and "start" in log.read_text())
    connection.close()
    wait_until(lambda: "cancelled" in log.read_text())  # by itself it would go on for half an hour
    options = {"num_predict": 3}
    assert server.post("/api/generate", {"model": "m", "prompt": "x", "stream": False, "options": options})[
        "done"
    ]


def test_a_client_that_does_not_read_loses_its_slot(
    fake_server: Callable[..., Server], tmp_path: Path
) -> None:
    """A stream that nobody reads is stopped, and the next request is served."""
    log = tmp_path / "log"
    settings = {"OLLAMA_NUM_PARALLEL": "1", "CORRAL_CLIENT_TIMEOUT": "500ms"}
    server = fake_server(settings, tokens=10**8, batch=1000, text="x" * 1000 + " ", log=log)
    connection = open_stream(server, "/api/generate", {"model": "m", "prompt": "x"})
    try:
        wait_until(lambda: log.exists() and "cancelled" in log.read_text())
        options = {"num_predict": 3}
        body = {"model": "m", "prompt": "x", "stream": False, "options": options}
        assert server.post("/api/generate", body)["done"]
    finally:
        connection.close()


def test_half_a_request_is_answered_at_last(start_server: StartServer) -> None:
    """A body that stops arriving gets 408 and the end of the connection."""
    server = start_server(CORRAL_CLIENT_TIMEOUT="300ms")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        answer = b""
        while data := connection.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"CORRAL_CLIENT_TIMEOUT" in answer


def test_kill_of_the_child_in_mid_stream(fake_server: Callable[..., Server]) -> None:
    """That client gets an error record at the end of its stream; the next request gets a new child."""
    server = fake_server(tokens=10**6, delay_s=0.01)
    with open_stream(server, "/api/generate", {"model": "m", "prompt": "x"}) as connection:
        data = b""
        while b'"response"' not in data:
            data += connection.recv(65536)
        for pid in server.children():
            os.kill(pid, signal.SIGKILL)
        while not data.endswith(b"0\r\n\r\n"):
            data += connection.recv(65536)
    head, _, chunks = data.partition(b"\r\n\r\n")
    lines = [json.loads(line) for line in chunks.splitlines() if line.startswith(b"{")]
    assert head.startswith(b"HTTP/1.1 200 ")
    assert "model runner has unexpectedly stopped" in lines[-1]["error"]
    assert all("done" in line for line in lines[:-1])
    body = {"model": "m", "prompt": "x", "stream": False, "options": {"num_predict": 2}}
    assert server.post("/api/generate", body)["done_reason"] == "length"


def test_a_child_that_crashes_or_hangs_is_replaced(fake_server: Callable[..., Server]) -> None:
    """Its own request is told why; the server and the next request go on."""
    crashing = fake_server(tokens=50, crash_at=3)
    status, data = crashing.request("POST", "/api/generate", {"model": "m", "prompt": "x", "stream": False})
    assert status == 500
    assert b"GGML_ASSERT(fake) failed" in data
    body = {"model": "m", "prompt": "x", "stream": False, "options": {"num_predict": 2}}
    assert crashing.post("/api/generate", body)["done"]
    hanging = fake_server({"CORRAL_HANG_TIMEOUT": "500ms"}, tokens=50, hang_at=3)
    status, data = hanging.request("POST", "/api/generate", {"model": "m", "prompt": "x", "stream": False})
    assert status == 500
    assert b"no sign of life" in data
    assert hanging.get("/api/ps") == {"models": []}


def test_a_load_that_hangs_times_out(fake_server: Callable[..., Server]) -> None:
    """A load without progress is given up after OLLAMA_LOAD_TIMEOUT."""
    server = fake_server({"OLLAMA_LOAD_TIMEOUT": "300ms"}, load_hangs=1)
    status, data = server.request("POST", "/api/generate", {"model": "m", "prompt": "x"})
    assert status == 500
    assert b"timed out waiting for llama-server to start - " in data
    wait_until(lambda: not server.children())  # it is killed when its waiters have been told


def test_a_load_that_fails_says_why(fake_server: Callable[..., Server]) -> None:
    """The engine's last words are in the error."""
    server = fake_server(load_fails="unknown model architecture: zz")
    status, data = server.request("POST", "/api/generate", {"model": "m", "prompt": "x"})
    assert status == 500
    assert b"exit status 1: unknown model architecture: zz" in data


def test_surplus_requests_get_503(fake_server: Callable[..., Server]) -> None:
    """One slot, one place in the queue: of many at once some are served, and the rest is told to come back."""
    server = fake_server({"OLLAMA_NUM_PARALLEL": "1", "OLLAMA_MAX_QUEUE": "1"}, tokens=20, delay_s=0.02)
    body = {"model": "m", "prompt": "x", "stream": False}
    server.post("/api/generate", {"model": "m"})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.request("POST", "/api/generate", body), range(8)))
    statuses = [status for status, _ in answers]
    assert set(statuses) == {200, 503}
    refusal = next(data for status, data in answers if status == 503)
    assert json.loads(refusal)["error"] == "server busy, please try again.  maximum pending requests exceeded"


def test_many_clients_on_four_slots(fake_server: Callable[..., Server]) -> None:
    """Sixty-four clients at once: every reply is complete."""
    server = fake_server({"OLLAMA_NUM_PARALLEL": "4"}, tokens=10)
    body = {"model": "m", "prompt": "x", "stream": False}
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: server.post("/api/generate", body), range(192)))
    assert {answer["response"] for answer in answers} == {"word WORD " * 5}


def test_kill_of_the_server_leaves_no_orphan(start_server: StartServer) -> None:
    """SIGKILL of the server: its children end by themselves, and the store is whole."""
    server = start_server()
    server.create("say", "say")
    server.post("/api/generate", {"model": "say"})
    children = server.children()
    assert len(children) == 1
    server.process.kill()
    server.process.wait()
    wait_until(lambda: not any(_is_running(pid) for pid in children))
    again = start_server(OLLAMA_MODELS=str(server.folder))
    assert [model["name"] for model in again.get("/api/tags")["models"]] == ["say:latest"]


def _is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_sigterm_stops_everything(start_server: StartServer) -> None:
    """A loaded model does not keep the server from leaving with status 0."""
    server = start_server()
    server.create("say", "say")
    server.post("/api/generate", {"model": "say"})
    children = server.children()
    server.process.terminate()
    assert server.process.wait(PATIENCE_S) == 0, "".join(server.log[-30:])
    assert not any(_is_running(pid) for pid in children)


def test_a_second_server_on_the_port_is_told(start_server: StartServer) -> None:
    """The error names the address and what to do."""
    server = start_server()
    import subprocess
    import sys

    env = {**server.env, "OLLAMA_HOST": f"127.0.0.1:{server.port}"}
    second = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "serve"],
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert second.returncode == 1
    assert f"listen tcp 127.0.0.1:{server.port}: bind: address already in use" in second.stderr
    assert "OLLAMA_HOST" in second.stderr
