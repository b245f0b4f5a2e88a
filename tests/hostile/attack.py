"""One client attacks, another asks for the version: what the second sees, and what the server needed for it."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import Server

__all__ = ["Seen", "attack", "peak_mib", "pid_of"]

_HELD = "the event loop was held"


@dataclass(frozen=True)
class Seen:
    """What came of an attack: answers in order, how often the other client was answered, what held the loop."""

    answers: list[tuple[int, bytes]]
    version_count: int
    failed_count: int
    held: list[str]
    grown_mib: int

    @property
    def status(self) -> int:
        return self.answers[0][0]

    @property
    def error(self) -> str:
        value = json.loads(self.answers[0][1])["error"]
        return str(value["message"] if isinstance(value, dict) else value)

    def check(self, *, grown_mib: int = 300) -> None:
        """Nobody waited, and the server did not grow."""
        assert not self.held, self.held
        assert (self.failed_count, self.version_count > 0) == (0, True), self
        assert self.grown_mib <= grown_mib, self


def attack(
    server: Server, *requests: tuple[str, Any], count: int = 1, headers: dict[str, str] | None = None
) -> Seen:
    """Send all requests at once, `count` times each, while a second client asks for the version over and over."""
    idle_mib, first_line = peak_mib(server), len(server.log)
    answers: list[tuple[int, bytes]] = []

    def send(path: str, body: Any) -> None:
        answers.append(server.request("POST", path, body, headers))

    threads = [
        threading.Thread(target=send, args=request, daemon=True) for request in requests for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    version_count = failed_count = 0
    while any(thread.is_alive() for thread in threads) or not version_count:
        if server.request("GET", "/api/version")[0] == 200:
            version_count += 1
        else:
            failed_count += 1
        time.sleep(0.01)  # leaves the processor to the server
    held = [line for line in server.log[first_line:] if _HELD in line]
    return Seen(answers, version_count, failed_count, held, peak_mib(server) - idle_mib)


def pid_of(server: Server) -> int:
    return server.process.pid


def peak_mib(server: Server) -> int:
    """The most memory that the server's process has ever had; 0 where the system does not say."""
    status = Path(f"/proc/{pid_of(server)}/status")
    if not status.exists():
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    return int(found[1]) >> 10 if found else 0
