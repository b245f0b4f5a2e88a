"""Bodies of inference requests in files, each with a script that sends it again (`OLLAMA_DEBUG_LOG_REQUESTS`)."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import shlex
import tempfile
import time
from pathlib import Path

_log = logging.getLogger("corral.http")
_ROUTES = frozenset(
    {
        "/api/generate",
        "/api/chat",
        "/api/embed",
        "/api/embeddings",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/messages",
    }
)


class RequestLog:
    """A folder that only this user can read; nothing in it is ever deleted. `base` is the address of the server."""

    def __init__(self, base: str) -> None:
        self._base = base
        self.folder = Path(tempfile.mkdtemp(prefix="corral-requests-"))
        self._serial = itertools.count(1)
        _log.info("bodies of inference requests, with what users wrote, are kept in %s", self.folder)

    async def keep(self, path: str, body: bytes) -> None:
        """Write a body and its script if the route is one of inference. What cannot be written is only mentioned."""
        if path not in _ROUTES:
            return
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{next(self._serial)}-{path.strip('/').replace('/', '-')}"
        try:
            await asyncio.to_thread(self._write, name, path, body)
        except OSError as exc:
            _log.warning("a request body is not kept: %s", exc.strerror or exc)

    def _write(self, name: str, path: str, body: bytes) -> None:
        data, script = self.folder / f"{name}.json", self.folder / f"{name}.sh"
        text = (
            "#!/bin/sh\n"
            f"curl --no-buffer {shlex.quote(self._base + path)} -H 'Content-Type: application/json'"
            f" --data-binary @{shlex.quote(str(data))}\n"
        )
        for file, content, mode in ((data, body, 0o600), (script, text.encode(), 0o700)):
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
                out.write(content)
