"""Downloads through SOCKS5 proxies; the double is checked with curl, which speaks the protocol without us."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.digest import Digest
from corral.errors import RegistryError, RegistryUnavailableError
from corral.registry import transport
from corral.registry.address_filter import AddressGuard
from corral.registry.auth import Authorizer, Wallet
from corral.registry.client import RegistryClient
from corral.registry.download import BlobDownload
from corral.registry.limits import RateLimit
from corral.registry.policy import TransferPolicy
from corral.registry.socks import SocksError, open_tunnel
from corral.registry.source import Endpoint
from corral.registry.transport import Transport
from tests.doubles.certificates import TestCertificate
from tests.doubles.odd_registry import OddRegistry
from tests.doubles.socks_proxy import SocksProxy
from tests.registry.conftest import noise

pytestmark = pytest.mark.slow

DATA = noise(20_000_000, seed=9)
POLICY = TransferPolicy(
    connect_timeout_s=5, head_timeout_s=20, stall_timeout_s=5, retry_delay_s=0.01, max_attempts=2
)


@pytest.fixture
def odd() -> Iterator[OddRegistry]:
    registry = OddRegistry()
    registry.put(DATA)
    yield registry
    registry.close()


@pytest.fixture
def start_proxy(odd: OddRegistry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SocksProxy]]:
    started: list[SocksProxy] = []
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def start(
        *,
        scheme: str = "socks5",
        given_login: str = "",
        login: tuple[str, str] | None = None,
        refusal: int = 0,
    ) -> SocksProxy:
        proxy = SocksProxy(("127.0.0.1", odd.port), login=login, refusal=refusal)
        started.append(proxy)
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"{scheme}://{given_login}{proxy.host}")
        return proxy

    yield start
    for proxy in started:
        proxy.close()


def pull(folder: Path, base: str) -> None:
    """Fetch the blob from a registry whose name nobody but the proxy can resolve."""
    endpoint = Endpoint(base, "lib/m", "latest", is_plain_allowed=base.startswith("http:"))
    authorizer = Authorizer(Wallet(Path("/nonexistent")), endpoint.host, is_plain_allowed=True)
    client = RegistryClient(endpoint, Transport(AddressGuard(), POLICY), authorizer)
    digest = Digest.of(DATA)
    path = folder / digest.file_name()
    BlobDownload(digest, len(DATA), path, [client], policy=POLICY, limit=RateLimit()).run()
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_through_a_proxy(start_proxy: Callable[..., SocksProxy], tmp_path: Path, scheme: str) -> None:
    """The proxy hears the name, not an address."""
    proxy = start_proxy(scheme=scheme)
    pull(tmp_path, "http://registry.invalid:5000")
    assert set(proxy.asked) == {("registry.invalid", 5000)}


def test_with_a_login(start_proxy: Callable[..., SocksProxy], tmp_path: Path) -> None:
    proxy = start_proxy(given_login="me:p%40ss@", login=("me", "p@ss"))
    pull(tmp_path, "http://registry.invalid")
    assert set(proxy.asked) == {("registry.invalid", 80)}


def test_tls_goes_through(
    start_proxy: Callable[..., SocksProxy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy passes TLS on; the certificate is the registry's."""
    certificate = TestCertificate(tmp_path, "registry.invalid")
    secure = OddRegistry(certificate=certificate)
    secure.put(DATA)
    proxy = start_proxy()
    proxy.target = ("127.0.0.1", secure.port)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    transport._tls_context.cache_clear()
    try:
        pull(tmp_path / "blobs", "https://registry.invalid")
        proxy.asked.clear()
        with pytest.raises(RegistryError, match=r"x509.*other\.invalid"):
            pull(tmp_path / "more", "https://other.invalid")
    finally:
        secure.close()
        transport._tls_context.cache_clear()
    assert set(proxy.asked) == {("other.invalid", 443)}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"refusal": 5}, "connection refused"),
        ({"refusal": 2}, "not allowed by ruleset"),
        ({"refusal": 99}, "unknown code: 99"),
        ({"login": ("me", "right")}, "the proxy requires a login"),
        ({"login": ("me", "right"), "given_login": "me:wrong@"}, "authentication failed"),
    ],
)
def test_refusals(
    start_proxy: Callable[..., SocksProxy], tmp_path: Path, options: dict[str, object], text: str
) -> None:
    """What the proxy says is told, without the password."""
    proxy = start_proxy(**options)
    with pytest.raises(RegistryUnavailableError, match=text) as caught:
        pull(tmp_path, "http://registry.invalid:5000")
    assert f"socks connect tcp {proxy.host}->registry.invalid:5000" in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_no_proxy_there(start_proxy: Callable[..., SocksProxy], tmp_path: Path) -> None:
    start_proxy().close()
    with pytest.raises(RegistryUnavailableError, match="connection refused"):
        pull(tmp_path, "http://registry.invalid:5000")


def test_something_else_there(odd: OddRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web server is no SOCKS proxy."""
    monkeypatch.setenv("http_proxy", f"socks5://{odd.host}")
    with pytest.raises(RegistryUnavailableError, match="socks connect tcp"):
        pull(tmp_path, "http://registry.invalid:5000")


@pytest.mark.process
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("login", [None, ("me", "p@ss")])
def test_the_double_is_a_proxy(odd: OddRegistry, login: tuple[str, str] | None) -> None:
    proxy = SocksProxy(("127.0.0.1", odd.port), login=login)
    user = ["--proxy-user", ":".join(login)] if login else []
    url = f"http://registry.invalid:5000/v2/lib/m/blobs/{Digest.of(DATA)}"
    try:
        done = subprocess.run(
            ["curl", "-sf", "--noproxy", "", "--socks5-hostname", proxy.host, *user, url],
            capture_output=True,
            timeout=60,
            check=True,
        )
    finally:
        proxy.close()
    assert done.stdout == DATA
    assert proxy.asked == [("registry.invalid", 5000)]


@given(st.binary(max_size=40), st.booleans())
def test_any_answer(answer: bytes, has_login: bool) -> None:
    """Whatever a proxy says: connected or an error of ours, and no waiting for more once it has closed."""
    ours, theirs = socket.socketpair()

    def speak() -> None:
        with theirs, contextlib.suppress(ConnectionError):  # we may leave before all was said
            theirs.sendall(answer)
            theirs.shutdown(socket.SHUT_WR)
            while theirs.recv(1000):
                pass

    thread = threading.Thread(target=speak)
    thread.start()
    with ours:
        ours.settimeout(30)
        try:
            open_tunnel(ours, "host.example", 443, ("u", "p") if has_login else None)
        except SocksError as exc:
            assert str(exc)
        else:
            assert answer[:1] == b"\x05"
    thread.join()
