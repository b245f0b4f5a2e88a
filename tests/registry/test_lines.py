"""The ways that bytes take from a line into the file: past this process, through it, and out of TLS."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.errors import RegistryUnavailableError
from corral.registry import download, prefix, transport
from corral.registry.limits import RateLimit
from corral.registry.partial import PartialFile
from corral.registry.parts import Part, PartFiles
from corral.registry.policy import TransferPolicy
from corral.registry.prefix import PrefixHasher
from corral.registry.splicing import CAN_SPLICE, KernelPipe, splice_from_socket
from tests.doubles.certificates import TestCertificate
from tests.doubles.odd_registry import Asked, OddRegistry
from tests.registry.conftest import noise
from tests.registry.test_download import DATA, SIZE, blob_of, download_of

pytestmark = pytest.mark.slow

WAYS = ["spliced", "copied", "tls"]
needs_splice = pytest.mark.skipif(not CAN_SPLICE, reason="splice is a call of Linux")


class Line:
    """A registry, and how many bytes have gone past this process."""

    def __init__(self, way: str, registry: OddRegistry) -> None:
        self.way = way
        self.registry = registry
        self.spliced_bytes = 0


@pytest.fixture(params=WAYS)
def line(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    way = request.param
    certificate = None
    if way == "tls":
        folder = tmp_path / "certificate"
        folder.mkdir()
        certificate = TestCertificate(folder)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    elif way == "spliced" and not CAN_SPLICE:
        pytest.skip("splice is a call of Linux")
    elif way == "copied":
        monkeypatch.setattr(download, "CAN_SPLICE", False)
    transport._tls_context.cache_clear()
    found = Line(way, OddRegistry(certificate=certificate))
    take = KernelPipe.take

    def counted(pipe: KernelPipe, handle: int, pos: int, most: int) -> int | None:
        moved = take(pipe, handle, pos, most)
        found.spliced_bytes += moved or 0
        return moved

    monkeypatch.setattr(KernelPipe, "take", counted)
    yield found
    found.registry.close()
    transport._tls_context.cache_clear()


def test_each_way_brings_the_blob(line: Line, tmp_path: Path) -> None:
    """Right, each byte once, over as few connections as there are streams; and the way is the one that is meant."""
    line.registry.put(DATA)
    folder = tmp_path / "blobs"
    download_of(folder, line.registry).run()
    assert blob_of(folder) == DATA
    assert line.registry.sent_bytes() == SIZE
    assert line.registry.connection_count <= TransferPolicy().first_streams
    if line.way == "spliced":
        assert SIZE / 2 < line.spliced_bytes < SIZE  # what comes with the head of a reply is copied
    else:
        assert line.spliced_bytes == 0


def test_each_way_survives_breaks(line: Line, tmp_path: Path) -> None:
    """Connections that break anywhere cost little more than what was under way."""
    rand = random.Random(5)

    def before(asked: Asked) -> bool:
        asked.part(DATA, size=rand.randrange(300_000, 5_000_000))
        return True

    line.registry.before = before
    folder = tmp_path / "blobs"
    download_of(folder, line.registry).run()
    assert blob_of(folder) == DATA
    assert line.registry.sent_bytes() < SIZE * 1.5


def test_each_way_ends_with_a_short_body(line: Line, tmp_path: Path) -> None:
    """A server that never sends more than a few bytes of a part is given up with an error."""

    def before(asked: Asked) -> bool:
        asked.part(DATA, size=100)
        return True

    line.registry.before = before
    with pytest.raises(RegistryUnavailableError, match="unexpected EOF"):
        download_of(tmp_path / "blobs", line.registry).run()


def test_each_way_stalls(line: Line, tmp_path: Path) -> None:
    """A line that says nothing more in the middle of a part is left, and the rest fetched over another."""
    line.registry.put(DATA)
    released = threading.Event()
    stalls = [0, 0]

    def before(asked: Asked) -> bool:
        if not stalls:
            return False
        stalls.pop()
        length = asked.stop - asked.start
        headers = {
            "Content-Range": f"bytes {asked.start}-{asked.stop - 1}/{SIZE}",
            "Content-Length": str(length),
        }
        asked.answer(206, DATA[asked.start : asked.start + 1_000_000], headers)
        released.wait(60)
        return True

    line.registry.before = before
    folder = tmp_path / "blobs"
    try:
        download_of(folder, line.registry).run()
    finally:
        released.set()
    assert blob_of(folder) == DATA
    assert line.registry.sent_bytes() <= SIZE + 2 * 1_000_000


def test_a_limit_keeps_to_small_pieces(line: Line, tmp_path: Path) -> None:
    """With a limit nothing is spliced: a megabyte at a time would be a burst."""
    data = noise(3_000_000, seed=8)
    line.registry.put(data)
    folder = tmp_path / "blobs"
    download_of(folder, line.registry, data=data, limit=RateLimit(20_000_000)).run()
    assert blob_of(folder, data) == data
    assert line.spliced_bytes == 0


# --- splicing ---


@contextlib.contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    handle = os.open(path, flags, 0o644)
    try:
        yield handle
    finally:
        os.close(handle)


@needs_splice
@pytest.mark.parametrize("is_supported", [True, False])
def test_pipe_into_file(tmp_path: Path, is_supported: bool) -> None:
    """Also where a file cannot be spliced to: one for appending is such a file."""
    data = noise(300_000)
    pipe = KernelPipe()
    ours, theirs = socket.socketpair()

    def send() -> None:
        theirs.sendall(data)
        theirs.close()

    sender = threading.Thread(target=send)
    sender.start()
    path = tmp_path / "file"
    with ours, opened(path, os.O_RDWR | os.O_CREAT | (0 if is_supported else os.O_APPEND)) as handle:
        file = PartialFile(PartFiles(path), threading.Event())
        file._handle, pos = handle, 0
        while count := splice_from_socket(ours.fileno(), pipe.entry, 100_000, 30):
            file.take(pipe, count, pos)
            pos += count
    sender.join()
    pipe.close()
    assert path.read_bytes() == data


@needs_splice
def test_waiting_for_a_socket_ends(tmp_path: Path) -> None:
    pipe = KernelPipe()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        with pytest.raises(TimeoutError):
            splice_from_socket(ours.fileno(), pipe.entry, 1000, 0.05)
    pipe.close()


# --- the hash follows ---


@pytest.mark.parametrize("seed", range(20))
def test_the_hash_is_woken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Whatever order parts grow in, the thread that hashes hears of all that it waits for."""
    monkeypatch.setattr(prefix, "_IDLE_S", 3600)
    monkeypatch.setattr(prefix, "_CHUNK_BYTES", 1000)
    rand = random.Random(seed)
    data = noise(40_000, seed)
    bounds = [0, *sorted(rand.sample(range(1, len(data)), 5)), len(data)]
    parts = [Part(i, bounds[i], bounds[i + 1] - bounds[i]) for i in range(len(bounds) - 1)]
    heard: list[int] = []
    path = tmp_path / "file"
    path.write_bytes(bytes(len(data)))
    with opened(path, os.O_RDWR) as handle:
        hasher = PrefixHasher(
            handle, parts, on_part=lambda part: heard.append(part.number), on_bad=lambda _part: None
        )
        hasher.start()

        def grow(mine: list[Part], rand: random.Random) -> None:
            while mine:
                part = rand.choice(mine)
                start = part.offset + part.completed
                count = min(rand.randrange(1, 700), part.size - part.completed)
                os.pwrite(handle, data[start : start + count], start)
                part.completed += count
                hasher.wake(part)
                if part.is_complete:
                    mine.remove(part)

        threads = [
            threading.Thread(target=grow, args=(parts[i::2], random.Random(seed + i))) for i in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        has_ended = hasher.join(60)
        hasher.stop()
    assert has_ended
    assert hasher.error is None
    assert hasher.digest_hex == hashlib.sha256(data).hexdigest()
    assert heard == list(range(len(parts)))
