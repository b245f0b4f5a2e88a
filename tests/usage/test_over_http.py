"""`/api/usage` of a running server: who sees what, in which form, and what a crash leaves."""

from __future__ import annotations

import csv
import http.client
import io
import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from corral.usage import ledger
from tests.conftest import Server
from tests.waiting import wait_until

BODY = {"model": "m", "prompt": "two words", "stream": False}


def file_of(server: Server) -> Path:
    return server.folder / ".corral" / "usage.sqlite3"


def written(server: Server, column: str = "requests") -> int:
    """The sum of a column, as the file has it."""
    if not file_of(server).exists():
        return 0
    with closing(sqlite3.connect(file_of(server))) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'usage'").fetchone():
            return 0
        (found,) = connection.execute(f"SELECT coalesce(sum({column}), 0) FROM usage").fetchone()
        return int(found)


def make_key(server: Server, name: str, *scopes: str) -> dict[str, Any]:
    status, data = server.request("POST", "/api/keys", {"name": name, "scopes": list(scopes)})
    assert status == 201
    found: dict[str, Any] = json.loads(data)
    return found


@pytest.fixture(scope="module")
def used(process: None) -> Iterator[tuple[Server, dict[str, Any], dict[str, Any]]]:
    """A server that two keys have used, one of them revoked since: `alice` twice, `bob` once, others once."""
    from tests.conftest import FAKE_ENGINE, PLAIN_TEMPLATE

    server = Server(CORRAL_LLAMA_SERVER=str(FAKE_ENGINE), CORRAL_ENGINE_ENV="FAKE_*", FAKE_TOKENS="5")
    try:
        server.create("m", "say", template=PLAIN_TEMPLATE)
        alice, bob = make_key(server, "alice", "infer"), make_key(server, "=bob", "infer", "admin")
        for key in (alice, alice, bob, None):
            headers = {"Authorization": f"Bearer {key['key']}"} if key else {}
            assert server.request("POST", "/api/generate", BODY, headers)[0] == 200
        assert (
            server.request("POST", "/v1/chat/completions", {"model": "unknown-model", "messages": []})[0]
            >= 400
        )
        assert server.request("GET", "/api/tags")[0] == 200
        carol = make_key(server, "carol", "infer")
        server.request("POST", "/api/generate", BODY, {"Authorization": f"Bearer {carol['key']}"})
        assert server.request("DELETE", f"/api/keys/{carol['id']}")[0] == 200
        yield server, alice, bob
    finally:
        server.close()


def ask(
    server: Server, query: str = "", key: dict[str, Any] | None = None, **headers: str
) -> tuple[int, str]:
    if key is not None:
        headers["Authorization"] = f"Bearer {key['key']}"
    status, data = server.request("GET", f"/api/usage{query}", headers=headers)
    return status, data.decode()


Used = tuple[Server, dict[str, Any], dict[str, Any]]


def test_everything_is_added_up(used: Used) -> None:
    answer = json.loads(ask(used[0], "?by=model,surface")[1])
    assert [(row["model"], row["surface"], row["requests"], row["errors"]) for row in answer["usage"]] == [
        ("", "openai", 1, 1),
        ("m:latest", "native", 5, 0),
    ]
    assert answer["by"] == ["model", "surface"]
    total = answer["total"]
    assert (total["requests"], total["generated_tokens"], total["cancelled"]) == (6, 25, 0)
    assert total["prompt_tokens"] == 5 * 2
    assert total["ms"] > 0
    assert "unknown-model" not in json.dumps(answer)


def test_days(used: Used) -> None:
    server = used[0]
    (row,) = json.loads(ask(server)[1])["usage"]
    assert row["requests"] == 6
    day = row["day"]
    for query, count in (
        (f"?since={day}&until={day}", 6),
        (f"?from={day}&to={day}", 6),
        ("?since=7d", 6),
        ("?since=all", 6),
        ("?until=2020-01-01", 0),
        ("?since=2999-01-01", 0),
    ):
        assert json.loads(ask(server, query)[1])["total"]["requests"] == count, query


def test_a_key_sees_its_own(used: Used) -> None:
    server, alice, bob = used
    mine = json.loads(ask(server, "?by=key", alice)[1])
    assert [(row["key"], row["key_name"], row["requests"]) for row in mine["usage"]] == [
        (alice["id"], "alice", 2)
    ]
    assert json.loads(ask(server, f"?key={alice['id']}", alice)[1])["total"]["requests"] == 2
    for other in (bob["id"], "", "nobody"):
        status, text = ask(server, f"?key={other}", alice)
        assert status == 403 and "admin" in text
    every = json.loads(ask(server, "?by=key", bob)[1])
    assert {(row["key_name"], row["requests"]) for row in every["usage"]} == {
        ("", 2), ("alice", 2), ("=bob", 1), ("carol", 1)
    }  # fmt: skip
    assert json.loads(ask(server, f"?key={alice['id']}", bob)[1])["total"]["requests"] == 2
    assert json.loads(ask(server, "?key=", bob)[1])["total"]["requests"] == 2  # those without a key


def test_filters(used: Used) -> None:
    server = used[0]
    for query, count in (("?model=m", 5), ("?model=M:latest", 5), ("?model=n", 0), ("?surface=openai", 1)):
        assert json.loads(ask(server, query)[1])["total"]["requests"] == count, query


@pytest.mark.parametrize("query", ["", "&format=csv"])
def test_csv(used: Used, query: str) -> None:
    """By Accept, or by the query."""
    accept = "application/json" if query else "text/csv, */*;q=0.1"
    text = ask(used[0], f"?by=key,model{query}", Accept=accept)[1]
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == [
        "key", "key_name", "model", "requests", "errors", "cancelled", "prompt_tokens", "cached_tokens",
        "generated_tokens", "drafted_tokens", "ms",
    ]  # fmt: skip
    assert {row["key_name"]: row["generated_tokens"] for row in rows if row["model"]} == {
        "": "5", "alice": "10", "'=bob": "5", "carol": "5"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("?by=hour", "hour"),
        ("?by=,", "nothing"),
        ("?since=soon", "soon"),
        ("?since=2026-11-30&until=2026-11-29", "before"),
        ("?since=7d&from=7d", "more than once"),
        ("?since=7d&since=8d", "more than once"),
        ("?sinse=7d", "sinse"),
        ("?format=xml", "xml"),
        ("?model=a%20b", "not the name"),
        (f"?model={'x' * 5000}", "longer"),
    ],
)
def test_questions_that_make_no_sense(used: Used, query: str, word: str) -> None:
    status, text = ask(used[0], query)
    assert status == 400 and word in text


def test_the_middle_of_a_stream_counts(fake_server: Callable[..., Server]) -> None:
    server = fake_server({}, tokens=10**6, delay_s=0.002)
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("POST", "/api/generate", json.dumps({"model": "m", "prompt": "x"}))
        response = connection.getresponse()
        for _ in range(5):
            response.readline()
        response.close()
    wait_until(lambda: written(server, "cancelled") == 1)
    (row,) = server.get("/api/usage?by=model")["usage"]
    assert (row["requests"], row["errors"], row["cancelled"]) == (1, 0, 1)
    assert row["generated_tokens"] >= 5
    # The log says the same of it.
    (line,) = [line for line in server.log if "status=499" in line]
    assert f"tokens={row['generated_tokens']} " in line


def test_a_killed_server_loses_what_was_not_written_yet_and_no_more(
    fake_server: Callable[..., Server],
) -> None:
    server = fake_server({}, tokens=3)
    for _ in range(20):
        server.post("/api/generate", BODY)
    wait_until(lambda: written(server) == 20)
    for _ in range(7):
        server.post("/api/generate", BODY)
    server.process.kill()
    server.process.wait()
    assert 20 <= written(server) <= 27
    assert written(server, "generated") == 3 * written(server)
    with closing(sqlite3.connect(file_of(server))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    # Writing begins this long after a request at the latest; a second is what is promised.
    assert ledger._DELAY_S <= 0.5


def test_a_server_that_is_told_to_stop_loses_nothing(fake_server: Callable[..., Server]) -> None:
    """Neither what was answered in the last moment, nor what still runs."""
    server = fake_server({}, tokens=40, delay_s=0.01)
    for _ in range(5):
        server.post("/api/generate", BODY)
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("POST", "/api/generate", json.dumps({**BODY, "stream": True}))
        response = connection.getresponse()
        response.readline()
        server.process.send_signal(signal.SIGTERM)
        lines = response.read().splitlines()
    assert json.loads(lines[-1])["eval_count"] == 40
    assert server.process.wait(120) == 0
    assert (written(server), written(server, "generated")) == (6, 240)


def test_a_restart_goes_on_where_it_was(start_server: Callable[..., Server], tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    for number in (1, 2):
        server = start_server(CORRAL_USAGE_DB=str(path))
        server.request("POST", "/api/generate", {"model": "none"})
        assert server.get("/api/usage")["total"]["errors"] == number
        server.close()


def test_requests_go_on_without_a_ledger(fake_server: Callable[..., Server], tmp_path: Path) -> None:
    """The file is a folder: one line of the log says so, and everything is there once it is gone."""
    path = tmp_path / "usage.sqlite3"
    path.mkdir()
    server = fake_server({"CORRAL_USAGE_DB": str(path)}, tokens=3)
    for _ in range(5):
        server.post("/api/generate", BODY)
    wait_until(lambda: any("usage is kept in memory" in line for line in server.log))
    status, text = ask(server)
    assert status == 500 and str(path) in text
    path.rmdir()
    wait_until(lambda: any("usage is written again" in line for line in server.log))
    assert server.get("/api/usage")["total"]["requests"] == 5
    assert sum("usage is kept in memory" in line for line in server.log) == 1


def test_switched_off(start_server: Callable[..., Server]) -> None:
    server = start_server(CORRAL_USAGE="0")
    server.request("POST", "/api/generate", {"model": "none"})
    assert ask(server)[0] == 404
    server.close()
    assert not file_of(server).exists()


def test_the_prompt_of_a_reply_that_was_given_up_counts(start_server: Callable[..., Server]) -> None:
    """On the engine: as much as for a whole reply to the same prompt, and what is cached by then as cached."""
    server = start_server()
    server.create("m", "tiny")
    body = {"model": "m", "prompt": "the fox goes home because snow falls", "options": {"num_predict": 2}}
    whole = server.post("/api/generate", {**body, "stream": False})
    prompt_count = whole["prompt_eval_count"]
    body["options"] = {"num_predict": 5000, "seed": 1}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("POST", "/api/generate", json.dumps(body))
        response = connection.getresponse()
        response.readline()
        response.close()
    wait_until(lambda: server.get("/api/usage")["total"]["requests"] == 2)
    total = server.get("/api/usage")["total"]
    assert total["prompt_tokens"] == 2 * prompt_count
    assert 0 < total["cached_tokens"] < 2 * prompt_count
    assert total["generated_tokens"] > 2


def test_decisions_count(start_server: Callable[..., Server]) -> None:
    server = start_server()
    server.create("m", "say", template="{{ .Prompt }}")
    body = {"model": "m", "state": "x", "questions": {"q": {"type": "noul", "instructions": "?"}}}
    usage = server.post("/v1/systemone", body)["usage"]
    total = server.get("/api/usage?surface=systemone")["total"]
    assert (total["prompt_tokens"], total["generated_tokens"]) == (
        usage["input_tokens"],
        usage["output_tokens"],
    )
    assert total["prompt_tokens"] > 0
