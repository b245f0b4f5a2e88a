"""Background tasks: their failures are logged at once."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

_log = logging.getLogger("corral")


def log_failure(task: asyncio.Task[Any]) -> None:
    """A done callback; asyncio itself would only log the failure when the task is collected, if ever."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a background task failed name=%s", task.get_name(), exc_info=error)
