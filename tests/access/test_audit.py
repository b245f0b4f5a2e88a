"""The audit log: what is in it, that it is private, bounded, and shows when it was changed."""

from __future__ import annotations

import datetime
import gzip
import json
import multiprocessing
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.access.audit import Act, AuditLog, check, digest_of
from corral.access.auditbodies import recorded_body
from tests.access.conftest import KeyedServer, bearer, scoped
from tests.access.test_packages import corral
from tests.conftest import PLAIN_TEMPLATE, Server
from tests.waiting import wait_until

DAY = datetime.date(2026, 11, 30)


def act(number: int = 0, *, target: str = "say:latest", actor: str = "local") -> Act:
    return Act(actor, "127.0.0.1", "POST /api/pull", (target,), "done", f"{number:x}", 1.25)


def lines(log: AuditLog) -> list[bytes]:
    return [line for path in log.files() for line in path.read_bytes().splitlines()]


def test_a_chain_of_lines(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit", today=lambda: DAY)
    for number in range(5):
        log.write(act(number))
    found = lines(log)
    assert [json.loads(line)["prev"] for line in found] == ["", *map(digest_of, found[:-1])]
    assert list(json.loads(found[0])) == [
        "ts",
        "id",
        "actor",
        "address",
        "act",
        "target",
        "result",
        "ms",
        "prev",
    ]
    assert check(log) == (5, [])
    assert stat.S_IMODE(log.files()[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(log.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda found: [*found[:1], *found[2:]], 2),
        (lambda found: [found[0], found[1].replace(b"done", b"gone"), *found[2:]], 3),
        (lambda found: [found[1], found[0], *found[2:]], 2),
        (lambda found: [*found[:2], b'{"prev":', *found[3:]], 3),
        (lambda found: [*found[:2], found[1], *found[2:]], 3),
    ],
)
def test_changes_show(tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], place: int) -> None:
    log = AuditLog(tmp_path, today=lambda: DAY)
    for number in range(4):
        log.write(act(number))
    log.files()[0].write_bytes(b"\n".join(change(lines(log))) + b"\n")
    _, problems = check(log)
    assert problems and f":{place}:" in problems[0]


@given(st.text(max_size=600), st.text(max_size=600))
def test_any_text_is_one_line(tmp_path_factory: pytest.TempPathFactory, actor: str, target: str) -> None:
    log = AuditLog(tmp_path_factory.mktemp("audit"))
    log.write(act(actor=actor, target=target))
    log.write(act())
    data = log.files()[0].read_bytes()
    assert data.count(b"\n") == 2 and all(32 <= byte < 127 or byte == 10 for byte in data)
    assert json.loads(lines(log)[0])["target"] == [target[:500]]
    assert check(log) == (2, [])


def test_days_and_sizes(tmp_path: Path) -> None:
    """The chain goes on over files; old files go when a day begins, and strangers' files stay."""
    day = [DAY]
    log = AuditLog(tmp_path, keep_days=2, max_file_bytes=700, today=lambda: day[0])
    (tmp_path / "audit-2020-01-01.txt").write_text("not ours")
    for number in range(8):
        log.write(act(number))
    assert len(log.files()) > 2 and max(path.stat().st_size for path in log.files()) <= 700
    assert check(log) == (8, [])
    for step in range(1, 4):
        day[0] = DAY + datetime.timedelta(days=step)
        log.write(act())
    assert {path.name[6:16] for path in log.files()} == {"2026-12-01", "2026-12-02", "2026-12-03"}
    assert check(log) == (3, [])
    assert (tmp_path / "audit-2020-01-01.txt").exists()


def test_a_torn_line_does_not_take_the_next_one_with_it(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, today=lambda: DAY)
    log.write(act(1))
    with log.files()[0].open("ab") as file:
        file.write(b'{"ts":"2026')
    log.write(act(2))
    assert [json.loads(line)["id"] for line in lines(log)[::2]] == ["1", "2"]
    count, problems = check(log)
    assert count == 3 and [problem.split(":")[1] for problem in problems] == ["2"]


def _write(folder: Path, count: int) -> None:
    log = AuditLog(folder)
    for number in range(count):
        log.write(act(number))


@pytest.mark.process
def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, 20)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert check(AuditLog(tmp_path)) == (60, [])


def test_what_is_written_down(start_server: Callable[..., Server]) -> None:
    server = KeyedServer(CORRAL_OFFLINE="1", CORRAL_REGISTRY="push")
    try:
        folder = server.folder / ".corral" / "audit"
        log = AuditLog(folder)

        def found() -> list[tuple[Any, ...]]:
            records = [json.loads(line) for line in lines(log)]
            return [(r["actor"].split(" ")[-1], r["act"], r["target"], r["result"]) for r in records]

        server.create("say", "say", template=PLAIN_TEMPLATE)
        worker = bearer(server.make("worker", **scoped(("infer", "manage"), "say*")))
        server.request("GET", "/api/tags", None, worker)  # not an act
        server.request("POST", "/api/generate", {"model": "say", "prompt": "now A", "stream": False}, worker)
        server.request("POST", "/api/copy", {"source": "say", "destination": "say-\x1b[2J2"}, worker)
        server.request("POST", "/api/copy", {"source": "say", "destination": "say-2"}, worker)
        server.request("DELETE", "/api/delete", {"model": "tiny"}, worker)
        server.request("DELETE", "/api/delete", {"model": "say-9"}, worker)
        server.request("POST", "/api/pull", {"model": "say-far"}, worker)
        server.request("DELETE", "/api/delete", {"model": "say"}, {})  # a stranger, who is refused with 401
        server.request("POST", "/api/keys", {"name": "new\u202e"})
        status, answer = server.request("POST", "/api/keys", {"name": "new", "scopes": ["read"]})
        made = json.loads(answer)
        server.request("DELETE", f"/api/keys/{made['id']}")
        server.request("PUT", "/v2/library/say/manifests/latest", {}, server.auth("registry:push"))
        assert status == 201
        wait_until(lambda: found() and found()[-1][1].startswith("PUT"))
        acts = found()
        assert ("worker", "POST /api/copy", ["say:latest", "say-2:latest"], "done") in acts
        assert ("worker", "DELETE /api/delete", ["tiny:latest"], "refused 403") in acts
        assert ("worker", "DELETE /api/delete", ["say-9:latest"], "failed 404") in acts
        assert ("worker", "POST /api/pull", ["say-far:latest"], "failed 200") in acts
        assert ("admin", "POST /api/keys", [f"key {made['id']} new"], "done") in acts
        assert ("admin", "DELETE /api/keys/:id", [f"key {made['id']} new"], "done") in acts
        assert acts[-1][:2] == ("registry:push", "PUT /v2/:repository/manifests/:reference")
        assert not [one for one in acts if "GET" in one[1] or "generate" in one[1]]
        written = b"".join(lines(log))
        assert made["key"][12:].encode() not in written and b"\x1b" not in written
        assert check(log)[1] == []
        assert "no problems" in corral(server, "audit", "check").stderr
        shown = corral(server, "audit").stdout
        assert "DELETE /api/delete" in shown and "\x1b" not in shown
    finally:
        server.close()


SECRET = "hunter2-" + "s" * 20


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"model": "a", "password": SECRET}, {"model": "a", "password": "(hidden)"}),
        (
            {"API-Key": SECRET, "x": [{"hf_token": SECRET}]},
            {"API-Key": "(hidden)", "x": [{"hf_token": "(hidden)"}]},
        ),
        ({"auth": {"user": SECRET, "n": 1}}, {"auth": {"user": "(hidden)", "n": 1}}),
        ({"tokens_per_day": 5, "key": None}, {"tokens_per_day": 5, "key": None}),
        ({"from": f"https://me:{SECRET}@host/x"}, {"from": "https://***@host/x"}),
        ({"note": f"see sk-{SECRET}."}, {"note": "see (hidden)."}),
        (f"ck_abcdefgh_{'A1' * 21}", "(hidden)"),
        ({"system": "x" * 600}, {"system": "x" * 500 + "..."}),
    ],
)
def test_bodies_without_secrets(body: object, kept: object) -> None:
    assert recorded_body(json.dumps(body).encode()) == kept


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe", b"GGUF" * 9, b"[" * 200_000, b"1" * 9999, b'{"a": ' + b"9" * 5000 + b"}", b" " * 300_000],
)
def test_bodies_that_are_only_measured(data: bytes) -> None:
    assert recorded_body(data) == f"({len(data)} bytes)"


def test_bodies_are_bounded() -> None:
    assert recorded_body(b"") is None
    deep = recorded_body(b'{"a":' * 200 + b"1" + b"}" * 200)
    assert len(json.dumps(deep)) < 300
    for value in (["x" * 400] * 400, {str(n): n for n in range(9999)}, ["://a:" * 10_000 + "@"] * 9):
        text = recorded_body(json.dumps(value).encode())
        assert isinstance(text, str) and len(text) < 4100


def test_bodies_where_they_are_asked_for(start_server: Callable[..., Server]) -> None:
    """Of acts alone, whoever sent them and whatever came of it; a line stays a line, and the chain whole."""
    server = KeyedServer(CORRAL_OFFLINE="1", CORRAL_AUDIT_BODIES="1")
    try:
        log = AuditLog(server.folder / ".corral" / "audit")
        server.create("say", "say", template=PLAIN_TEMPLATE)
        pull = {"model": "far", "username": "me", "password": SECRET, "stream": False}
        server.request("POST", "/api/pull", pull)
        server.request("POST", "/api/generate", {"model": "say", "prompt": "a prompt", "stream": False,
                                                "options": {"num_predict": 2}})  # fmt: skip
        server.request("DELETE", "/api/delete", {"model": "gone"}, server.auth("manage"))
        server.request("DELETE", "/api/delete", {"model": "say"}, server.auth("read"))
        server.request("POST", "/api/create", b"{not json" + SECRET.encode())
        server.request("POST", "/api/copy", gzip.compress(b'{"source": "say", "destination": "b"}'),
                       {**server.auth("admin"), "Content-Encoding": "gzip"})  # fmt: skip
        server.request("POST", "/api/keys", {"name": "new", "note": f"ck_abcdefgh_{'B2' * 21}"})
        wait_until(lambda: any(b"/api/keys" in line for line in lines(log)))
        records = [json.loads(line) for line in lines(log)]
        bodies = {record["act"]: record.get("body") for record in records if record["actor"][-4:] != "read"}
        assert bodies["POST /api/pull"] == {**pull, "password": "(hidden)"}
        assert bodies["DELETE /api/delete"] == {"model": "gone"}
        assert bodies["POST /api/copy"] == {"source": "say", "destination": "b"}
        assert bodies["POST /api/create"] == f"({len(SECRET) + 9} bytes)"
        assert bodies["POST /api/blobs/:digest"] is None
        assert bodies["POST /api/keys"] == {"name": "new", "note": "(hidden)"}
        assert not [record for record in records if record["actor"].endswith("read") and "body" in record]
        written = b"".join(lines(log))
        assert SECRET.encode() not in written and b"a prompt" not in written and b"B2B2" not in written
        assert check(log)[1] == []
        assert "POST /api/pull" in corral(server, "audit").stdout
    finally:
        server.close()


def test_nothing_is_written_while_nobody_has_a_key(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """A server on one's own machine stays as it is, unless a folder is named."""
    server = start_server()
    server.create("say", "say")
    assert not (server.folder / ".corral").exists()
    named = start_server(CORRAL_AUDIT=str(tmp_path / "acts"))
    named.create("say", "say")
    log = AuditLog(tmp_path / "acts")
    wait_until(lambda: len(lines(log)) == 2)
    assert [json.loads(line)["actor"] for line in lines(log)] == ["local", "local"]
