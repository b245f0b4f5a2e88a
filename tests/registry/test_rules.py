"""Keys, tokens, names of sources, addresses, proxies, limits: the rules without a network."""

from __future__ import annotations

import base64
import socket
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import CorralError, RegistryAuthError, RegistryUnavailableError
from corral.names import ModelName, parse_ref, pull_text
from corral.registry.address_filter import AddressGuard, ForbiddenAddressError, is_public
from corral.registry.auth import signed_text, token_url
from corral.registry.challenge import parse_challenges
from corral.registry.concurrency import StreamTuner
from corral.registry.key import Identity, ensure_key
from corral.registry.limits import RateLimit
from corral.registry.proxies import proxy_for
from corral.registry.response import redacted
from corral.registry.source import SourceRules, split_host
from corral.registry.transport import USER_AGENT
from corral.registry.upload import etag_of, plan_chunks

# --- the key (vectors of the protocol: private seed 00 01 ... 1f) ---

SEED = bytes(range(32))
PUBLIC = "AAAAC3NzaC1lZDI1NTE5AAAAIAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"


def test_signature() -> None:
    """A token request, signed: the very bytes of the original."""
    header = (
        'Bearer realm="https://registry.ollama.ai/token",service="registry.ollama.ai",'
        'scope="repository:library/m:pull"'
    )
    url = token_url(parse_challenges([header])[0], now_s=1700000000, nonce="A" * 22)
    assert url == (
        "https://registry.ollama.ai/token?nonce=AAAAAAAAAAAAAAAAAAAAAA&scope=repository%3Alibrary%2Fm%3Apull"
        "&service=registry.ollama.ai&ts=1700000000"
    )
    assert Identity(Ed25519PrivateKey.from_private_bytes(SEED)).sign(signed_text(url)) == (
        f"{PUBLIC}:I/UpOYbeJkJYgI7E03SZAfQE1CcUuB6LzSpUTnFzt+WuxxQlVfLnSbtJfW9L7UmlG3NQOMGIy4ceM9BVc9s5BA=="
    )


def test_several_scopes_and_a_query_in_the_realm() -> None:
    """One parameter for each scope, in order; what the realm brings stays."""
    challenge = parse_challenges(['Bearer realm="https://r/t?z=1",service="s",scope="a b"'])[0]
    url = token_url(challenge, now_s=5, nonce="n")
    assert url == "https://r/t?nonce=n&scope=a&scope=b&service=s&ts=5&z=1"


def test_new_key(tmp_path: Path) -> None:
    """Made once, readable by its owner alone, in OpenSSH's format."""
    path = tmp_path / ".ollama" / "id_ed25519"
    line = ensure_key(path)
    assert line is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert path.with_name("id_ed25519.pub").read_text() == f"{line}\n"
    assert line == f"ssh-ed25519 {Identity.load(path).public_part()}"
    assert base64.b64decode(line.split()[1])[4:15] == b"ssh-ed25519"
    before = path.read_bytes()
    assert ensure_key(path) is None
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["id_ed25519", "id_ed25519.pub"]


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END"])
def test_bad_key(tmp_path: Path, content: bytes) -> None:
    """A broken key file is named in the error."""
    path = tmp_path / "id_ed25519"
    path.write_bytes(content)
    with pytest.raises(RegistryAuthError, match="id_ed25519"):
        Identity.load(path)
    with pytest.raises(RegistryAuthError, match="no such file"):
        Identity.load(tmp_path / "absent")


# --- uploads ---


def test_etags() -> None:
    """The MD5 of the MD5s."""
    import hashlib

    md5s = [hashlib.md5(word).digest() for word in (b"hello", b"world")]
    assert etag_of(md5s[:1]) == "62109206880d38a4010a98e11243924a-1"
    assert etag_of(md5s) == "065947336a2f2a95ba8899f3675c3be6-2"
    assert etag_of([]) == "d41d8cd98f00b204e9800998ecf8427e-0"


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        (7_000_000_000, [437_500_000] * 16),
        (7_000_000_001, [437_500_000] * 16 + [1]),
        (100_000_001, [100_000_000, 1]),
        (40_000_000_000, [1_000_000_000] * 40),
        (0, []),
    ],
)
def test_chunks(size: int, sizes: list[int]) -> None:
    """Sizes of chunks as the original cuts them."""
    assert [chunk.stop - chunk.start for chunk in plan_chunks(size)] == sizes


# --- where to look ---


def endpoints(rules: SourceRules, name: str, *, is_insecure: bool = False) -> list[str]:
    return [e.manifest_url() for e in rules.endpoints(ModelName.parse(name), is_insecure=is_insecure)]


def test_sources() -> None:
    """Default registry, other hosts, plain http only if asked for."""
    rules = SourceRules()
    assert endpoints(rules, "m") == ["https://registry.ollama.ai/v2/library/m/manifests/latest"]
    assert endpoints(rules, "hf.co/a/b:Q4") == ["https://hf.co/v2/a/b/manifests/Q4"]
    assert endpoints(rules, "huggingface.co/a/b") == ["https://huggingface.co/v2/a/b/manifests/latest"]
    assert endpoints(rules, "h:5000/a/b") == ["https://h:5000/v2/a/b/manifests/latest"]
    assert endpoints(rules, "http://h:5000/a/b") == ["https://h:5000/v2/a/b/manifests/latest"]
    assert endpoints(rules, "h:5000/a/b", is_insecure=True) == ["http://h:5000/v2/a/b/manifests/latest"]


def test_mirrors() -> None:
    """Tried first and in order, each for its host alone; pushes go to the origin."""
    rules = SourceRules.parse("", ["http://lan:5000", "hf.co=https://hub.lan", "second.lan"])
    assert endpoints(rules, "m") == [
        "http://lan:5000/v2/library/m/manifests/latest",
        "https://second.lan/v2/library/m/manifests/latest",
        "https://registry.ollama.ai/v2/library/m/manifests/latest",
    ]
    assert endpoints(rules, "hf.co/a/b")[0] == "https://hub.lan/v2/a/b/manifests/latest"
    assert len(endpoints(rules, "other.example/a/b")) == 1
    origin = rules.origin(ModelName.parse("m"), is_insecure=False)
    assert origin.base_url == "https://registry.ollama.ai"
    assert not origin.is_plain_allowed


def test_default_registry() -> None:
    """Names without a host can live elsewhere; the scheme that was written is used."""
    rules = SourceRules.parse("http://lan:5000/", [])
    assert endpoints(rules, "m") == ["http://lan:5000/v2/library/m/manifests/latest"]
    assert rules.origin(ModelName.parse("m"), is_insecure=False).is_plain_allowed


@pytest.mark.parametrize(
    "text", ["ftp://x", "https://", "https://h/path", "https://user:pw@h", "http://h:99999", "a b"]
)
def test_bad_mirrors(text: str) -> None:
    """A setting that cannot work is refused with its name."""
    with pytest.raises(CorralError, match="CORRAL_REGISTRY_MIRRORS"):
        SourceRules.parse("", [text])


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("m:cloud", "m:cloud"),
        ("m:8b-cloud", "m:8b-cloud"),
        ("m:8b:cloud", "m:8b-cloud"),
        ("m:local", "m"),
        ("h:1/a/b:q4:cloud", "h:1/a/b:q4-cloud"),
        ("m:8b", "m:8b"),
    ],
)
def test_suffixes(typed: str, asked: str) -> None:
    """A model that runs elsewhere is a tag of its own."""
    assert pull_text(parse_ref(typed)) == asked


def test_user_agent() -> None:
    """Registries look at the beginning."""
    assert USER_AGENT.startswith("ollama/0.0.0 (")
    assert " Go/go" in USER_AGENT


def test_redacted() -> None:
    """What may hold a secret is not shown."""
    assert redacted("https://user:pw@h:1/a?sig=secret#x") == "https://h:1/a"


# --- addresses ---


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
        "240.0.0.1",
    ],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    """Loopback, private, link-local, and the ways to write them inside IPv6."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address: str) -> None:
    """The internet at large."""
    assert is_public(address)


def test_guard_resolves_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a host with public and private addresses the public ones are used; of a named host all."""
    calls: list[str] = []

    def resolve(host: str, port: int, **_options: object) -> list[tuple[object, ...]]:
        calls.append(host)
        return [(socket.AF_INET, 1, 6, "", (text, port)) for text in ("10.0.0.1", "8.8.8.8")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    guard = AddressGuard([("lan", None), ("one", 5000)])
    assert [address.shown for address in guard.resolve("cdn.example", 443)] == ["8.8.8.8:443"]
    assert len(guard.resolve("LAN", 80)) == 2
    assert len(guard.resolve("one", 5000)) == 2
    assert len(guard.resolve("one", 6379)) == 1  # another service on a host whose registry was named
    assert calls == ["cdn.example", "LAN", "one", "one"]


def test_guard_refuses() -> None:
    """By address and by a name that leads there."""
    guard = AddressGuard([("127.0.0.1", 5000)])
    for host, port in (("127.0.0.1", 5001), ("localhost", 80), ("[::1]", 80), ("169.254.169.254", 80)):
        with pytest.raises(ForbiddenAddressError, match="private address"):
            guard.resolve(host, port)
    with pytest.raises(RegistryUnavailableError, match=r"lookup nowhere\.invalid"):
        guard.resolve("nowhere.invalid", 443)


def test_split_host() -> None:
    """With and without a port, IPv6 in brackets."""
    assert split_host("H.example:5000", "https") == ("h.example", 5000)
    assert split_host("h", "http") == ("h", 80)
    assert split_host("[::1]:5000", "https") == ("::1", 5000)
    with pytest.raises(CorralError, match="no valid host"):
        split_host("h:port", "https")


# --- proxies ---


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "corp.example, .lan,10.0.0.0/8,192.168.1.1,host.example:8080")
    return monkeypatch


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://registry.ollama.ai/v2/", "http://proxy:3128"),
        ("http://registry.ollama.ai/v2/", None),
        ("https://localhost:5000/", None),
        ("https://127.0.0.1:5000/", None),
        ("https://[::1]:5000/", None),
        ("https://corp.example/", None),
        ("https://a.corp.example/", None),
        ("https://notcorp.example/", "http://proxy:3128"),
        ("https://box.lan/", None),
        ("https://10.1.2.3/", None),
        ("https://192.168.1.1/", None),
        ("https://host.example/", None),
    ],
)
def test_proxies(proxied: pytest.MonkeyPatch, url: str, expected: str | None) -> None:
    """From the environment, with exceptions by name and network; never for this machine."""
    assert proxy_for(url) == expected


def test_unknown_proxies(proxied: pytest.MonkeyPatch) -> None:
    """A proxy without scheme is http; kinds that nobody knows are refused in words."""
    proxied.setenv("HTTPS_PROXY", "proxy:3128")
    assert proxy_for("https://x.example/") == "http://proxy:3128"
    proxied.setenv("HTTPS_PROXY", "socks5://proxy:1080")
    assert proxy_for("https://x.example/") == "socks5://proxy:1080"
    proxied.setenv("HTTPS_PROXY", "socks4://proxy:1080")
    with pytest.raises(CorralError, match="socks4"):
        proxy_for("https://x.example/")


# --- bandwidth ---


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@given(st.integers(10_000, 10**9), st.lists(st.integers(1, 1 << 18), min_size=1, max_size=50))
def test_token_bucket(rate: int, takes: list[int]) -> None:
    """Whoever waits as told never gets more than the rate and one burst."""
    clock = Clock()
    limit = RateLimit(rate, clock=clock)
    for count in takes:
        clock.now_s += limit.reserve(count)
    burst = max(rate / 4, 64 << 10)
    assert sum(takes) <= (clock.now_s - 100) * rate + burst + 1


def test_limits_above_limits() -> None:
    """The stricter one of server and request decides."""
    clock = Clock()
    server = RateLimit(1000, clock=clock)
    request = RateLimit(10, clock=clock, parent=server)
    assert request.bytes_per_s == 10
    assert request.reserve(100) == pytest.approx(10)
    request.set_rate(0)
    assert request.bytes_per_s == 1000
    assert RateLimit().reserve(1 << 40) == 0


# --- parts at a time ---


def drive(tuner: StreamTuner, seconds: int, per_stream: float, most: float) -> list[int]:
    """Play a line that gives each stream `per_stream` bytes a second, up to `most` in all."""
    done, targets = 0.0, []
    tuner.start(0, 0)
    for second in range(1, seconds + 1):
        done += min(tuner.target * per_stream, most)
        targets.append(tuner.observe(second, int(done), is_limited=False))
    return targets


def test_more_streams_where_they_help() -> None:
    """A line that gives each stream little gets as many as allowed."""
    assert drive(StreamTuner(4, 16), 10, per_stream=1e6, most=1e9)[-1] == 16


def test_no_more_streams_where_they_do_not() -> None:
    """A line that one stream fills soon rests at few, trying again now and then."""
    targets = drive(StreamTuner(4, 16), 14, per_stream=1e8, most=1e8)
    assert targets.count(8) <= 2
    assert targets[-1] == 4


def test_no_more_streams_where_the_line_is_not_the_limit() -> None:
    """Beyond half a gigabyte a second more streams only cost work, even if they still brought something."""
    assert drive(StreamTuner(2, 16), 10, per_stream=3e8, most=1e10)[-1] == 2
    assert drive(StreamTuner(2, 16), 10, per_stream=2e8, most=1e10)[-1] == 4


def test_refused_streams() -> None:
    """A server that says too many gets half, for good."""
    tuner = StreamTuner(8, 16)
    tuner.refuse()
    assert drive(tuner, 40, per_stream=1e6, most=1e9)[-1] == 4
    for _ in range(10):
        tuner.refuse()
    assert tuner.target == 1
