"""Asks the server in a thread of its own, so that keys are answered however slow it is."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from corral.cli.http.client import APIError, Client, NoServerError
from corral.cli.models.listing import unload
from corral.cli.top.answer import ask
from corral.cli.top.figures import Answer, Look, Rates
from corral.errors import CorralError

# An answer that takes longer is given up, and the server is asked again.
TIMEOUT_S = 10.0
_MAX_PAUSE_S = 5.0


@dataclass(slots=True)
class Status:
    """What the view shows. `problem`: why there is no newer look; `news`: what came of the last command."""

    look: Look
    looked_s: float
    problem: str = ""
    news: str = ""


class Poller:
    """`changed` is called in the thread whenever `status` is new."""

    def __init__(self, client: Client, first: Answer, every_s: float, changed: Callable[[], None]) -> None:
        self._client = client
        self._every_s = every_s
        self._changed = changed
        self._rates = Rates()
        self._commands: queue.Queue[Callable[[], str]] = queue.Queue(maxsize=16)
        self._failures = 0
        now_s = time.monotonic()
        self.status = Status(self._rates.look(first, now_s), now_s)

    def start(self) -> None:
        threading.Thread(target=self._run, name="poller", daemon=True).start()

    def look_now(self) -> None:
        self._add(lambda: "")

    def unload(self, name: str) -> None:
        self._add(lambda: self._unloaded(name))

    def cancel(self, request_id: str) -> None:
        self._add(lambda: self._cancelled(request_id))

    def _unloaded(self, name: str) -> str:
        unload(self._client, name)
        return f"{name} is unloaded as soon as it is idle"

    def _cancelled(self, request_id: str) -> str:
        self._client.call("DELETE", f"/api/requests/{quote(request_id, safe='')}")
        return f"{request_id} is cancelled"

    def _add(self, command: Callable[[], str]) -> None:
        if not self._commands.full():
            self._commands.put(command)

    def _run(self) -> None:
        while True:
            try:
                command = self._commands.get(timeout=self._pause_s)
                self._carry_out(command)
            except queue.Empty:
                pass
            self._look()
            self._changed()

    @property
    def _pause_s(self) -> float:
        return min(self._every_s * 2.0 ** min(self._failures, 10), max(_MAX_PAUSE_S, self._every_s))

    def _carry_out(self, command: Callable[[], str]) -> None:
        try:
            news = command()
        except (APIError, NoServerError, CorralError, OSError) as error:
            news = f"Error: {_text_of(error)}"
        if news:
            self.status.news = news

    def _look(self) -> None:
        before = self.status
        try:
            answer = ask(self._client)
        except (APIError, NoServerError, CorralError, OSError) as error:
            self._failures += 1
            self.status = Status(before.look, before.looked_s, _text_of(error), before.news)
            return
        self._failures = 0
        news = before.news
        if answer.get("started_at") != before.look.answer.get("started_at"):
            news = "the server was started again"
        elif before.problem:
            news = "the server answers again"
        now_s = time.monotonic()
        self.status = Status(self._rates.look(answer, now_s), now_s, "", news)


def _text_of(error: Exception) -> str:
    return " ".join(part for part in (str(error), str(getattr(error, "hint", ""))) if part)
