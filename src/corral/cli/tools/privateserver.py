"""A server for one command: on a port of its own, with variables of its own, and the models of this machine."""

from __future__ import annotations

import collections
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType

from corral.cli.http.client import APIError, Client, NoServerError
from corral.hostaddress import HostAddress

_START_S = 60.0
_END_S = 20.0
# It serves nobody else and leaves nothing behind.
_VARIABLES = {
    "OLLAMA_NOPRUNE": "1",
    "OLLAMA_ORIGINS": "",
    "CORRAL_SPARE_ENGINE": "0",
    "CORRAL_PRELOAD": "",
    "CORRAL_PROMPT_STATES": "0",
}


class PrivateServer:
    """Use it as a context manager; `client` speaks to it."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        port = _free_port()
        self._log: collections.deque[str] = collections.deque(maxlen=5)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "corral.cli.main", "serve"],
            env={**os.environ, **_VARIABLES, **variables, "OLLAMA_HOST": f"127.0.0.1:{port}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        threading.Thread(target=self._drain, daemon=True).start()
        self.client = Client(HostAddress.parse(f"127.0.0.1:{port}"))

    def _drain(self) -> None:
        assert self._process.stderr is not None
        self._log.extend(self._process.stderr)

    def __enter__(self) -> PrivateServer:
        try:
            self._wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _wait(self) -> None:
        deadline_s = time.monotonic() + _START_S
        while True:
            try:
                self.client.call("GET", "/api/version")
                return
            except (NoServerError, APIError):
                has_ended = self._process.poll() is not None
                if has_ended or time.monotonic() > deadline_s:
                    text = "".join(self._log).strip() or "no output"
                    raise APIError(f"a server for the measurement could not be started: {text}") from None
            time.sleep(0.02)

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
