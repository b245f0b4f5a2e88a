"""The steps that say who asks and what they may do, on requests without a server."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from corral import allowance, caller, hops
from corral.access.allowances import KeyAllowance
from corral.access.clusterkey import ClusterKey
from corral.access.keyring import Keyring
from corral.access.keys import KeyOrder
from corral.access.keystore import KeyStore
from corral.access.limits import DAY_S
from corral.access.spent import Spent
from corral.api.http.exchange import Exchange
from corral.api.http.steps import limits
from corral.api.http.steps.authenticate import Authenticate, Mode, credentials
from corral.api.http.steps.limits import CheckLimits
from corral.api.http.steps.mode import CheckMode
from corral.api.http.steps.scope import check_scope
from corral.caller import CLUSTER_SCOPES, KEYLESS_SCOPES, SCOPES, Caller, Limits
from corral.errors import ForbiddenError, InvalidRequestError, RateLimitError, UnauthorizedError
from tests.doubles.call import request

CLUSTER_TEXT = "c" * 40
WRONG = b"ck_abcdefgh_" + b"x" * 43


class Reached:
    """The handler after a step: who it works for, and what the caller may still use."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.allowances: list[allowance.Allowance | None] = []

    async def __call__(self, exchange: Exchange) -> None:
        self.callers.append(caller.current())
        self.allowances.append(allowance.current())


def run(step: Awaitable[None]) -> None:
    """In a context of its own, as each request has one."""

    async def whole() -> None:
        await step

    copy_context().run(asyncio.run, whole())


def bearer(text: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + text.encode()


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.sqlite3")


@pytest.fixture
def ring(store: KeyStore) -> Any:
    ring = Keyring(store.path)
    yield ring
    ring.close()


def who_asks(ring: Keyring, mode: Mode, exchange: Exchange, key: ClusterKey | None = None) -> Caller:
    reached = Reached()
    run(Authenticate(ring, mode, key)(exchange, reached))
    (who,) = reached.callers
    return who


# --- who asks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_local", [True, False])
def test_callers_without_a_key(ring: Keyring, is_local: bool) -> None:
    """Nobody from elsewhere may make keys, and nobody is another server of the cluster."""
    who = who_asks(ring, "remote", request("infer", address="10.0.0.1", is_local=is_local))
    assert who == Caller(
        scopes=KEYLESS_SCOPES if is_local else KEYLESS_SCOPES - {"admin"}, address="10.0.0.1"
    )
    assert "cluster" not in who.scopes and ("admin" in who.scopes) is is_local


@pytest.mark.parametrize(
    ("mode", "is_local", "has_keys", "is_let_in"),
    [
        ("off", False, True, True),
        ("remote", True, True, True),
        ("remote", False, False, True),
        ("remote", False, True, False),
        ("on", True, False, False),
        ("on", False, True, False),
    ],
)
def test_who_needs_a_key(
    ring: Keyring, store: KeyStore, mode: Mode, is_local: bool, has_keys: bool, is_let_in: bool
) -> None:
    if has_keys:
        store.create(KeyOrder("a"))
    if is_let_in:
        assert who_asks(ring, mode, request("infer", is_local=is_local)).key_id == ""
        return
    exchange = request("infer", is_local=is_local)
    with pytest.raises(UnauthorizedError, match="a valid API key is required") as caught:
        who_asks(ring, mode, exchange)
    assert "corral key create" in caught.value.hint
    assert exchange.extra_headers == [(b"www-authenticate", b'Bearer realm="corral"')]


@pytest.mark.parametrize("scope", ["open", None])
def test_what_needs_no_key(ring: Keyring, scope: Any) -> None:
    """Not even a right one is looked at: a path that no table has tells nothing of keys."""
    assert who_asks(ring, "on", request(scope, bearer("wrong"))).key_id == ""


def test_a_key(ring: Keyring, store: KeyStore) -> None:
    """It binds where none is needed too."""
    key, text = store.create(KeyOrder("a", ("read",)))
    for mode in ("remote", "on"):
        who = who_asks(ring, mode, request("infer", bearer(text), address="10.0.0.1"))
        assert (who.key_id, who.scopes, who.address) == (key.id, frozenset({"read"}), "10.0.0.1")
    assert who_asks(ring, "off", request("infer", bearer(text))).key_id == ""


def test_texts_that_are_no_key(ring: Keyring, store: KeyStore) -> None:
    """Programs for Ollama send some; where a key is needed, all that is wrong gets the same answer."""
    _, text = store.create(KeyOrder("a"))
    assert who_asks(ring, "remote", request("infer", bearer("ollama"))).key_id == ""
    for wrong in ("ollama", WRONG.decode(), text[:-1] + ("x" if text[-1] != "x" else "y")):
        with pytest.raises(UnauthorizedError) as caught:
            who_asks(ring, "on", request("infer", bearer(wrong)))
        assert str(caught.value) == "a valid API key is required"
        assert "corral key create" in caught.value.hint


@pytest.mark.parametrize("end", ["expired", "revoked"])
def test_a_key_that_has_ended(tmp_path: Path, end: str) -> None:
    store = KeyStore(tmp_path / "keys.sqlite3", clock_ns=lambda: 1)
    _, text = store.create(KeyOrder("a", lifetime_ns=1 if end == "expired" else 0))
    if end == "revoked":
        store.revoke("a")
    ring = Keyring(store.path)
    with pytest.raises(UnauthorizedError, match=f"this API key is {end}") as caught:
        who_asks(ring, "on", request("infer", bearer(text)))
    assert caught.value.hint == "ask for a new one"
    ring.close()


def test_two_keys_at_once(ring: Keyring, store: KeyStore) -> None:
    """Which of them counts would be a guess; the same one twice is one. Where none is needed none counts."""
    key, text = store.create(KeyOrder("a"))
    both = (bearer(text), (b"x-api-key", b"other"))
    with pytest.raises(UnauthorizedError, match="more than one API key") as caught:
        who_asks(ring, "on", request("infer", *both))
    assert caught.value.hint == "send one of them"
    assert who_asks(ring, "remote", request("infer", *both)).key_id == ""
    twice = (bearer(text), (b"x-api-key", text.encode()))
    assert who_asks(ring, "on", request("infer", *twice)).key_id == key.id


def test_wrong_keys_are_counted(ring: Keyring, store: KeyStore) -> None:
    """Ten are heard; a right one is heard after them too, and other addresses are others."""
    key, text = store.create(KeyOrder("a"))
    step = Authenticate(ring, "on")

    def attempt(exchange: Exchange) -> Caller:
        reached = Reached()
        run(step(exchange, reached))
        return reached.callers[0]

    for _ in range(10):
        with pytest.raises(UnauthorizedError):
            attempt(request("infer", bearer("wrong"), address="10.0.0.1"))
    with pytest.raises(RateLimitError, match="too many requests with a wrong API key") as caught:
        attempt(request("infer", bearer("wrong"), address="10.0.0.1"))
    assert 0 < caught.value.retry_after_s <= 6 and "check the key" in caught.value.hint
    with pytest.raises(UnauthorizedError):
        attempt(request("infer", bearer("wrong"), address="10.0.0.2"))
    with pytest.raises(UnauthorizedError):
        attempt(request("infer", address="10.0.0.1"))  # no key is no guess
    assert attempt(request("infer", bearer(text), address="10.0.0.1")).key_id == key.id


# --- where a key stands ------------------------------------------------------------------------------------


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


@pytest.mark.parametrize(
    ("scope", "headers", "found"),
    [
        ("infer", [(b"authorization", b"Bearer  a ")], ["a"]),
        ("infer", [(b"authorization", b" bearer a")], ["a"]),
        ("infer", [(b"authorization", b"Bearer")], []),
        ("infer", [(b"authorization", b"Token a")], []),
        ("infer", [(b"authorization", basic("me:a"))], []),
        ("infer", [(b"x-api-key", b" a ")], ["a"]),
        ("infer", [(b"x-api-key", b"")], []),
        ("infer", [(b"x-api-key", b"a"), (b"accept", b"b"), (b"authorization", b"Bearer c")], ["a", "c"]),
        ("infer", [(b"x-api-key", b"a"), (b"authorization", b"Bearer a")], ["a"]),
        ("infer", [(b"cookie", b"a")], []),
        ("registry:pull", [(b"authorization", basic("me:a:b"))], ["a:b"]),
        ("registry:pull", [(b"authorization", basic("a"))], []),
        ("registry:pull", [(b"authorization", b"Basic ***")], []),
        ("registry:pull", [(b"authorization", b"Basic =")], []),
        ("registry:pull", [(b"authorization", b"Bearer a")], ["a"]),
        (None, [(b"authorization", basic("me:a"))], []),
    ],
)
def test_where_a_key_stands(scope: Any, headers: list[tuple[bytes, bytes]], found: list[str]) -> None:
    """In headers alone; clients of registries send it as a password, which others may mean for a proxy."""
    assert credentials(request(scope, *headers)) == found


def test_a_registry_asks_for_a_password(ring: Keyring) -> None:
    exchange = request("registry:pull")
    with pytest.raises(UnauthorizedError):
        who_asks(ring, "on", exchange)
    assert exchange.extra_headers == [(b"www-authenticate", b'Basic realm="corral"')]


# --- servers of a cluster ----------------------------------------------------------------------------------

KEY = ClusterKey(CLUSTER_TEXT)
PEER = bearer(CLUSTER_TEXT)


def hop(**values: Any) -> tuple[bytes, bytes]:
    who = Caller("k", "name", frozenset({"infer", "cluster"}), address="10.9.9.9", share="key k", **values)
    return hops.HEADER, hops.header_value("gate", who, 5)


def test_another_server_of_the_cluster(ring: Keyring) -> None:
    who = who_asks(ring, "on", request("cluster", PEER, address="10.0.0.2"), KEY)
    assert (who.key_id, who.scopes, who.address, who.gateway) == (
        "cluster",
        CLUSTER_SCOPES,
        "10.0.0.2",
        "",
    )


def test_it_asks_for_others(ring: Keyring) -> None:
    """The caller is theirs, and cannot be a server; how long an answer may be holds here."""
    reached = Reached()
    run(Authenticate(ring, "on", KEY)(request("infer", PEER, hop()), reached))
    (who,), (left,) = reached.callers, reached.allowances
    assert (who.key_id, who.gateway, who.address, who.scopes) == (
        "k",
        "gate",
        "10.9.9.9",
        frozenset({"infer"}),
    )
    assert left is not None and left.reserve(100, -1).predict == 5


def test_it_may_not_bound_an_answer(ring: Keyring) -> None:
    reached = Reached()
    header = hops.HEADER, hops.header_value("gate", Caller("k"))
    run(Authenticate(ring, "on", KEY)(request("infer", PEER, header), reached))
    assert reached.allowances == [None]


@pytest.mark.parametrize("scope", ["admin", "account", "key", "registry:push", None])
def test_what_it_may_not_ask_for(ring: Keyring, scope: Any) -> None:
    with pytest.raises(ForbiddenError, match="no server of the cluster may ask for this"):
        who_asks(ring, "on", request(scope, PEER, hop()), KEY)


@pytest.mark.parametrize("scope", ["open", "infer", "read", "manage", "registry:pull", "cluster"])
def test_what_it_may_ask_for(ring: Keyring, scope: Any) -> None:
    assert who_asks(ring, "on", request(scope, PEER, hop()), KEY).gateway == "gate"


def test_nobody_else_is_believed(ring: Keyring, store: KeyStore) -> None:
    """Neither a caller without a key, nor one with a key that is not for the cluster."""
    _, text = store.create(KeyOrder("a", ("admin",)))
    assert who_asks(ring, "remote", request("infer", hop()), KEY).gateway == ""
    assert who_asks(ring, "remote", request("infer", PEER, hop())).gateway == ""  # no cluster here
    _, reader = store.create(KeyOrder("b", ("infer",)))
    assert who_asks(ring, "on", request("infer", bearer(reader), hop()), KEY).gateway == ""
    assert who_asks(ring, "on", request("infer", bearer(text), hop()), KEY).gateway == "gate"  # may do all


def test_routes_of_the_cluster_need_its_key(ring: Keyring, store: KeyStore) -> None:
    """On this machine too; only who shows a key has guessed."""
    step = Authenticate(ring, "remote", KEY)
    for _ in range(11):
        with pytest.raises(UnauthorizedError, match="for the other servers of the cluster") as caught:
            run(step(request("cluster"), Reached()))
    assert "corral cluster key" in caught.value.hint
    for _ in range(10):
        with pytest.raises(UnauthorizedError):
            run(step(request("cluster", bearer("wrong")), Reached()))
    with pytest.raises(RateLimitError):
        run(step(request("cluster", bearer("wrong")), Reached()))
    assert who_asks(ring, "remote", request(None), KEY).key_id == ""


def test_a_hop_that_cannot_be_read(ring: Keyring) -> None:
    with pytest.raises(InvalidRequestError):
        who_asks(ring, "on", request("infer", PEER, (hops.HEADER, b"{")), KEY)


# --- what they may do --------------------------------------------------------------------------------------


def let_in(scope: Any, who: Caller, *headers: tuple[bytes, bytes]) -> bool:
    reached = Reached()

    async def step() -> None:
        caller.begin(who)
        await check_scope(request(scope, *headers), reached)

    run(step())
    return len(reached.callers) == 1


KEYLESS = Caller(scopes=KEYLESS_SCOPES - {"admin"})


@pytest.mark.parametrize("scope", [*SCOPES])
def test_a_scope_is_needed(scope: Any) -> None:
    """A key without it hears which one it lacks, a stranger that keys are needed."""
    others = frozenset(SCOPES) - {scope}
    assert let_in(scope, Caller("k", scopes=frozenset({scope})))
    with pytest.raises(ForbiddenError, match=f"it does not have the scope '{scope}'"):
        let_in(scope, Caller("k", scopes=others))
    with pytest.raises(ForbiddenError, match="API keys are needed for this from another machine") as caught:
        let_in(scope, Caller(scopes=others))
    assert "scope admin" in caught.value.hint


@pytest.mark.parametrize("scope", ["open", None])
def test_what_everybody_may_do(scope: Any) -> None:
    assert let_in(scope, Caller(scopes=frozenset()))


def test_what_any_key_may_do() -> None:
    assert let_in("key", Caller("k", scopes=frozenset()))
    with pytest.raises(UnauthorizedError, match="the request has no API key"):
        let_in("key", KEYLESS)


def test_the_account_of_the_machine() -> None:
    """Ollama's programs use it without a key; of keys only those that may do everything."""
    assert let_in("account", KEYLESS)
    assert let_in("account", Caller("k", scopes=frozenset(SCOPES)))
    with pytest.raises(ForbiddenError, match="scope 'admin'"):
        let_in("account", Caller("k", scopes=frozenset(SCOPES) - {"admin"}))


def test_web_pages_make_no_keys() -> None:
    """A page that somebody on this machine has open is not that person."""
    page = (b"origin", b"http://localhost:3000")
    local = Caller(scopes=KEYLESS_SCOPES)
    assert let_in("admin", local) and let_in("manage", local, page)
    assert let_in("admin", Caller("k", scopes=frozenset({"admin"})), page)
    with pytest.raises(ForbiddenError, match="web pages need an API key"):
        let_in("admin", local, page)


@pytest.mark.parametrize(
    ("scope", "read_only", "infer_only"),
    [
        ("infer", True, True),
        ("open", True, True),
        ("key", True, True),
        ("admin", True, True),
        ("cluster", True, True),
        ("read", True, False),
        ("account", True, False),
        ("registry:pull", True, False),
        ("manage", False, False),
        ("registry:push", False, False),
    ],
)
def test_modes_of_the_server(scope: Any, read_only: bool, infer_only: bool) -> None:
    """What a server that changes nothing, and one that only infers, still do."""
    for is_let_in, mode, hint in (
        (read_only, CheckMode(is_read_only=True, is_infer_only=False), "CORRAL_READ_ONLY is set"),
        (infer_only, CheckMode(is_read_only=False, is_infer_only=True), "CORRAL_INFER_ONLY is set"),
        (True, CheckMode(is_read_only=False, is_infer_only=False), ""),
    ):
        reached = Reached()
        if is_let_in:
            run(mode(request(scope), reached))
        else:
            with pytest.raises(ForbiddenError) as caught:
                run(mode(request(scope), reached))
            assert caught.value.hint == hint
        assert len(reached.callers) == is_let_in


def test_a_server_that_changes_nothing_unloads_models() -> None:
    """A route that changes no model says so; and a path that no table has is the router's."""
    mode = CheckMode(is_read_only=True, is_infer_only=True)
    reached = Reached()
    run(CheckMode(is_read_only=True, is_infer_only=False)(request("manage", is_read_only=True), reached))
    run(mode(request(None), reached))
    assert len(reached.callers) == 2
    with pytest.raises(ForbiddenError, match="inference only"):
        run(mode(request("manage", is_read_only=True), reached))


# --- how much they may use ---------------------------------------------------------------------------------


@pytest.fixture
def spent(tmp_path: Path) -> Spent:
    return Spent(tmp_path / "spent.json")


class Client:
    """Sends requests of one caller through one step."""

    def __init__(self, step: CheckLimits, who: Caller) -> None:
        self._step = step
        self._who = who
        self.reached = Reached()

    def ask(self, scope: Any = "infer", handler: Any = None) -> list[tuple[bytes, bytes]]:
        exchange = request(scope)

        async def step() -> None:
            caller.begin(self._who)
            await self._step(exchange, handler or self.reached)

        run(step())
        return exchange.extra_headers


def test_a_key_has_its_limits(spent: Spent) -> None:
    """Those of addresses do not hold for it, and each key has its own ledger."""
    step = CheckLimits(Limits(rpm=1), spent)
    one, two = (Client(step, Caller(name, limits=Limits(rpm=2))) for name in ("a", "b"))
    assert (b"x-ratelimit-remaining-requests", b"1") in one.ask()
    assert (b"x-ratelimit-remaining-requests", b"0") in one.ask()
    with pytest.raises(RateLimitError, match="too many requests: 2 a minute") as caught:
        one.ask()
    assert 0 < caught.value.retry_after_s <= 60.1
    assert two.ask() and len(one.reached.callers) == 2
    assert Client(step, Caller("c")).ask() == []


def test_an_address_has_the_usual_ones(spent: Spent) -> None:
    step = CheckLimits(Limits(rpm=1), spent)
    one = Client(step, Caller(address="10.0.0.1"))
    one.ask()
    for address in ("10.0.0.1", "::ffff:10.0.0.1"):
        with pytest.raises(RateLimitError):
            Client(step, Caller(address=address)).ask()
    Client(step, Caller(address="10.0.0.2")).ask()
    assert Client(CheckLimits(Limits(), spent), Caller(address="10.0.0.1")).ask() == []


@pytest.mark.parametrize("scope", ["open", "key", "cluster", None])
def test_what_does_not_count(spent: Spent, scope: Any) -> None:
    client = Client(CheckLimits(Limits(rpm=1), spent), Caller(address="10.0.0.1"))
    assert [client.ask(scope), client.ask(scope)] == [[], []]
    assert client.ask("read")


def test_what_is_counted_at_the_gateway(spent: Spent) -> None:
    client = Client(CheckLimits(Limits(rpm=1), spent), Caller("k", limits=Limits(rpm=1), gateway="gate"))
    assert [client.ask(), client.ask()] == [[], []]


@pytest.mark.parametrize(
    ("bounds", "predict"),
    [
        (Limits(rpm=9), None),
        (Limits(max_parallel=9), None),
        (Limits(max_predict=7), 7),
        (Limits(tpm=10_000), 4096),
        (Limits(tokens_per_day=10_000), 4096),
    ],
)
def test_tokens_are_counted_where_they_are_bounded(spent: Spent, bounds: Limits, predict: int | None) -> None:
    client = Client(CheckLimits(Limits(), spent), Caller("k", limits=bounds))
    client.ask()
    (left,) = client.reached.allowances
    assert predict == (left and left.reserve(10, -1).predict)


def test_a_request_at_a_time(spent: Spent) -> None:
    """A second one is refused while the first runs; one that fails has ended too."""
    client = Client(CheckLimits(Limits(), spent), Caller("k", limits=Limits(max_parallel=1)))
    nested: list[BaseException] = []

    async def handler(exchange: Exchange) -> None:
        try:
            await client._step(request("infer"), client.reached)
        except RateLimitError as error:
            nested.append(error)
        raise ConnectionResetError

    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            client.ask(handler=handler)
    assert ["at a time" in str(error) for error in nested] == [True, True]
    client.ask()
    assert len(client.reached.callers) == 1


def test_a_day_is_written_down(spent: Spent, monkeypatch: pytest.MonkeyPatch) -> None:
    """By key or address, and only where a day is bounded; what is there already counts."""
    now_s = 20_000 * DAY_S + 5.0
    monkeypatch.setattr("time.time", lambda: now_s)
    monkeypatch.setattr(limits, "KeyAllowance", partial(KeyAllowance, wall_s=lambda: now_s))
    noted: list[tuple[str, int, int]] = []
    monkeypatch.setattr(spent, "note", lambda *what: noted.append(what))
    monkeypatch.setattr(spent, "of", lambda subject, day: 30 if (subject, day) == ("key k", 20_000) else 0)

    async def handler(exchange: Exchange) -> None:
        left = allowance.current()
        assert left is not None
        left.reserve(10, 10).settle(12)

    step = CheckLimits(Limits(tokens_per_day=50), spent)
    Client(step, Caller("k", limits=Limits(tokens_per_day=100))).ask(handler=handler)
    Client(step, Caller(address="10.0.0.1")).ask(handler=handler)
    Client(step, Caller("m", limits=Limits(tpm=100))).ask(handler=handler)
    assert noted == [("key k", 20_000, 42), ("address 10.0.0.1", 20_000, 12)]
