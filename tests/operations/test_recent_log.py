"""The last lines of the log over HTTP: bounded, for administrators, without what people write."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from corral.recentlog import KEPT_LINES, RecentLines
from tests.conftest import PLAIN_TEMPLATE, Server
from tests.waiting import wait_until


@pytest.fixture
def lines() -> RecentLines:
    return RecentLines()


@pytest.fixture
def log(lines: RecentLines) -> logging.Logger:
    found = logging.Logger("corral.test", logging.DEBUG)
    found.addHandler(lines)
    return found


def messages(lines: RecentLines) -> list[str]:
    return [line.message for line in lines.since(0)]


def test_old_lines_make_room_for_new_ones(lines: RecentLines, log: logging.Logger) -> None:
    for number in range(KEPT_LINES + 7):
        log.info("line %d", number)
    assert messages(lines) == [f"line {number}" for number in range(7, KEPT_LINES + 7)]


def test_only_what_came_since(lines: RecentLines, log: logging.Logger) -> None:
    log.info("one")
    (one,) = lines.since(0)
    log.error("two")
    (two,) = lines.since(one.number)
    assert (two.level, two.logger, two.message) == ("ERROR", "corral.test", "two")
    assert lines.since(two.number) == []


def test_what_is_for_debugging_is_not_kept(lines: RecentLines, log: logging.Logger) -> None:
    log.debug("the prompt")
    assert messages(lines) == []


def test_bodies_are_not_kept(start_server: Callable[..., Server]) -> None:
    """Where they are logged because that is wanted."""
    server = start_server(CORRAL_LOG_BODIES="1")
    server.create("say", "say", template=PLAIN_TEMPLATE)
    server.post("/api/generate", {"model": "say", "prompt": "canary", "stream": False})
    wait_until(lambda: any("canary" in line for line in server.log))
    assert "canary" not in json.dumps(kept(server))


def test_looks_at_the_log_and_files_of_the_page_do_not_fill_it(server: Server) -> None:
    last = kept(server)[-1]["number"]
    for path in ("/ui/", "/ui/index.html", "/api/logs", "/ui/none"):
        server.request("GET", path)
    new = [line["message"] for line in kept(server, f"?after={last}") if "/ui/" in line["message"]]
    assert ["path=/ui/none" in message for message in new] == [True], new


def test_lines_are_short_and_plain(lines: RecentLines, log: logging.Logger) -> None:
    log.warning("%s", "x" * 100_000)
    log.warning("a\nforged line \x1b[31m\u202e")
    log.warning("%d", "not a number")
    first, second, third = messages(lines)
    assert len(first) == 1000
    assert second == "a\\nforged line \\x1b[31m\\u202e"
    assert third == "a log record could not be formatted"


def test_tracebacks_are_left_out(lines: RecentLines, log: logging.Logger) -> None:
    try:
        raise ValueError("the prompt")
    except ValueError:
        log.exception("it failed")
    assert messages(lines) == ["it failed"]


def kept(server: Server, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.get(f"/api/logs{query}")["lines"]
    return found


def test_requests_are_in_it_and_prompts_are_not(server: Server) -> None:
    last = kept(server)[-1]["number"] if kept(server) else 0
    server.post("/api/generate", {"model": "say", "prompt": "canary now canary", "stream": False})
    new = kept(server, f"?after={last}")
    assert new, "the load of a model or the request is logged"
    assert all(line["number"] > last for line in new)
    assert "canary" not in json.dumps(kept(server))


@pytest.mark.parametrize("after", ["-1", "x", "1" * 30, "%D9%A1"])
def test_numbers_that_are_none_are_refused(server: Server, after: str) -> None:
    status, body = server.request("GET", f"/api/logs?after={after}")
    assert (status, "after" in json.loads(body)["error"]) == (400, True)
