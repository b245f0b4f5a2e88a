"""A collector of spans that speaks OTLP over HTTP on loopback."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.waiting import wait_until


class Collector:
    """Keeps what it gets. While `gate` is not set it answers nobody."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.has_called = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.has_called.set()
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.gate.wait()
                if self.path == "/v1/traces":
                    collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                    collector._take(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(attributes(resource.resource))
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def trace(self, trace_id: str, count: int) -> dict[str, Any]:
        """The spans of a trace by their names, once there are this many."""

        def found() -> list[Any]:
            return [span for span in self.spans if span.trace_id.hex() == trace_id]

        wait_until(lambda: len(found()) >= count, f"{[span.name for span in found()]}")
        return {span.name: span for span in found()}

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


def attributes(holder: Any) -> dict[str, Any]:
    """Attributes of a span or a resource as plain values."""
    found: dict[str, Any] = {}
    for attribute in holder.attributes:
        kind = attribute.value.WhichOneof("value")
        value = getattr(attribute.value, kind)
        found[attribute.key] = (
            [each.string_value for each in value.values] if kind == "array_value" else value
        )
    return found
