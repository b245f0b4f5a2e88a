"""Whether there are traces: a setting, and the packages that they need."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corral.traces.otel import Tracing

_log = logging.getLogger("corral.traces")


def open_tracing(*, is_wanted: bool) -> Tracing | None:
    """What traces requests, as the OTEL_* variables say. None: nothing is traced, and nothing was imported."""
    if not is_wanted or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    try:
        from corral.traces.otel import Tracing
    except ImportError as exc:
        _log.error("CORRAL_TRACES is set, but nothing is traced: %s; pip install 'corral[otel]'", exc)
        return None
    return Tracing.from_environment()
