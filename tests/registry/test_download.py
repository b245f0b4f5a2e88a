"""One blob from a registry that misbehaves: what arrives is right, or nothing does, and an error says why."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corral.digest import Digest
from corral.errors import (
    RegistryError,
    RegistryProtocolError,
    RegistryStatusError,
    RegistryUnavailableError,
    TransferCancelledError,
)
from corral.registry.address_filter import AddressGuard, ForbiddenAddressError
from corral.registry.auth import Authorizer, Wallet
from corral.registry.client import RegistryClient
from corral.registry.counts import TransferCounts
from corral.registry.download import BlobDownload, PulledDigestMismatchError
from corral.registry.limits import RateLimit
from corral.registry.part_state import Part, PartFiles
from corral.registry.policy import TransferPolicy
from corral.registry.source import Endpoint
from corral.registry.transport import Transport
from tests.doubles.odd_registry import Asked, OddRegistry
from tests.registry.conftest import noise

pytestmark = pytest.mark.slow

POLICY = TransferPolicy(
    connect_timeout_s=5, head_timeout_s=20, stall_timeout_s=1, retry_delay_s=0.01, max_attempts=4
)
SIZE = 40_000_000  # three parts
DATA = noise(SIZE, seed=3)


@pytest.fixture
def odd() -> Iterator[OddRegistry]:
    registry = OddRegistry()
    yield registry
    registry.close()


def client_of(
    registry: OddRegistry,
    policy: TransferPolicy = POLICY,
    *,
    named: list[tuple[str, int | None]] | None = None,
) -> RegistryClient:
    endpoint = Endpoint(registry.base, "lib/m", "latest", is_plain_allowed=True)
    guard = AddressGuard(trusted=[("127.0.0.1", registry.port)]) if named is None else AddressGuard(named)
    authorizer = Authorizer(Wallet(Path("/nonexistent")), endpoint.host, is_plain_allowed=True)
    return RegistryClient(endpoint, Transport(guard, policy), authorizer)


def download_of(
    folder: Path,
    *registries: OddRegistry,
    data: bytes = DATA,
    policy: TransferPolicy = POLICY,
    limit: RateLimit | None = None,
    counts: TransferCounts | None = None,
) -> BlobDownload:
    digest = Digest.of(data)
    sources = [client_of(registry, policy) for registry in registries]
    path = folder / digest.file_name()
    return BlobDownload(
        digest, len(data), path, sources, policy=policy, limit=limit or RateLimit(), counts=counts
    )


def blob_of(folder: Path, data: bytes = DATA) -> bytes:
    """What arrived; nothing else may lie beside it."""
    path = folder / Digest.of(data).file_name()
    assert [entry.name for entry in folder.iterdir()] == [path.name]
    return path.read_bytes()


def test_whole(odd: OddRegistry, tmp_path: Path) -> None:
    """The plain case asks for each byte once."""
    odd.put(DATA)
    counts = TransferCounts()
    download_of(tmp_path, odd, counts=counts).run()
    assert blob_of(tmp_path) == DATA
    assert odd.sent_bytes() == counts.pulled_bytes == SIZE
    assert counts.retries == 0


def test_dropped_connections(odd: OddRegistry, tmp_path: Path) -> None:
    """Every connection breaks after a while; what came counts, and little comes twice."""

    def before(asked: Asked) -> bool:
        asked.part(DATA, size=2_500_000)
        return True

    odd.before = before
    counts = TransferCounts()
    download_of(tmp_path, odd, counts=counts).run()
    assert blob_of(tmp_path) == DATA
    assert odd.sent_bytes() < SIZE * 1.2
    # Each connection brought 2.5 MB at most; what was sent and did not arrive is not counted.
    assert counts.retries >= SIZE // 2_500_000 - 3
    assert SIZE <= counts.pulled_bytes <= odd.sent_bytes()


def test_no_ranges(odd: OddRegistry, tmp_path: Path) -> None:
    """A server that answers a range with everything: one stream brings it all."""

    def before(asked: Asked) -> bool:
        asked.answer(200, DATA)
        return True

    odd.before = before
    download_of(tmp_path, odd).run()
    assert blob_of(tmp_path) == DATA


def test_no_ranges_and_breaking(odd: OddRegistry, tmp_path: Path) -> None:
    """The same with a connection that breaks twice."""
    breaks = [10_000_000, 30_000_000]

    def before(asked: Asked) -> bool:
        if asked.start < 16_777_216 or not breaks:
            size = breaks.pop(0) if breaks else SIZE
            asked.answer(200, DATA[:size], {"Content-Length": str(SIZE)})
            if size < SIZE:
                asked.drop()
        else:
            asked.answer(200, DATA)
        return True

    odd.before = before
    download_of(tmp_path, odd).run()
    assert blob_of(tmp_path) == DATA


def answer_with(
    status: int, body: bytes = b"", headers: dict[str, str] | None = None
) -> Callable[[Asked], bool]:
    def before(asked: Asked) -> bool:
        asked.answer(status, body, headers)
        return True

    return before


@pytest.mark.parametrize(
    ("before", "error", "text"),
    [
        (answer_with(404), RegistryStatusError, "file does not exist"),
        (answer_with(403, b"no"), RegistryStatusError, "403: no"),
        (answer_with(500, b"oops"), RegistryUnavailableError, "max retries exceeded: 500: oops"),
        (answer_with(204), RegistryUnavailableError, "unexpected status code 204"),
        (
            answer_with(206, b"x" * 10, {"Content-Range": "bytes 5-14/40000000"}),
            RegistryUnavailableError,
            "other bytes than",
        ),
        (answer_with(206, b"x" * 10), RegistryUnavailableError, "other bytes than"),
        (answer_with(200, b"x" * 10), RegistryUnavailableError, "the registry has 10 bytes"),
        (
            answer_with(206, b"x" * 10, {"Content-Range": "bytes 0-9/77", "Content-Encoding": "gzip"}),
            RegistryUnavailableError,
            "compressed",
        ),
        (answer_with(429, b"slow", {"Retry-After": "86400"}), RegistryStatusError, "429: slow"),
        (answer_with(307), RegistryUnavailableError, "no Location"),
        (answer_with(307, headers={"Location": "ftp://x/y"}), RegistryUnavailableError, "not a URL"),
        (answer_with(307, headers={"Location": "/again"}), RegistryUnavailableError, "maximum redirects"),
    ],
)
def test_refusals(
    odd: OddRegistry, tmp_path: Path, before: Callable[[Asked], bool], error: type[RegistryError], text: str
) -> None:
    """What cannot be had is said, and no blob appears."""
    odd.before = before
    with pytest.raises(error, match=text):
        download_of(tmp_path, odd).run()
    assert not (tmp_path / Digest.of(DATA).file_name()).exists()


def test_passing_trouble(odd: OddRegistry, tmp_path: Path) -> None:
    """429, 503 and resets go by."""
    odd.put(DATA)
    trouble = [(429, "0"), (503, "0"), (502, "")]
    lock = threading.Lock()

    def before(asked: Asked) -> bool:
        with lock:
            status, wait = trouble.pop() if trouble else (0, "")
        if status:
            asked.answer(status, b"", {"Retry-After": wait})
        return bool(status)

    odd.before = before
    download_of(tmp_path, odd).run()
    assert blob_of(tmp_path) == DATA


def test_stalled_part(odd: OddRegistry, tmp_path: Path) -> None:
    """A part that stops coming is asked for again."""
    odd.put(DATA)
    released = threading.Event()
    stalls = [True]

    def before(asked: Asked) -> bool:
        if asked.start == 0 and stalls:
            stalls.pop()
            headers = {"Content-Range": f"bytes 0-{asked.stop - 1}/{SIZE}", "Content-Length": str(asked.stop)}
            asked.answer(206, DATA[:1000], headers)
            released.wait(60)
            return True
        return False

    odd.before = before
    download_of(tmp_path, odd).run()
    released.set()
    assert blob_of(tmp_path) == DATA


def test_trickle_is_a_stall(odd: OddRegistry, tmp_path: Path) -> None:
    """A byte now and then does not keep a part alive."""

    def before(asked: Asked) -> bool:
        headers = {"Content-Range": f"bytes {asked.start}-{asked.stop - 1}/{SIZE}"}
        asked.answer(206, b"", {**headers, "Content-Length": str(asked.stop - asked.start)})
        while True:
            asked.write(b"x")
            time.sleep(0.2)

    odd.before = before
    with pytest.raises(RegistryUnavailableError, match="max retries exceeded"):
        download_of(tmp_path, odd).run()


def test_wrong_content(odd: OddRegistry, tmp_path: Path) -> None:
    """Right in length, wrong in content: thrown away."""
    wrong = noise(SIZE, seed=4)
    odd.blobs[str(Digest.of(DATA))] = wrong
    with pytest.raises(PulledDigestMismatchError, match=f"want {Digest.of(DATA)}, got {Digest.of(wrong)}"):
        download_of(tmp_path, odd).run()
    assert list(tmp_path.iterdir()) == []


def test_second_source(odd: OddRegistry, tmp_path: Path) -> None:
    """A mirror that fails half-way: the next one brings the rest, not the whole."""
    odd.put(DATA)
    mirror = OddRegistry()

    def before(asked: Asked) -> bool:
        if asked.start == 0:
            asked.part(DATA)
        else:
            asked.answer(404)
        return True

    mirror.before = before
    try:
        policy = TransferPolicy(stall_timeout_s=5, retry_delay_s=0.01, first_streams=1, max_streams=1)
        download_of(tmp_path, mirror, odd, policy=policy).run()
    finally:
        mirror.close()
    assert blob_of(tmp_path) == DATA
    assert odd.sent_bytes() == SIZE - 16_777_216


def test_redirect(odd: OddRegistry, tmp_path: Path) -> None:
    """Parts come from where the registry points; it is asked anew only when that fails."""
    cdn = OddRegistry()
    cdn.put(DATA)
    expired: list[str] = []

    def point(asked: Asked) -> bool:
        asked.answer(307, b"", {"Location": f"{cdn.base}/signed/{len(odd.asked)}/{Digest.of(DATA)}"})
        return True

    def refuse_once(asked: Asked) -> bool:
        assert "authorization" not in asked.headers
        if not expired and asked.start > 0:
            expired.append(asked.path)
            asked.answer(403, b"expired")
            return True
        return False

    odd.before, cdn.before = point, refuse_once
    policy = TransferPolicy(stall_timeout_s=5, retry_delay_s=0.01, first_streams=1, max_streams=1)
    try:
        digest = Digest.of(DATA)
        client = client_of(odd, policy, named=[("127.0.0.1", odd.port), ("127.0.0.1", cdn.port)])
        path = tmp_path / digest.file_name()
        BlobDownload(digest, SIZE, path, [client], policy=policy, limit=RateLimit()).run()
    finally:
        cdn.close()
    assert blob_of(tmp_path) == DATA
    assert len(odd.asked) == 2
    assert expired


def test_redirect_into_the_private_network(odd: OddRegistry, tmp_path: Path) -> None:
    """A registry cannot send us to a neighbour that nobody named."""
    neighbour = OddRegistry()
    odd.before = answer_with(307, headers={"Location": f"{neighbour.base}/admin"})
    try:
        with pytest.raises(ForbiddenAddressError, match="private address"):
            download_of(tmp_path, odd).run()
        assert neighbour.asked == []
    finally:
        neighbour.close()


def test_cancel_and_go_on(odd: OddRegistry, tmp_path: Path) -> None:
    """A cancelled download keeps what it has; the next one fetches the rest alone."""
    odd.put(DATA)
    limit = RateLimit(60_000_000)
    download = download_of(tmp_path, odd, limit=limit)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            download.run()
        except TransferCancelledError as exc:
            failed.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    while download.completed_bytes < SIZE // 3:
        time.sleep(0.005)
    download.cancel()
    thread.join(30)
    assert failed
    had = download.completed_bytes
    asked_before = len(odd.asked)
    download_of(tmp_path, odd).run()
    assert blob_of(tmp_path) == DATA
    assert sum(asked.sent_bytes for asked in odd.asked[asked_before:]) == SIZE - had


def test_going_on_with_ollamas_parts(odd: OddRegistry, tmp_path: Path) -> None:
    """Part files as the original leaves them are understood."""
    odd.put(DATA)
    partial = tmp_path / f"{Digest.of(DATA).file_name()}-partial"
    content = bytearray(SIZE)
    content[:15_000_000] = DATA[:15_000_000]
    content[20_000_000:40_000_000] = DATA[20_000_000:]
    partial.write_bytes(content)
    for number, (offset, completed) in enumerate([(0, 15_000_000), (20_000_000, 20_000_000)]):
        value = {"N": number, "Offset": offset, "Size": 20_000_000, "Completed": completed}
        partial.with_name(f"{partial.name}-{number}").write_text(
            json.dumps(value, separators=(",", ":")) + "\n"
        )
    download_of(tmp_path, odd).run()
    assert blob_of(tmp_path) == DATA
    assert odd.sent_bytes() == 5_000_000


def test_wrong_bytes_of_an_earlier_attempt_cost_no_further_pull(odd: OddRegistry, tmp_path: Path) -> None:
    """What is left may be wrong although the registry is right now: then all of it is fetched, once."""
    odd.put(DATA)
    files = PartFiles(tmp_path / Digest.of(DATA).file_name())
    half = SIZE // 2
    files.path.write_bytes(bytes(half) + DATA[half:])
    for part in (Part(0, 0, half, half), Part(1, half, SIZE - half, 0)):
        files.save(part)
    download_of(tmp_path, odd).run()
    assert blob_of(tmp_path) == DATA
    assert odd.sent_bytes() == SIZE - half + SIZE


@pytest.mark.parametrize("damage", ["zeros", "other boot", "hole", "garbage", "overlap", "empty"])
def test_after_a_power_failure(odd: OddRegistry, tmp_path: Path, damage: str) -> None:
    """Data or part files that did not reach the disk cost a part, not the download."""
    odd.put(DATA)
    files = PartFiles(tmp_path / Digest.of(DATA).file_name())
    half = SIZE // 2
    parts = [Part(0, 0, half, half, hashlib.sha256(DATA[:half]).hexdigest()), Part(1, half, half, half)]
    content = bytearray(DATA)
    fetched = 0
    if damage == "zeros":  # part 0 was hashed, yet its data is gone
        content[1000:2000] = bytes(1000)
        fetched = half
    files.path.write_bytes(content)
    for part in parts:
        files.save(part)
    second = files.path.with_name(f"{files.path.name}-1")
    if damage == "other boot":  # part 1 was never hashed: nobody knows whether it reached the disk
        second.write_text(second.read_text().replace('"BootID":"', '"BootID":"another'))
        fetched = half
    elif damage == "hole":
        second.unlink()
        fetched = half
    elif damage == "garbage":
        second.write_bytes(b'{"N":1,"Offs')
        fetched = half
    elif damage == "empty":
        second.write_bytes(b"")
        fetched = half
    elif damage == "overlap":  # of two programs: nothing is certain
        files.save(Part(2, 5, 100, 100))
        fetched = SIZE
    download_of(tmp_path, odd).run()
    assert blob_of(tmp_path) == DATA
    assert odd.sent_bytes() == fetched


def test_two_processes(odd: OddRegistry, tmp_path: Path) -> None:
    """Two downloads that know nothing of each other: the second waits and finds the blob."""
    odd.put(DATA)
    downloads = [download_of(tmp_path, odd, limit=RateLimit(100_000_000)) for _ in range(2)]
    threads = [threading.Thread(target=download.run) for download in downloads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert blob_of(tmp_path) == DATA
    assert odd.sent_bytes() == SIZE


def test_trailing_bytes(odd: OddRegistry) -> None:
    """A body without length that is longer than its range."""

    def before(asked: Asked) -> bool:
        headers = {"Content-Range": f"bytes 0-9/{SIZE}", "Content-Length": "", "Connection": "close"}
        asked.answer(206, b"0123456789and more", headers)
        asked.drop()
        return True

    odd.before = before
    reply, _ = client_of(odd).open_blob(Digest.of(DATA), 0, 10, SIZE)
    buffer = bytearray(10)
    assert reply.read_into(memoryview(buffer)) == 10
    assert buffer == b"0123456789"
    with pytest.raises(RegistryProtocolError, match="more bytes than it announced"):
        reply.finish()
