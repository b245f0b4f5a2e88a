"""Where spans go, as the OTEL_* variables say, and what is logged if they do not get there."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter

from corral.logs import Sparing

_log = logging.getLogger("corral.traces")
_LINES_PER_MINUTE = 3


def exporters() -> Iterator[SpanExporter]:
    """By OTEL_TRACES_EXPORTER: `otlp` (also if it is not set), `console`, `none`, or several with commas."""
    for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").lower().split(","):
        match name.strip():
            case "otlp":
                _check_protocol()
                yield OTLPSpanExporter()
            case "console":
                yield ConsoleSpanExporter()
            case "none" | "":
                pass
            case unknown:
                _log.warning("OTEL_TRACES_EXPORTER=%s is ignored: otlp, console or none", unknown)


def _check_protocol() -> None:
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if value := os.environ.get(variable, "").strip().lower():
            if value != "http/protobuf":
                _log.warning("%s=%s is not supported: spans are sent as http/protobuf", variable, value)
            return


class FewLines(logging.Handler):
    """Passes on what OpenTelemetry's packages log, as single lines, and not more of them than a few a minute.

    An exporter whose collector is away would log every batch, with a traceback.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._sparing = Sparing(_log, lines_per_minute=_LINES_PER_MINUTE)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            text = f"{text} {record.exc_info[0].__name__}"
        self._sparing.write(record.levelno, "%s", text)


def log_sparingly() -> None:
    """Have all of OpenTelemetry's packages log that way."""
    log = logging.getLogger("opentelemetry")
    log.propagate = False
    log.handlers = [FewLines()]
