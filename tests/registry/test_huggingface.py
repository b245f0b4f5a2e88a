"""Hugging Face's repositories: sharded files, and its two names."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.digest import Digest
from corral.errors import RegistryAuthError, RegistryError
from corral.registry.address_filter import AddressGuard
from corral.registry.auth import Authorizer, Wallet
from corral.registry.challenge import Challenge
from corral.registry.client import RegistryClient
from corral.registry.huggingface import RepositoryFile, choose_files, fetch_listing
from corral.registry.policy import TransferPolicy
from corral.registry.source import Endpoint
from corral.registry.transport import Transport
from tests.conftest import FIXTURES, Server
from tests.doubles.odd_registry import Asked, OddRegistry
from tests.doubles.real_registry import digest_of


def files(*paths: str) -> list[RepositoryFile]:
    return [RepositoryFile(path, Digest.of(path.encode()), 1) for path in paths]


REPOSITORY = files(
    "README.md",
    "Q4_K_M/m-Q4_K_M-00002-of-00002.gguf",
    "Q4_K_M/m-Q4_K_M-00001-of-00002.gguf",
    "Q4_K/m-Q4_K-00001-of-00001.gguf",
    "m-UD-Q8_0-00001-of-00003.gguf",
    "m-UD-Q8_0-00003-of-00003.gguf",
    "m-f16.gguf",
    "mmproj-BF16.gguf",
    "mmproj-F16.gguf",
)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("latest", ["m-Q4_K_M-00001-of-00002.gguf", "m-Q4_K_M-00002-of-00002.gguf", "mmproj-F16.gguf"]),
        ("q4_k_m", ["m-Q4_K_M-00001-of-00002.gguf", "m-Q4_K_M-00002-of-00002.gguf", "mmproj-F16.gguf"]),
        ("Q4_K", ["m-Q4_K-00001-of-00001.gguf", "mmproj-F16.gguf"]),
    ],
)
def test_choice(tag: str, expected: list[str]) -> None:
    """All shards of one quantization in order, and the projector."""
    assert [file.name for file in choose_files(REPOSITORY, tag)] == expected


@pytest.mark.parametrize(("tag", "text"), [("UD-Q8_0", "2 of 3 shards"), ("Q6_K", "no sharded GGUF 'Q6_K'")])
def test_no_choice(tag: str, text: str) -> None:
    """An incomplete set, and none."""
    with pytest.raises(RegistryError, match=text):
        choose_files(REPOSITORY, tag)


@pytest.fixture
def hub() -> Iterator[OddRegistry]:
    """Hugging Face behind a proxy: paths are whole URLs."""
    registry = OddRegistry()
    yield registry
    registry.close()


def test_sharded_repository(hub: OddRegistry, start_server: Callable[..., Server]) -> None:
    """What the registry endpoint refuses is fetched file by file and made into a model."""
    data = (FIXTURES / "say.gguf").read_bytes()
    base = "http://hf.co"
    listing = [
        {"type": "directory", "path": "Q8_0"},
        {"type": "file", "path": "README.md", "size": 7},
        {
            "type": "file",
            "path": "Q8_0/say-Q8_0-00001-of-00001.gguf",
            "size": len(data),
            "lfs": {"oid": digest_of(data)[7:], "size": len(data)},
        },
    ]

    def before(asked: Asked) -> bool:
        if asked.path == f"{base}/v2/user/repo/manifests/Q8_0":
            asked.answer(400, b'{"error":"The specified tag is a sharded GGUF. ..."}')
        elif asked.path == f"{base}/api/models/user/repo/tree/main?recursive=true":
            asked.answer(200, json.dumps(listing).encode())
        elif asked.path == f"{base}/user/repo/resolve/main/Q8_0/say-Q8_0-00001-of-00001.gguf":
            asked.answer(
                302, b"", {"Location": f"{base.replace('hf.co', 'huggingface.co')}/files/{digest_of(data)}"}
            )
        elif asked.path.startswith("http://huggingface.co/files/"):
            asked.part(data)
        else:
            return False
        return True

    hub.before = before
    server = start_server(HTTP_PROXY=hub.base, http_proxy=hub.base, NO_PROXY="", no_proxy="")
    events = server.stream("/api/pull", {"model": "hf.co/user/repo:Q8_0", "insecure": True})
    assert events[0] == {"status": "pulling manifest"}
    assert events[-1] == {"status": "success"}
    digest = digest_of(data)
    assert {
        "status": f"pulling {digest[7:19]}",
        "digest": digest,
        "total": len(data),
        "completed": len(data),
    } in events
    assert server.get("/api/tags")["models"][0]["name"] == "hf.co/user/repo:Q8_0"
    assert server.post("/api/show", {"model": "hf.co/user/repo:Q8_0"})["details"]["format"] == "gguf"


def listing_client(hub: OddRegistry) -> RegistryClient:
    endpoint = Endpoint(hub.base, "a/b", "latest", is_plain_allowed=True)
    authorizer = Authorizer(Wallet(Path("/nonexistent")), endpoint.host, is_plain_allowed=True)
    return RegistryClient(
        endpoint, Transport(AddressGuard([("127.0.0.1", hub.port)]), TransferPolicy()), authorizer
    )


def entry(path: str) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": 1, "lfs": {"oid": digest_of(path.encode())[7:], "size": 1}}


def test_listing_of_several_pages(hub: OddRegistry) -> None:
    """Large repositories are listed a page at a time; each names the next in a header."""
    pages = [["a.gguf", "b.gguf"], ["c.gguf"], ["d.gguf"]]

    def before(asked: Asked) -> bool:
        number = int(asked.path.partition("cursor=")[2] or 0)
        body = json.dumps([entry(path) for path in pages[number]]).encode()
        following = f"/api/models/a/b/tree/main?recursive=true&cursor={number + 1}"
        links = [
            f'<{hub.base}/first>; rel="first", <{hub.base}{following}>; rel="next"',
            f"<{following}>;rel=next",
            f'<{following}>; rel="last"',
        ]
        asked.answer(200, body, {"Link": links[number]})
        return True

    hub.before = before
    listed = fetch_listing(listing_client(hub))
    assert [file.path for file in listed] == ["a.gguf", "b.gguf", "c.gguf", "d.gguf"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("link", "text"),
    [
        ("<http://elsewhere.example/x>; rel=next", "another host"),
        ("</again>; rel=next", "more than 100 pages"),
        ("<ftp://x/>; rel=next", "not a URL"),
    ],
)
def test_listing_that_leads_astray(hub: OddRegistry, link: str, text: str) -> None:
    def before(asked: Asked) -> bool:
        asked.answer(200, b"[]", {"Link": link})
        return True

    hub.before = before
    with pytest.raises(RegistryError, match=text):
        fetch_listing(listing_client(hub))


@given(st.binary(max_size=200) | st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=5))).map(
    lambda value: json.dumps(value).encode()
))  # fmt: skip
def test_any_listing(body: bytes) -> None:
    """A listing or our own error."""

    class _Response:
        status = 200

        def header(self, _name: str) -> None:
            return None

        def read_bounded(self, _limit: int) -> bytes:
            return body

    class _Client(RegistryClient):
        def follow(self, method: str, url: str, headers: Any) -> Any:
            return _Response()

    endpoint = Endpoint("https://hf.co", "a/b", "latest")
    authorizer = Authorizer(Wallet(Path("/nonexistent")), "hf.co", is_plain_allowed=False)
    client = _Client(endpoint, Transport(AddressGuard(), TransferPolicy()), authorizer)
    with contextlib.suppress(RegistryError):
        assert all(file.size_bytes > 0 for file in fetch_listing(client))


def test_two_names_of_one_registry() -> None:
    """A token of one is for the other as well; nobody else's realm is."""
    wallet = Wallet(Path("/nonexistent"), hugging_face_token="hf_x")
    authorizer = Authorizer(wallet, "hf.co", is_plain_allowed=False)
    assert authorizer.header() == "Bearer hf_x"
    assert Authorizer(wallet, "hf.co", is_plain_allowed=True).header() is None
    assert Authorizer(wallet, "hf.co.evil.example", is_plain_allowed=False).header() is None
    transport = Transport(AddressGuard(), TransferPolicy())
    client = RegistryClient(Endpoint("https://hf.co", "a/b", "latest"), transport, authorizer)
    assert client.is_own("https://huggingface.co/a")
    assert not client.is_own("http://huggingface.co/a")
    assert not client.is_own("https://cdn.hf.co/a")
    assert client.is_own("https://HF.co:443/a")
    assert not client.is_own("https://hf.co:444/a")
    assert not client.is_own("https://me@hf.co/a")
    challenge = Challenge("bearer", {"realm": "https://evil.example/token"})
    with pytest.raises(
        RegistryAuthError, match=r'realm host "evil\.example" does not match original host "hf\.co"'
    ):
        authorizer.renew([challenge], refused="Bearer hf_x", transport=transport)
