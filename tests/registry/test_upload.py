"""One blob to a registry: what breaks off goes on, what is redirected goes in parallel."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.digest import Digest
from corral.errors import RegistryStatusError, RegistryUnavailableError
from corral.registry.address_filter import AddressGuard
from corral.registry.auth import Authorizer, Wallet
from corral.registry.client import RegistryClient
from corral.registry.credentials import Credential
from corral.registry.limits import RateLimit
from corral.registry.policy import TransferPolicy
from corral.registry.source import Endpoint
from corral.registry.transport import Transport
from corral.registry.upload import BlobUpload, UploadSessions, etag_of
from corral.store.manifests import Layer
from tests.doubles.upload_registry import Upload, UploadRegistry, UploadRequest
from tests.registry.conftest import noise

pytestmark = pytest.mark.slow

POLICY = TransferPolicy(stall_timeout_s=5, retry_delay_s=0.01, max_attempts=3)
SIZE = 100_000_100  # two chunks
DATA = noise(SIZE, seed=9)


@pytest.fixture
def registry() -> Iterator[UploadRegistry]:
    registry = UploadRegistry()
    yield registry
    registry.close()


def upload_of(
    folder: Path, registry: UploadRegistry, data: bytes, sessions: UploadSessions, *, from_: str = ""
) -> BlobUpload:
    path = folder / "blob"
    path.write_bytes(data)
    endpoint = Endpoint(registry.base, "me/m", "latest", is_plain_allowed=True)
    authorizer = Authorizer(Wallet(Path("/nonexistent")), endpoint.host, is_plain_allowed=True)
    client = RegistryClient(
        endpoint, Transport(AddressGuard(trusted=[("127.0.0.1", registry.port)]), POLICY), authorizer
    )
    layer = Layer("application/vnd.ollama.image.model", Digest.of(data), len(data), from_)
    return BlobUpload(layer, path, client, policy=POLICY, limit=RateLimit(), sessions=sessions)


def etag(*chunks: bytes) -> str:
    return etag_of([hashlib.md5(chunk).digest() for chunk in chunks])


@pytest.mark.parametrize("data", [b"hello", b""])
def test_small(registry: UploadRegistry, tmp_path: Path, data: bytes) -> None:
    """One chunk, or none at all."""
    upload = upload_of(tmp_path, registry, data, {})
    upload.run()
    assert registry.blobs == {str(Digest.of(data)): data}
    assert registry.etags == [etag(*([data] if data else []))]
    assert upload.completed_bytes == len(data)


def test_headers(registry: UploadRegistry, tmp_path: Path) -> None:
    """Chunks say where they belong, and that they may be sent elsewhere."""
    upload_of(tmp_path, registry, DATA, {}).run()
    patches = [asked.headers for asked in registry.asked if asked.method == "PATCH"]
    assert [headers["content-range"] for headers in patches] == ["0-99999999", "100000000-100000099"]
    assert {headers["x-redirect-uploads"] for headers in patches} == {"1"}
    assert {headers["content-type"] for headers in patches} == {"application/octet-stream"}
    assert registry.etags == [etag(DATA[:100_000_000], DATA[100_000_000:])]


def test_no_credentials_for_another_host(registry: UploadRegistry, tmp_path: Path) -> None:
    """A registry may have a blob sent to somebody else, who must not learn who we are."""
    other = UploadRegistry()
    try:

        def begin_there(asked: UploadRequest, _upload: Upload | None) -> bool:
            if asked.headers.get("authorization") is None:
                asked.handler.send_response(401)
                asked.handler.send_header("WWW-Authenticate", 'Basic realm="here"')
            elif asked.method == "POST":
                other.uploads["0"] = Upload()
                asked.handler.send_response(202)
                asked.handler.send_header("Location", f"{other.base}/v2/u/0")
            else:
                return False
            asked.handler.send_header("Content-Length", "0")
            asked.handler.end_headers()
            return True

        registry.before = begin_there
        path = tmp_path / "blob"
        path.write_bytes(b"hello")
        endpoint = Endpoint(registry.base, "me/m", "latest", is_plain_allowed=True)
        authorizer = Authorizer(
            Wallet(Path("/nonexistent")),
            endpoint.host,
            is_plain_allowed=True,
            credential=Credential("me", "secret"),
        )
        guard = AddressGuard([("127.0.0.1", None)])
        client = RegistryClient(endpoint, Transport(guard, POLICY), authorizer)
        layer = Layer("application/vnd.ollama.image.model", Digest.of(b"hello"), 5)
        BlobUpload(layer, path, client, policy=POLICY, limit=RateLimit(), sessions={}).run()
    finally:
        other.close()
    assert other.blobs == {str(Digest.of(b"hello")): b"hello"}
    assert [asked.method for asked in other.asked] == ["PATCH", "PUT"]
    assert not any("authorization" in asked.headers for asked in other.asked)
    assert registry.asked[-1].headers["authorization"].startswith("Basic ")


def test_redirected_chunks(registry: UploadRegistry, tmp_path: Path) -> None:
    """Each goes to its own URL, without what is meant for the registry alone."""
    registry.is_redirecting = True
    upload = upload_of(tmp_path, registry, DATA, {})
    upload.run()
    assert registry.blobs == {str(Digest.of(DATA)): DATA}
    puts = [asked for asked in registry.asked if asked.method == "PUT" and "first=" in asked.path]
    assert len(puts) == 2
    assert all("content-range" not in put.headers and "x-redirect-uploads" not in put.headers for put in puts)
    assert registry.etags == [etag(DATA[:100_000_000], DATA[100_000_000:])]
    assert upload.completed_bytes == SIZE


def test_dropped_connection(registry: UploadRegistry, tmp_path: Path) -> None:
    """After a break the registry is asked how much it has, and only the rest is sent."""
    drops = [40_000_000]

    def before(asked: UploadRequest, upload: Upload | None) -> bool:
        if asked.method == "PATCH" and drops and upload is not None:
            asked.drop_after(drops.pop(), upload.data)
            return True
        return False

    registry.before = before
    upload_of(tmp_path, registry, DATA, {}).run()
    assert registry.blobs == {str(Digest.of(DATA)): DATA}
    ranges = [asked.headers["content-range"] for asked in registry.asked if asked.method == "PATCH"]
    assert ranges == ["0-99999999", "40000000-99999999", "100000000-100000099"]
    assert registry.etags == [etag(DATA[:100_000_000], DATA[100_000_000:])]


def test_next_push_goes_on(registry: UploadRegistry, tmp_path: Path) -> None:
    """A push that gave up leaves a place to go on at."""

    def before(asked: UploadRequest, upload: Upload | None) -> bool:
        if asked.method == "PATCH" and upload is not None:
            size = 30_000_000 if not upload.data else 0
            asked.drop_after(size, upload.data)
            return True
        return False

    registry.before = before
    sessions: UploadSessions = {}
    with pytest.raises(RegistryUnavailableError, match="max retries exceeded"):
        upload_of(tmp_path, registry, DATA, sessions).run()
    registry.before = lambda _asked, _upload: False
    registry.asked.clear()
    upload_of(tmp_path, registry, DATA, sessions).run()
    assert registry.blobs == {str(Digest.of(DATA)): DATA}
    assert [asked.method for asked in registry.asked] == ["HEAD", "GET", "PATCH", "PATCH", "PUT"]
    assert sessions == {}


def test_forgotten_upload(registry: UploadRegistry, tmp_path: Path) -> None:
    """A registry that does not know the upload any more gets a new one."""
    sessions: UploadSessions = {(registry.base, "me/m", str(Digest.of(b"hello"))): f"{registry.base}/v2/u/99"}
    upload_of(tmp_path, registry, b"hello", sessions).run()
    assert registry.blobs == {str(Digest.of(b"hello")): b"hello"}


def test_lost_answer_to_the_commit(registry: UploadRegistry, tmp_path: Path) -> None:
    """The blob is there although nobody said so."""

    def before(asked: UploadRequest, upload: Upload | None) -> bool:
        if asked.method == "PUT" and upload is not None:
            registry.blobs[str(Digest.of(b"hello"))] = bytes(upload.data)
            asked.drop_after(0, bytearray())
            return True
        return False

    registry.before = before
    upload_of(tmp_path, registry, b"hello", {}).run()
    assert registry.blobs == {str(Digest.of(b"hello")): b"hello"}


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (403, RegistryStatusError, "http status 403 Forbidden: no"),
        (500, RegistryUnavailableError, "max retries exceeded: http status 500 Internal Server Error: no"),
    ],
)
def test_refused_chunk(
    registry: UploadRegistry, tmp_path: Path, status: int, error: type[Exception], text: str
) -> None:
    """A clear answer ends it at once, trouble after some attempts."""

    def before(asked: UploadRequest, _upload: Upload | None) -> bool:
        if asked.method != "PATCH":
            return False
        asked.handler.rfile.read(5)
        asked.handler.send_response(status)
        asked.handler.send_header("Content-Length", "2")
        asked.handler.end_headers()
        asked.handler.wfile.write(b"no")
        return True

    registry.before = before
    with pytest.raises(error, match=text):
        upload_of(tmp_path, registry, b"hello", {}).run()


def test_mount_request(registry: UploadRegistry, tmp_path: Path) -> None:
    """A layer that came from another model is offered for mounting; here it is sent all the same."""
    upload_of(tmp_path, registry, b"hello", {}, from_="llama3:latest").run()
    post = next(asked for asked in registry.asked if asked.method == "POST")
    hexadecimal = Digest.of(b"hello").hex
    assert post.path == f"/v2/me/m/blobs/uploads/?from=library%2Fllama3&mount=sha256%3A{hexadecimal}"
    assert registry.blobs == {str(Digest.of(b"hello")): b"hello"}
