"""Traces: their spans and attributes, where they begin and go on, and collectors that do not answer."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest

from corral import tracenotes
from corral.tracenotes import TraceNotes
from tests.conftest import Server
from tests.traces.collector import Collector, attributes
from tests.waiting import wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
MESSAGES = [{"role": "user", "content": "the canary sings"}]
PHASES = {"render", "prefill", "decode"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def traced(process: None, collector: Collector) -> Iterator[Server]:
    """A server that sends its spans at once."""
    server = Server(CORRAL_TRACES="1", OLLAMA_NUM_PARALLEL="1", **sent_to(collector))
    server.create("say", "say", template="{{ .Prompt }}", parameters={"num_predict": 4})
    server.create("embed", "embed")
    yield server
    server.close()


def sent_to(collector: Collector) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}


def ask(
    server: Server, path: str, body: Any, headers: dict[str, str] | None = None, method: str = "POST"
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers or {})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def trace_of(headers: dict[str, str]) -> tuple[str, str, str]:
    version, trace_id, span_id, flags = headers["traceparent"].split("-")
    assert version == "00"
    # The other bit says that the id is random.
    return trace_id, span_id, f"{int(flags, 16) & 1:02x}"


def test_a_chat(traced: Server, collector: Collector) -> None:
    body = {
        "model": "say",
        "messages": MESSAGES,
        "options": {"temperature": 0.5, "seed": 7, "num_predict": 3},
    }
    headers = {**SAMPLED, "tracestate": "vendor=a1,other=b2", "X-Request-Id": "mine"}
    status, answered, _ = ask(traced, "/api/chat", body, headers)
    assert status == 200
    trace_id, span_id, flags = trace_of(answered)
    assert (trace_id, flags) == (TRACE, "01")
    assert answered["tracestate"] == "vendor=a1,other=b2"
    spans = collector.trace(TRACE, 5)
    root, work = spans["POST /api/chat"], spans["chat say:latest"]
    assert (root.parent_span_id.hex(), root.span_id.hex(), root.kind) == (PARENT, span_id, 2)
    assert root.trace_state == "vendor=a1,other=b2"
    assert work.parent_span_id == root.span_id
    assert spans.keys() >= {"POST /api/chat", "chat say:latest", *PHASES}
    for name in spans.keys() & {"load", "queue", *PHASES}:
        assert spans[name].parent_span_id == work.span_id
        assert root.start_time_unix_nano <= spans[name].start_time_unix_nano
        assert spans[name].end_time_unix_nano <= root.end_time_unix_nano
    assert spans["render"].end_time_unix_nano <= spans["prefill"].start_time_unix_nano
    assert spans["prefill"].end_time_unix_nano == spans["decode"].start_time_unix_nano
    found = attributes(root)
    assert found["http.route"] == found["url.path"] == "/api/chat"
    assert (found["http.request.method"], found["http.response.status_code"]) == ("POST", 200)
    assert found["corral.request.id"] == "mine"
    found = attributes(work)
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "corral",
        "gen_ai.request.model": "say",
        "gen_ai.response.model": "say:latest",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.request.max_tokens": 3,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.response.finish_reasons": ["length"],
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found["gen_ai.usage.input_tokens"] > 0
    assert found["gen_ai.response.time_to_first_chunk"] > 0
    assert attributes(spans["decode"])["gen_ai.usage.output_tokens"] == 3
    assert collector.resources[0]["service.name"] == "corral"
    wait_until(lambda: any(f"trace={TRACE}" in line and "id=mine" in line for line in traced.log))
    # What was said is in no span.
    assert "canary" not in str(collector.spans)


@pytest.mark.parametrize(
    ("path", "operation", "extra"),
    [
        ("/api/generate", "text_completion", {"prompt": "hi"}),
        ("/v1/chat/completions", "chat", {"messages": MESSAGES}),
        ("/v1/completions", "text_completion", {"prompt": "hi"}),
        ("/v1/messages", "chat", {"messages": MESSAGES, "max_tokens": 3}),
        ("/v1/responses", "chat", {"input": "hi"}),
    ],
)
def test_every_api(
    traced: Server, collector: Collector, path: str, operation: str, extra: dict[str, Any]
) -> None:
    status, answered, _ = ask(traced, path, {"model": "say", **extra})
    assert status == 200
    trace_id, _, flags = trace_of(answered)
    assert flags == "01"
    spans = collector.trace(trace_id, 5)
    assert spans.keys() >= {f"POST {path}", f"{operation} say:latest", *PHASES}
    assert not spans[f"POST {path}"].parent_span_id


def test_vectors(traced: Server, collector: Collector) -> None:
    _, answered, _ = ask(traced, "/api/embed", {"model": "embed", "input": "hi"})
    spans = collector.trace(trace_of(answered)[0], 3)
    assert spans.keys() >= {"POST /api/embed", "embeddings embed:latest", "prefill"}


def test_errors(traced: Server, collector: Collector) -> None:
    status, answered, _ = ask(traced, "/api/chat", {"model": "nobody", "messages": MESSAGES})
    assert status == 404
    spans = collector.trace(trace_of(answered)[0], 2)
    assert attributes(spans["POST /api/chat"])["error.type"] == "ModelNotFoundError"
    assert spans["POST /api/chat"].status.code == 0  # the client's fault is not an error of the server
    assert spans["chat nobody"].status.code == 2
    named = {"model": "http://user:canarysecret@127.0.0.1:9/library/m", "messages": MESSAGES}
    _, answered, _ = ask(traced, "/api/chat", named)
    spans = collector.trace(trace_of(answered)[0], 2)
    assert "canarysecret" not in str(spans)
    assert any("http://***@127.0.0.1:9/library/m" in name for name in spans)
    status, answered, _ = ask(traced, "/api/nothing", None, method="GET")
    assert status == 404
    assert attributes(collector.trace(trace_of(answered)[0], 1)["GET"])["http.response.status_code"] == 404


def test_a_parent_that_is_not_sampled_is_respected(traced: Server, collector: Collector) -> None:
    trace_id = "1" * 32
    headers = {"traceparent": f"00-{trace_id}-{PARENT}-00"}
    _, answered, _ = ask(traced, "/api/chat", {"model": "say", "messages": MESSAGES}, headers)
    assert trace_of(answered)[0::2] == (trace_id, "00")
    _, after, _ = ask(traced, "/api/generate", {"model": "say", "prompt": "hi"})
    collector.trace(trace_of(after)[0], 5)
    assert not [span for span in collector.spans if span.trace_id.hex() == trace_id]


@pytest.mark.parametrize(
    "given",
    ["", "x", "00-0-0-01", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", "\xff" * 55, "0" * 9000],
)
def test_a_parent_that_is_none_begins_a_new_trace(traced: Server, given: str) -> None:
    _, answered, _ = ask(traced, "/api/tags", None, {"traceparent": given, "tracestate": "a=b"}, "GET")
    trace_id, _, flags = trace_of(answered)
    assert trace_id not in (TRACE, "0" * 32)
    assert flags == "01"
    assert "tracestate" not in answered


def test_looks_at_the_server_are_not_traced(traced: Server) -> None:
    for path in ("/api/version", "/api/ps", "/metrics", "/healthz", "/api/top"):
        assert "traceparent" not in ask(traced, path, None, method="GET")[1]


class _Registry(BaseHTTPRequestHandler):
    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_registry_gets_the_trace(traced: Server, collector: Collector) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as registry:
        Thread(target=registry.serve_forever, daemon=True).start()
        name = f"http://127.0.0.1:{registry.server_port}/library/model"
        _, answered, _ = ask(
            traced, "/api/pull", {"model": name, "insecure": True}, {**SAMPLED, "tracestate": "a=b"}
        )
        registry.shutdown()
    assert _Registry.seen
    _, span_id, _ = trace_of(answered)
    assert {headers.get("traceparent") for headers in _Registry.seen} == {f"00-{TRACE}-{span_id}-01"}
    assert _Registry.seen[0]["tracestate"] == "a=b"


def test_who_waits_has_a_span_for_it(fake_server: Callable[..., Server]) -> None:
    collector = Collector()
    settings = {"CORRAL_TRACES": "1", "OLLAMA_NUM_PARALLEL": "1", **sent_to(collector)}
    server = fake_server(settings, tokens=200, delay_s=0.002)
    body = {"model": "m", "prompt": "hi"}
    with ExitStack() as stack:
        first = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        stack.callback(first.close)
        first.request("POST", "/api/generate", json.dumps(body))
        wait_until(lambda: any(e.get("tokens") for e in server.get("/api/queue")["queue"]))
        _, answered, _ = ask(server, "/api/generate", body)
        response = first.getresponse()
        stack.callback(response.close)
        loaded = response.getheader("traceparent", "").split("-")[1]
    waited = collector.trace(trace_of(answered)[0], 6)
    assert {"queue", *PHASES} <= waited.keys()
    assert waited["queue"].end_time_unix_nano <= waited["prefill"].start_time_unix_nano
    assert "load" not in waited
    assert {"load", *PHASES} <= collector.trace(loaded, 6).keys()
    collector.close()


def test_a_reply_that_is_given_up(fake_server: Callable[..., Server]) -> None:
    collector = Collector()
    server = fake_server({"CORRAL_TRACES": "1", **sent_to(collector)}, tokens=10**6, delay_s=0.002)
    with ExitStack() as stack:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        stack.callback(connection.close)
        connection.request(
            "POST", "/api/generate", json.dumps({"model": "m", "prompt": "hi"}), {"X-Request-Id": "one"}
        )
        wait_until(lambda: any(e.get("tokens", 0) > 3 for e in server.get("/api/queue")["queue"]))
        response = connection.getresponse()
        stack.callback(response.close)
        assert server.request("DELETE", "/api/requests/one")[0] == 200
        trace_id = response.getheader("traceparent", "").split("-")[1]
    spans = collector.trace(trace_id, 6)
    assert attributes(spans["decode"])["gen_ai.usage.output_tokens"] > 3
    for name in ("POST /api/generate", "text_completion m:latest"):
        assert attributes(spans[name])["error.type"] == "RequestCancelledError"
        assert spans[name].status.code == 2
    collector.close()


@pytest.mark.parametrize("endpoint", ["hangs", "http://127.0.0.1:9", "http://192.0.2.1:4318", "nonsense"])
def test_a_collector_that_does_not_answer_is_in_nobodys_way(
    start_server: Callable[..., Server], endpoint: str
) -> None:
    """Neither of a request, however many spans wait, nor of the end of the server."""
    collector = Collector()
    collector.gate.clear()
    url = collector.url if endpoint == "hangs" else endpoint
    server = start_server(
        CORRAL_TRACES="1",
        OTEL_EXPORTER_OTLP_ENDPOINT=url,
        OTEL_BSP_SCHEDULE_DELAY="10",
        OTEL_BSP_MAX_QUEUE_SIZE="8",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4",
    )
    for _ in range(50):
        assert ask(server, "/api/tags", None, method="GET")[0] == 200
    if endpoint == "hangs":
        assert collector.has_called.wait(120)
    server.process.terminate()
    assert server.process.wait(120) == 0  # by itself, not by a signal
    collector.close()
    complaints = [line for line in server.log if "corral.traces" in line]
    assert len(complaints) < 10


def test_variables_of_opentelemetry(start_server: Callable[..., Server]) -> None:
    collector = Collector()
    server = start_server(
        CORRAL_TRACES="1",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/v1/traces",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20collector-secret",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_BSP_SCHEDULE_DELAY="10",
        OTEL_SERVICE_NAME="mine",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        OTEL_TRACES_SAMPLER="parentbased_always_off",
        OLLAMA_DEBUG="1",
    )
    unsampled = ask(server, "/api/tags", None, method="GET")[1]
    assert trace_of(unsampled)[2] == "00"
    sampled = ask(server, "/api/tags", None, SAMPLED, "GET")[1]
    collector.trace(trace_of(sampled)[0], 1)
    assert len(collector.spans) == 1
    resource = collector.resources[0]
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("mine", "test")
    assert collector.headers[0]["authorization"] == "Bearer collector-secret"
    server.close()
    assert any("OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported" in line for line in server.log)
    assert "collector-secret" not in "".join(server.log)
    collector.close()


@pytest.mark.parametrize("off", [{}, {"CORRAL_TRACES": "1", "OTEL_SDK_DISABLED": "true"}])
def test_without_traces_headers_are_not_answered(
    start_server: Callable[..., Server], off: dict[str, str]
) -> None:
    server = start_server(**off)
    assert "traceparent" not in ask(server, "/api/tags", None, SAMPLED, "GET")[1]


_OFF = """
import sys
{block}
from corral.config import Settings
from corral.counting import Counting
from dataclasses import replace
import corral.server
counting = Counting.from_settings(replace(Settings(), has_traces={wanted}, has_usage=False))
print(counting.tracing, *[name for name in sys.modules if name.startswith(("opentelemetry", "google"))])
"""


@pytest.mark.process
def test_nothing_is_imported_where_traces_are_off() -> None:
    done = _run(_OFF.format(block="", wanted=False))
    assert done.stdout.split() == ["None"]


@pytest.mark.process
def test_without_the_packages_the_log_says_what_to_install() -> None:
    block = 'sys.modules["opentelemetry"] = None\nimport logging; logging.basicConfig()'
    done = _run(_OFF.format(block=block, wanted=True))
    assert done.stdout.split()[0] == "None"
    assert "pip install 'corral[otel]'" in done.stderr


def _run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=dict(os.environ)
    )


def test_notes_are_bounded() -> None:
    notes = TraceNotes()
    for number in range(1000):
        notes.add("prefill", number, number + 1)
    notes.add("queue", 5, 5)
    assert len(notes.phases) == 64


def test_without_a_trace_nothing_is_noted() -> None:
    with tracenotes.phase("render"):
        assert tracenotes.current() is None
    tracenotes.note_wait(0, 1, 1)
    assert tracenotes.outgoing_headers() == {}
