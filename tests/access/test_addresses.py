"""Where a request comes from, whom that depends on, and how wrong keys are counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.access.addresses import Client, Proxies, bucket_of
from corral.access.attempts import Attempts
from corral.access.exposure import check_exposure
from corral.errors import CorralError

PROXIES = Proxies(["10.0.0.0/8", "::1", "unix"])
STRANGER = "203.0.113.9"


def of(peer: str, *headers: tuple[str, str]) -> Client:
    return PROXIES.client(peer, [(name.encode(), value.encode()) for name, value in headers])


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", ""])
def test_this_machine(peer: str) -> None:
    assert of(peer) == Client(peer, is_local=True)


@pytest.mark.parametrize(
    "peer", ["192.168.1.1", "10.0.0.1", "0.0.0.0", "::", "fe80::1%eth0", "?", "::ffff:8.8.8.8"]
)
def test_other_machines(peer: str) -> None:
    assert of(peer) == Client(peer, is_local=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-for", ""),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "::1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "localhost"),
        ("via", "1.1 proxy"),
        ("cf-connecting-ip", "127.0.0.1"),
        ("true-client-ip", "127.0.0.1"),
    ],
)
def test_nobody_becomes_local_by_a_header(name: str, value: str) -> None:
    """What looks like a proxy on this machine does not count as local; and strangers are not believed."""
    assert of("127.0.0.1", (name, value)) == Client("127.0.0.1", is_local=False)
    assert of(STRANGER, (name, value)) == Client(STRANGER, is_local=False)
    assert not of("10.0.0.1", (name, value)).is_local
    assert not of("", (name, value)).is_local


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ([("x-forwarded-for", STRANGER)], STRANGER),
        ([("x-forwarded-for", f"1.2.3.4, {STRANGER}")], STRANGER),
        ([("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", STRANGER)], STRANGER),
        ([("x-forwarded-for", f"{STRANGER}, 10.9.9.9, ::1")], STRANGER),
        ([("x-forwarded-for", f"{STRANGER}:4711")], STRANGER),
        ([("x-forwarded-for", "[2001:db8::1]:99")], "2001:db8::1"),
        ([("x-forwarded-for", f"nonsense, {STRANGER}")], STRANGER),
        ([("x-forwarded-for", f"{STRANGER}, nonsense")], "10.0.0.1"),
        ([("x-forwarded-for", f"{STRANGER}, nonsense, 10.2.2.2")], "10.2.2.2"),
        ([("forwarded", f"for={STRANGER};proto=https;by=10.0.0.1")], STRANGER),
        ([("forwarded", f'for="[2001:db8::1]:80", For="{STRANGER}:1"')], STRANGER),
        ([("forwarded", "for=_hidden")], "10.0.0.1"),
        ([("forwarded", "for=unknown, for=10.3.3.3")], "10.3.3.3"),
        ([("forwarded", "for=1.1.1.1"), ("x-forwarded-for", STRANGER)], "10.0.0.1"),
    ],
)
def test_what_a_trusted_proxy_says(headers: list[tuple[str, str]], address: str) -> None:
    """The nearest address that is not a proxy's; of two kinds of headers a stranger may have written one."""
    assert of("10.0.0.1", *headers).address == address


def test_the_scheme() -> None:
    assert of("10.0.0.1", ("x-forwarded-proto", "https")).scheme == "https"
    assert of("10.0.0.1", ("x-forwarded-proto", "http, HTTPS")).scheme == "https"
    assert of("10.0.0.1", ("forwarded", "for=1.1.1.1;proto=https")).scheme == "https"
    assert of("10.0.0.1", ("x-forwarded-proto", "javascript")).scheme == "http"
    assert of(STRANGER, ("x-forwarded-proto", "https")).scheme == "http"
    assert Proxies().client("127.0.0.1", [], is_encrypted=True) == Client("127.0.0.1", True, "https")


@given(st.text(max_size=200), st.sampled_from(["x-forwarded-for", "forwarded", "x-forwarded-proto"]))
def test_any_header_is_read(value: str, name: str) -> None:
    client = PROXIES.client("10.0.0.1", [(name.encode(), value.encode("utf-8", "replace"))])
    assert not client.is_local
    assert client.scheme in ("http", "https")


@pytest.mark.parametrize("entry", ["nonsense", "10.0.0.0/99", "proxy.example.com", "*"])
def test_proxies_that_are_none(entry: str) -> None:
    with pytest.raises(CorralError, match="CORRAL_TRUSTED_PROXIES"):
        Proxies([entry])


def test_ten_wrong_keys_a_minute() -> None:
    attempts = Attempts()
    assert [attempts.fail("1.2.3.4", 0) for _ in range(10)] == [0] * 10
    assert attempts.fail("1.2.3.4", 0) == pytest.approx(6)
    assert attempts.fail("1.2.3.5", 0) == 0
    assert attempts.fail("1.2.3.4", 6.1) == 0
    assert attempts.fail("1.2.3.4", 6.2) > 0
    assert [attempts.fail("1.2.3.4", 1000) for _ in range(11)].count(0) == 10


def test_an_ipv6_network_is_one_address() -> None:
    attempts = Attempts()
    waits = [attempts.fail(f"2001:db8:1:2::{i:x}", 0) for i in range(20)]
    assert waits.count(0) == 10
    assert bucket_of("::ffff:1.2.3.4") == bucket_of("1.2.3.4") == "1.2.3.4"
    assert bucket_of("") == ""


def test_the_table_of_addresses_is_bounded() -> None:
    attempts = Attempts()
    for i in range(10_000):
        attempts.fail(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", 0)
    assert len(attempts) == 4096


def test_what_is_said_about_an_address() -> None:
    def said(host: str, mode: str, *, has_keys: bool, is_strict: bool = False) -> str:
        return check_exposure(host, 1, mode, has_keys=has_keys, is_strict=is_strict)  # type: ignore[arg-type]

    open_line = said("0.0.0.0", "remote", has_keys=False)
    assert "ANYONE" in open_line and "corral key create NAME" in open_line and "\n" not in open_line
    assert "CORRAL_AUTH=off" in said("", "off", has_keys=True)
    assert "refused" in said("127.0.0.1", "on", has_keys=False)
    for host, mode, has_keys in [
        ("127.0.0.1", "remote", False),
        ("localhost", "off", False),
        ("0.0.0.0", "remote", True),
        ("0.0.0.0", "on", True),
    ]:
        assert said(host, mode, has_keys=has_keys, is_strict=True) == ""
    for mode, has_keys in [("remote", False), ("off", True), ("off", False)]:
        with pytest.raises(CorralError, match="CORRAL_STRICT"):
            said("0.0.0.0", mode, has_keys=has_keys, is_strict=True)
