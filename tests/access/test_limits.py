"""Limits: that no minute and no day ever has more than is allowed, and no less than nearly all of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from corral.access.allowances import KeyAllowance, headers_of
from corral.access.limits import DAY_S, WINDOW_S, Ledger, Ledgers, Window
from corral.access.spent import Spent
from corral.caller import Limits
from corral.errors import RateLimitError
from tests.access.conftest import KeyedServer, bearer
from tests.conftest import FAKE_ENGINE, PLAIN_TEMPLATE, Server
from tests.waiting import wait_until

START_S = 10 * DAY_S - 30.0  # a day ends soon


class LimitsMachine(RuleBasedStateMachine):
    """Requests come, set tokens aside and end, in any order and at any time, against a plain list of what was."""

    @initialize(
        limits=st.builds(
            Limits,
            rpm=st.integers(0, 5),
            tpm=st.integers(0, 300),
            tokens_per_day=st.integers(0, 500),
            max_parallel=st.integers(0, 3),
            max_predict=st.integers(0, 60),
        )
    )
    def begin(self, limits: Limits) -> None:
        self.limits = limits
        self.now_s = START_S
        self.ledger = Ledger(limits, day=self.day)
        self.admitted: list[float] = []
        self.used: list[tuple[float, int]] = []
        self.running: list[KeyAllowance] = []
        self.held: list[tuple[Any, int]] = []

    @property
    def day(self) -> int:
        return int(self.now_s // DAY_S)

    @rule(seconds=st.one_of(st.floats(0, 1), st.floats(0, 70), st.just(WINDOW_S)))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def arrive(self) -> None:
        self.ledger.look(self.now_s, self.day)
        refusal = self.ledger.admit(self.now_s)
        if refusal is None:
            self.admitted.append(self.now_s)
            self.running.append(KeyAllowance(self.ledger, [], *[lambda: self.now_s] * 2))
            return
        assert refusal.wait_s > 0 or refusal.kind == "requests"
        if refusal.kind == "requests":
            # Not refused for nothing: at most a tenth of a second is lost.
            recent = [at for at in self.admitted if at > self.now_s - WINDOW_S - 0.11]
            assert len(recent) >= self.limits.rpm

    @precondition(lambda self: self.running)
    @rule(data=st.data(), prompt=st.integers(1, 80), wanted=st.integers(-1, 120))
    def reserve(self, data: st.DataObject, prompt: int, wanted: int) -> None:
        allowance = data.draw(st.sampled_from(self.running))
        try:
            reservation = allowance.reserve(prompt, wanted)
        except RateLimitError as error:
            assert self.limits.tpm or self.limits.tokens_per_day
            assert error.retry_after_s > 0
            return
        assert wanted < 0 or reservation.predict <= wanted
        assert not self.limits.max_predict or reservation.predict <= self.limits.max_predict
        self.held.append((reservation, prompt + max(reservation.predict, 0)))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.held) - 1))
        reservation, most = self.held.pop(place)
        used = data.draw(st.integers(0, min(most, 200)))
        reservation.settle(used)
        self.used.append((self.now_s, used))

    @precondition(lambda self: self.running)
    @rule()
    def leave(self) -> None:
        self.running.pop()
        self.ledger.leave()

    @invariant()
    def nothing_is_exceeded(self) -> None:
        limits = self.limits
        if limits.rpm:
            assert sum(at > self.now_s - WINDOW_S for at in self.admitted) <= limits.rpm
        if limits.tpm:
            assert sum(count for at, count in self.used if at > self.now_s - WINDOW_S) <= limits.tpm
        if limits.max_parallel:
            assert len(self.running) <= limits.max_parallel

    @invariant()
    def no_day_has_too_much(self) -> None:
        days: dict[int, int] = {}
        for at, count in self.used:
            days[int(at // DAY_S)] = days.get(int(at // DAY_S), 0) + count
        # What was set aside before midnight and ended after it counts for the day that it ended in.
        if self.limits.tokens_per_day:
            assert all(count <= 2 * self.limits.tokens_per_day for count in days.values())
            assert days.get(int(START_S // DAY_S), 0) <= self.limits.tokens_per_day

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.ledger.requests._entries) <= 602
        assert len(headers_of(self.ledger, self.now_s, self.now_s)) <= 8


LimitsMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLimits = LimitsMachine.TestCase


def test_a_window_is_bounded_and_exact() -> None:
    window, now_s = Window(), 0.0
    for step in range(20_000):
        now_s = step * 0.01
        window.forget(now_s)
        window.add(1, now_s)
    assert len(window._entries) <= 602
    assert 6000 <= window.total <= 6000 * 1.02
    window.forget(now_s + 61)
    assert (window.total, window.is_empty) == (0, True)


def test_the_number_of_ledgers_is_bounded() -> None:
    ledgers = Ledgers()
    busy = ledgers.find("busy", Limits(rpm=1), 0, 0)
    busy.admit(0)
    for i in range(6000):
        ledgers.find(f"address {i}", Limits(rpm=1), 0, 0).admit(0)
        ledgers.find(f"address {i}", Limits(rpm=1), 0, 0).leave()
    assert len(ledgers) == 4096
    assert ledgers.find("busy", Limits(rpm=1), 0, 0) is busy


def test_ledgers_in_use_are_kept_however_many_strangers_come() -> None:
    """And room is made without a look at all of them."""
    ledgers = Ledgers()
    used = [ledgers.find(f"used {i}", Limits(max_parallel=1), 0, 0) for i in range(100)]
    for ledger in used:
        ledger.admit(0)
    for i in range(5000):
        ledgers.find(f"address {i}", Limits(rpm=1), 0, 0)
    assert 4096 <= len(ledgers) <= 4096 + len(used)
    assert [ledgers.find(f"used {i}", Limits(max_parallel=1), 0, 0) for i in range(100)] == used


def test_what_was_spent_survives(tmp_path: Path) -> None:
    import asyncio

    async def spend() -> None:
        spent = Spent(tmp_path / "spent.json")
        spent.load()
        spent.note("key a", 5, 100)
        spent.note("key b", 5, 7)
        spent.close()

    asyncio.run(spend())
    again = Spent(tmp_path / "spent.json")
    again.load()
    assert (again.of("key a", 5), again.of("key b", 5), again.of("key a", 6), again.of("c", 5)) == (
        100,
        7,
        0,
        0,
    )
    (tmp_path / "spent.json").write_text("{broken")
    broken = Spent(tmp_path / "spent.json")
    broken.load()
    assert broken.of("key a", 5) == 0


@pytest.fixture
def counted(process: None) -> Any:
    """A server with the scripted model, and keys with limits."""
    server = KeyedServer()
    server.create("say", "say", template=PLAIN_TEMPLATE, parameters={"temperature": 0})
    yield server
    server.close()


def key(server: KeyedServer, name: str, **limits: int) -> dict[str, str]:
    body = {"name": name, "scopes": ["infer", "read"], **limits}
    status, answer = server.request("POST", "/api/keys", body)
    assert status == 201, answer
    made = json.loads(answer)
    assert {member: made[member] for member in limits} == limits
    return bearer(made["key"])


def ask(
    server: KeyedServer, path: str, headers: dict[str, str], body: Any
) -> tuple[int, dict[str, str], Any]:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    try:
        connection.request(
            "POST" if body is not None else "GET", path, json.dumps(body) if body else None, headers
        )
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data
    finally:
        connection.close()


def test_requests_a_minute_on_every_api(counted: KeyedServer) -> None:
    """Each API refuses in its own words, with the same headers."""
    chat = {
        "model": "say",
        "messages": [{"role": "user", "content": "now A"}],
        "max_tokens": 20,
        "stream": False,
    }
    forms: dict[str, Callable[[Any], bool]] = {
        "/api/chat": lambda error: "too many requests: 1 a minute" in error["error"],
        "/v1/chat/completions": lambda error: error["error"]["code"] == "rate_limit_exceeded",
        "/v1/messages": lambda error: error["error"]["type"] == "rate_limit_error",
    }
    for path, is_right in forms.items():
        limited = key(counted, path.strip("/"), rpm=1)
        status, headers, _ = ask(counted, path, limited, chat)
        assert status == 200
        assert (
            headers["x-ratelimit-limit-requests"] == "1" and headers["x-ratelimit-remaining-requests"] == "0"
        )
        assert headers["ratelimit-policy"] == '"requests";q=1;w=60'
        status, headers, data = ask(counted, path, limited, chat)
        assert status == 429 and is_right(json.loads(data)), data
        assert 1 <= int(headers["retry-after"]) <= 61
        assert headers["x-ratelimit-reset-requests"] in (f"{s}s" for s in range(1, 61)) or headers[
            "x-ratelimit-reset-requests"
        ].startswith("1m")
        assert ask(counted, "/api/keys/me", limited, None)[0] == 200  # looking does not count


def test_tokens(counted: KeyedServer) -> None:
    """A day's tokens hold over a restart; an answer is never longer than its key allows."""
    ask_for = {"model": "say", "prompt": "now A", "stream": False}
    short = key(counted, "short", max_predict=2)
    status, _, data = ask(counted, "/api/generate", short, ask_for)
    answer = json.loads(data)
    assert (status, answer["eval_count"], answer["done_reason"]) == (200, 2, "length")
    used = answer["prompt_eval_count"] + 2
    day = key(counted, "day", tokens_per_day=used * 2 + 1, max_predict=2)
    for _ in range(2):
        assert ask(counted, "/api/generate", day, ask_for)[0] == 200
    status, headers, data = ask(counted, "/api/generate", day, ask_for)
    assert status == 429 and b"a day are allowed" in data and int(headers["retry-after"]) > 1
    minute = key(counted, "minute", tpm=used, max_predict=2)
    assert ask(counted, "/v1/completions", minute, {"model": "say", "prompt": "now A"})[0] == 200
    status, headers, data = ask(counted, "/v1/completions", minute, {"model": "say", "prompt": "now A"})
    assert status == 429 and json.loads(data)["error"]["code"] == "rate_limit_exceeded"
    assert int(headers["retry-after"]) >= 1
    spent = counted.store.path.with_name("spent.json")
    wait_until(lambda: spent.exists() and max(json.loads(spent.read_bytes())["tokens"].values()) == used * 2)
    assert spent.stat().st_mode & 0o777 == 0o600


def test_vectors_and_tokens_count_too(counted: KeyedServer) -> None:
    counted.create("embed", "embed")
    limited = key(counted, "vectors", tpm=10_000)

    def left() -> int:
        return int(ask(counted, "/api/tags", limited, None)[1]["x-ratelimit-remaining-tokens"])

    assert left() == 10_000
    status, _, data = ask(
        counted, "/api/embed", limited, {"model": "embed", "input": ["one text", "another"]}
    )
    used = json.loads(data)["prompt_eval_count"]
    assert status == 200 and used > 0 and left() == 10_000 - used
    assert ask(counted, "/api/tokenize", limited, {"model": "say", "content": "x"})[0] == 200
    status, _, data = ask(
        counted, "/api/generate", limited, {"model": "say", "prompt": "now A", "stream": False}
    )
    answer = json.loads(data)
    used += answer["prompt_eval_count"] + answer["eval_count"]
    assert left() == 10_000 - used
    small = key(counted, "small", tpm=3)
    status, headers, data = ask(counted, "/v1/embeddings", small, {"model": "embed", "input": "word " * 50})
    assert status == 429 and json.loads(data)["error"]["code"] == "rate_limit_exceeded"
    assert int(headers["retry-after"]) >= 1


@pytest.mark.slow
def test_many_clients_never_exceed_a_limit(counted: KeyedServer) -> None:
    """64 at a time: exactly as many are let in as are allowed, and tokens stay within theirs."""
    limited = key(counted, "crowd", rpm=40)
    body = {"model": "say", "prompt": "now A", "stream": False}
    with ThreadPoolExecutor(64) as pool:
        began_s = time.monotonic()
        statuses = list(pool.map(lambda _: ask(counted, "/api/generate", limited, body)[0], range(200)))
        took_s = time.monotonic() - began_s
    assert set(statuses) == {200, 429}
    # On a machine that needed longer than a minute for this, the next minute has begun.
    assert 40 <= statuses.count(200) <= 40 * (1 + int(took_s // 60))
    tokens = key(counted, "tokens", tpm=500, max_predict=5)
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: ask(counted, "/api/generate", tokens, body), range(200)))
    used = [json.loads(data) for status, _, data in answers if status == 200]
    total = sum(answer["prompt_eval_count"] + answer["eval_count"] for answer in used)
    one = used[0]["prompt_eval_count"] + 5
    assert 500 - one < total <= 500 * (1 + int((time.monotonic() - began_s) // 60))


def test_requests_at_a_time(process: None) -> None:
    """A second one is refused while one runs; a client that leaves makes room."""
    import http.client

    server = KeyedServer(CORRAL_LLAMA_SERVER=str(FAKE_ENGINE), CORRAL_ENGINE_ENV="FAKE_*", FAKE_HANG_AT="2")
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    try:
        server.create("say", "say", template=PLAIN_TEMPLATE)
        limited = key(server, "one", max_parallel=1)
        client.request("POST", "/api/generate", json.dumps({"model": "say", "prompt": "x"}), limited)
        assert client.getresponse().status == 200  # it streams, and does not end
        status, headers, data = ask(server, "/api/tags", limited, None)
        assert (status, headers["retry-after"], b"at a time" in data) == (429, "1", True)
        client.close()
        wait_until(lambda: ask(server, "/api/tags", limited, None)[0] == 200)
    finally:
        client.close()
        server.close()


def test_addresses_without_a_key(start_server: Callable[..., Server]) -> None:
    server = start_server(CORRAL_RPM="2")
    statuses = [server.request("GET", "/api/tags")[0] for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert server.request("GET", "/api/version")[0] == 200


def test_a_clock_that_is_set_makes_no_minute_longer_or_shorter() -> None:
    """Minutes are counted by a clock that only goes on; only the day is that of the machine's clock."""
    times = {"clock": 1000.0, "wall": 1_767_000_000.0}
    ledger = Ledger(Limits(tpm=100), day=int(times["wall"] // DAY_S))
    of_one = KeyAllowance(ledger, [], lambda: times["clock"], lambda: times["wall"])
    of_one.reserve(50, 50).settle(100)
    times["wall"] += 90  # as a time server does
    times["clock"] += 1
    with pytest.raises(RateLimitError):
        of_one.reserve(50, 50)
    times["wall"] -= 3600
    times["clock"] += 60
    of_one.reserve(50, 50).settle(100)
