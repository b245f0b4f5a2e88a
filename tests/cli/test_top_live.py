"""What the live view says when the server is slow, refuses, or goes away; without a terminal and without a server."""

from __future__ import annotations

import time
from typing import Any, cast

from corral.cli.http.client import APIError, Client, NoServerError
from corral.cli.top.live import Live
from corral.cli.top.poller import Poller
from corral.cli.top.screen import FullScreen
from corral.cli.top.view import Line
from corral.hostaddress import HostAddress
from tests.cli.test_top import ANSWER, LONG


class _Server(Client):
    """Answers one after the other; an error is raised. `asked` are the calls."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(HostAddress.parse("localhost:1"))
        self._answers = list(answers)
        self.asked: list[tuple[str, str]] = []

    def call(self, method: str, path: str, body: Any = None, *, accept: str = "*/*") -> Any:
        self.asked.append((method, path))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Screen:
    size = (80, 24)

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def draw(self, lines: list[Line]) -> None:
        self.lines = lines


def view(poller: Poller) -> tuple[Live, _Screen]:
    screen = _Screen()
    return Live(poller, cast("FullScreen", screen), "http://x:1"), screen


def poller_of(*answers: Any) -> Poller:
    return Poller(_Server(*answers), ANSWER, 1.0, lambda: None)


def test_a_server_that_refuses_is_asked_less_and_less_often() -> None:
    refusal = APIError("too many requests", 429, hint="wait")
    poller = poller_of(*[refusal] * 5, ANSWER)
    pauses = []
    for _ in range(5):
        pauses.append(poller._pause_s)
        poller._look()
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]
    live, screen = view(poller)
    live._draw()
    assert screen.lines[-1].text == "Lost the server, trying again: too many requests wait"
    assert any(LONG[:12] in line.text for line in screen.lines)  # the look of before stays
    poller._look()
    assert (poller.status.problem, poller.status.news) == ("", "the server answers again")
    assert poller._pause_s == 1.0


def test_another_server_at_the_same_address() -> None:
    poller = poller_of(
        NoServerError(hint="nothing is listening"), ANSWER | {"started_at": "2026-01-01T11:00:00Z"}
    )
    poller._look()
    poller._look()
    assert poller.status.news == "the server was started again"


def test_a_server_that_says_nothing() -> None:
    poller = poller_of()
    poller.status.looked_s = time.monotonic() - 60
    live, screen = view(poller)
    live._draw()
    assert screen.lines[-1].text.startswith("The server has not answered for 6")
    assert screen.lines[-1].style == "alarm"


def test_commands_that_fail_are_said() -> None:
    poller = poller_of(APIError("this API key may not unload models", 403, hint="use another"), ANSWER)
    poller.unload("m")
    poller._carry_out(poller._commands.get_nowait())
    assert poller.status.news == "Error: this API key may not unload models use another"
    for _ in range(100):  # somebody leans on the key
        poller.look_now()
    assert poller._commands.full()


def test_names_are_quoted_in_paths() -> None:
    server = _Server({"cancelled": 1})
    poller = Poller(server, ANSWER, 1.0, lambda: None)
    poller.cancel("a/../b")
    poller._carry_out(poller._commands.get_nowait())
    assert server.asked == [("DELETE", "/api/requests/a%2F..%2Fb")]


def test_what_is_asked_is_about_what_is_chosen() -> None:
    poller = poller_of()
    live, screen = view(poller)
    for keys, last in (
        (["down"], "q quit"),
        (["u"], f"Unload {LONG}? y/n"),
        (["q"], "q quit"),  # not a yes, and not the end either
        (["end", "c"], "Cancel request two? y/n"),
        (["escape", "up", "up", "up", "up", "up", "c"], "choose a request with the arrow keys first"),
        (["c"], "Cancel request one? y/n"),
    ):
        for key in keys:
            live._press(key)
        live._draw()
        assert screen.lines[-1].text.startswith(last), keys
    chosen = [line.text for line in screen.lines if line.style == "chosen"]
    assert len(chosen) == 1
    assert chosen[0].startswith("> one")
