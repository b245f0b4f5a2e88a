"""`corral top`: its frame at any size, its keys on a real terminal, and what it does without one."""

from __future__ import annotations

import copy
import datetime
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corral.access.keys import KeyOrder
from corral.access.keystore import KeyStore
from corral.cli.http.client import APIError, Client
from corral.cli.terminal.formatting import display_width
from corral.cli.top.answer import ask
from corral.cli.top.cells import Column, fit, table
from corral.cli.top.figures import Rates
from corral.cli.top.view import choices, frame
from corral.hostaddress import HostAddress
from tests.cli.screen import Screen
from tests.conftest import Server
from tests.waiting import wait_until

NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
LONG = "library/a-model-with-a-rather-long-name:7b-instruct-q4_K_M"
ANSWER: dict[str, Any] = {
    "version": "1.2.3",
    "started_at": "2026-01-01T10:30:00Z",
    "memory": {
        "total": 32_000_000_000,
        "free": 8_000_000_000,
        "devices": [{"name": "CUDA0", "description": "Card", "total": 80_000_000_000, "free": 0}],
    },
    "models": [
        {"name": LONG, "state": "loaded", "size": 4_000_000_000, "size_vram": 4_000_000_000, "slots": 4,
         "context_length": 8192, "expires_at": "2026-01-01T12:05:00Z", "running": 1, "waiting": 2,
         "generated_tokens": 500},
        {"name": "b:latest", "state": "loading", "progress": 0.25, "waiting": 1, "generated_tokens": 0},
    ],
    "requests": [
        {"id": "one", "model": LONG, "path": "/api/chat", "state": "running", "position": 0, "waited_ms": 0,
         "tokens": 100, "tokens_per_s": 12.5, "key": "abcdefgh", "priority": "batch"},
        {"id": "two", "model": LONG, "path": "/api/chat", "state": "slot", "position": 1, "waited_ms": 1500.0,
         "eta_ms": 2500.0, "tokens": 0},
    ],
    "recent": [
        {"id": "old", "model": LONG, "path": "/v1/chat/completions", "status": 200, "tokens": 64, "ms": 2500.0,
         "ended_at": "2026-01-01T11:59:58.5Z", "prompt_tokens": 12, "tokens_per_s": 33.3},
        {"id": "bad", "path": "/api/chat", "status": 404, "tokens": 0, "ms": 1.0, "prompt_tokens": 0,
         "ended_at": "2026-01-01T11:59:50Z", "error": "ModelNotFoundError"},
    ],
}  # fmt: skip


def shown(answer: dict[str, Any], width: int) -> list[str]:
    return [line.text for line in frame(Rates().look(answer, 0.0), width, address="http://x:1", now=NOW)]


def test_a_wide_frame_has_everything() -> None:
    text = "\n".join(shown(ANSWER, 200))
    assert "corral 1.2.3  http://x:1  up 1 h 30 min  1 running  3 waiting" in text
    assert "RAM   [###############-----] 24 GB of 32 GB used" in text
    assert "CUDA0 [####################] 80 GB of 80 GB used" in text
    assert "loading 25%" in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.split()}
    assert lines[LONG][1:] == ["4", "GB", "100%", "GPU", "1/4", "2", "12.5", "8192", "5", "minutes"]
    assert lines["one"] == ["one", LONG, "runs", "0.0", "s", "100", "12.5", "/api/chat", "abcdefgh", "batch"]
    assert lines["two"][2:] == ["waits", "#1", "1.5", "s", "2.5", "s", "/api/chat"]
    assert lines["old"][2:] == ["200", "11:59:58", "2.50", "s", "12", "64", "33.3", "/v1/chat/completions"]
    assert lines["bad"][1:3] == ["404", "ModelNotFoundError"]


def test_a_narrow_frame_keeps_what_matters() -> None:
    lines = shown(ANSWER, 40)
    assert all(display_width(line) <= 40 for line in lines)
    text = "\n".join(lines)
    for wanted in ("1/4", "12.5", "runs", "waits #1", "404", "…"):
        assert wanted in text


@example(2, "\n", 1)
@given(st.integers(1, 300), st.text(max_size=30), st.integers(0, 10**12))
def test_no_line_is_wider_than_the_screen(width: int, name: str, size: int) -> None:
    answer = copy.deepcopy(ANSWER)
    answer["models"][0] |= {"name": name, "size": size}
    answer["memory"]["devices"][0] |= {"name": name, "total": size}
    answer["requests"][0] |= {"id": name, "key": name, "priority": name}
    answer["version"] = name
    for line in shown(answer, width):
        assert display_width(line) <= width
        assert line.isprintable() or not {"\x1b", "\n", "\r", "\t", "\x9b"} & set(line)


@given(st.text(max_size=40), st.integers(0, 50))
def test_a_text_is_cut_to_columns(text: str, width: int) -> None:
    cut = fit(text, width)
    assert display_width(cut) <= max(width, 0)
    assert cut == text.rstrip() or width == 0 or cut.endswith("…")


def test_columns_give_way_by_their_weight() -> None:
    columns = [Column("A", 9, is_cut=True), Column("B", 1), Column("C", 2)]
    rows = [["a" * 20, "bbbb", "cccc"]]
    assert table(columns, rows, 40)[1] == f"{'a' * 20}  bbbb  cccc"
    assert table(columns, rows, 25)[1] == f"{'a' * 12}…  bbbb  cccc"
    assert table(columns, rows, 18)[1] == f"{'a' * 11}…  cccc"
    assert table(columns, rows, 9)[1] == f"{'a' * 8}…"


def test_rates_are_those_between_two_looks() -> None:
    rates = Rates()
    assert rates.look(ANSWER, 10.0).rate("model", LONG) == 12.5  # the mean of the reply that runs
    later = copy.deepcopy(ANSWER)
    later["models"][0]["generated_tokens"] += 80
    later["requests"][0]["tokens"] += 60
    look = rates.look(later, 12.0)
    assert (look.rate("model", LONG), look.rate("request", "one")) == (40, 30)
    assert look.rate("request", "nobody") == 0
    again = copy.deepcopy(ANSWER) | {"started_at": "2026-01-01T11:00:00Z"}  # another server: it counts from 0
    assert rates.look(again, 14.0).rate("model", LONG) == 12.5


def test_what_can_be_chosen() -> None:
    assert choices(Rates().look(ANSWER, 0)) == [
        ("model", LONG), ("model", "b:latest"), ("request", "one"), ("request", "two"),
    ]  # fmt: skip


class _Saying(Client):
    def __init__(self, answer: Any) -> None:
        super().__init__(HostAddress.parse("localhost:1"))
        self._answer = answer

    def call(self, method: str, path: str, body: Any = None, *, accept: str = "*/*") -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def test_an_answer_is_not_believed() -> None:
    assert ask(_Saying(ANSWER)) == ANSWER
    wrong: list[Any] = [None, [], {}, {**ANSWER, "models": None}, {**ANSWER, "started_at": "soon"}]
    for place, name, value in (
        ("models", "size", "x"), ("models", "name", None), ("models", "expires_at", "never"),
        ("requests", "id", 1), ("requests", "tokens", "x"), ("recent", "ms", None), ("recent", "status", "200"),
    ):  # fmt: skip
        answer = copy.deepcopy(ANSWER)
        answer[place][0][name] = value
        wrong.append(answer)
    for answer in wrong:
        with pytest.raises(APIError, match="expected members"):
            ask(_Saying(answer))
    with pytest.raises(APIError, match="is not Corral"):
        ask(_Saying(APIError("404 page not found", 404)))


@pytest.fixture
def busy(fake_server: Callable[..., Server]) -> Iterator[Server]:
    """A server with one request that runs without an end and two that wait."""
    server = fake_server({"OLLAMA_NUM_PARALLEL": "1"}, tokens=10**6, delay_s=0.002)
    with ExitStack() as stack:
        for number in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
            stack.callback(connection.close)
            body = json.dumps({"model": "m", "prompt": "hi"})
            connection.request("POST", "/api/generate", body, {"X-Request-Id": f"chat-{number}"})
            wait_until(lambda number=number: len(server.get("/api/queue")["queue"]) == number + 1)  # type: ignore[misc]
        wait_until(lambda: server.get("/api/queue")["queue"][0].get("tokens", 0) > 2)
        yield server


def test_keys_end_requests_and_unload_models(busy: Server, terminal: Callable[..., Screen]) -> None:
    screen = terminal(busy.env, "top", "--interval", "0.2")
    screen.wait_for("chat-2")
    screen.wait_for("1 running  2 waiting")
    assert not screen.echoes
    screen.type("c")
    screen.wait_for("choose a request with the arrow keys first")
    screen.wait_for("> chat-0")
    screen.type("\x1b[B")
    screen.wait_for("> chat-1")
    screen.type("c")
    screen.wait_for("Cancel request chat-1? y/n")
    screen.type("n")
    screen.wait_for("q quit")
    screen.type("c")
    screen.wait_for("Cancel request chat-1? y/n")
    screen.type("y")
    screen.wait_for("chat-1 is cancelled")
    screen.wait_for("499 Reque")
    screen.type("u")
    screen.wait_for("Unload m:latest? y/n")
    screen.type("y")
    screen.wait_for("m:latest is unloaded as soon as it is idle")
    screen.type("q")
    assert screen.wait_for_end() == 0
    assert screen.raw.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")


@pytest.mark.parametrize(("columns", "lines"), [(40, 24), (80, 24), (200, 50), (20, 4), (3, 1)])
def test_any_size(busy: Server, terminal: Callable[..., Screen], columns: int, lines: int) -> None:
    screen = terminal(busy.env, "top", columns=columns, lines=lines)
    screen.wait_for(lambda: screen.raw.count("\x1b[H") >= 2 if columns >= 20 else "\x1b[H" in screen.raw)
    if columns >= 40:
        screen.wait_for("chat-2")
        assert "q quit" in screen.lines[-1]
    screen.type("\x03")
    assert screen.wait_for_end() == 130
    assert screen.raw.rstrip().endswith("\x1b[?1049l")


def test_a_screen_that_changes_its_size(busy: Server, terminal: Callable[..., Screen]) -> None:
    screen = terminal(busy.env, "top", columns=200, lines=40)
    screen.wait_for("/api/generate")
    screen.resize(50, 12)
    screen.wait_for(lambda: "q quit" in screen.lines[-1] and len(screen.lines) == 12)
    assert all(len(line) <= 50 for line in screen.lines)
    screen.terminate()
    assert screen.wait_for_end() == 128 + signal.SIGTERM
    assert screen.raw.endswith("\x1b[?1049l")


def test_without_colour(busy: Server, terminal: Callable[..., Screen]) -> None:
    colored = terminal(busy.env, "top")
    colored.wait_for("chat-2")
    assert colored.color_of("chat-0") == "green"
    plain = terminal(busy.env, "top", no_color="1")
    plain.wait_for("chat-2")
    assert not re.search(r"\x1b\[[0-9;]*m", plain.raw)


def test_a_server_that_goes_and_comes_back(
    fake_server: Callable[..., Server], start_server: Callable[..., Server], terminal: Callable[..., Screen]
) -> None:
    server = fake_server()
    screen = terminal(server.env, "top", "--interval", "0.2")
    screen.wait_for("q quit")
    server.close()
    screen.wait_for("Lost the server, trying again: nothing is listening")
    start_server(OLLAMA_HOST=f"127.0.0.1:{server.port}")
    screen.wait_for("the server was started again")
    screen.type("q")
    assert screen.wait_for_end() == 0


def run(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "corral.cli.main", "top", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)


def test_without_a_terminal_it_looks_once(busy: Server) -> None:
    for words in ((), ("--once",)):
        done = run(busy.env, *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert "\x1b" not in done.stdout
        assert "chat-2" in done.stdout
    found = json.loads(run(busy.env, "--json").stdout)
    assert [request["id"] for request in found["requests"]] == ["chat-0", "chat-1", "chat-2"]
    done = run(busy.env, "--interval", "soon")
    assert done.returncode == 1
    assert "--interval" in done.stderr


def test_over_the_network_with_a_key(start_server: Callable[..., Server], tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys.sqlite3")
    texts = {scopes: keys.create(KeyOrder(scopes[0], scopes=scopes))[1] for scopes in (("read",), ("infer",))}
    server = start_server(CORRAL_AUTH="on", CORRAL_KEYS=str(keys.path))
    done = run({**server.env, "CORRAL_API_KEY": texts["read",]})
    assert done.returncode == 0
    assert "corral " in done.stdout
    done = run({**server.env, "CORRAL_API_KEY": texts["infer",]})
    assert done.returncode == 1
    assert "scope 'read'" in done.stderr
    assert run(server.env).returncode == 1


@pytest.mark.process
def test_other_commands_do_not_load_it() -> None:
    program = "import corral.cli.main, corral.cli.frame.commands, corral.cli.models.listing, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert not [name for name in done.stdout.split() if name.startswith(("corral.cli.top", "rich"))]
