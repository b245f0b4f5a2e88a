"""How bytes come from a connection into the file, over plain http and over TLS."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.errors import RegistryUnavailableError
from corral.registry import prefix, transport
from corral.registry.limits import RateLimit
from corral.registry.part_state import Part
from corral.registry.policy import TransferPolicy
from corral.registry.prefix import PrefixHasher
from tests.doubles.certificates import TestCertificate
from tests.doubles.odd_registry import Asked, OddRegistry
from tests.registry.conftest import noise
from tests.registry.test_download import DATA, SIZE, blob_of, download_of

pytestmark = pytest.mark.slow


@pytest.fixture(params=["http", "https"])
def line(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OddRegistry]:
    certificate = None
    if request.param == "https":
        folder = tmp_path / "certificate"
        folder.mkdir()
        certificate = TestCertificate(folder)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    transport._tls_context.cache_clear()
    registry = OddRegistry(certificate=certificate)
    yield registry
    registry.close()
    transport._tls_context.cache_clear()


def test_each_way_brings_the_blob(line: OddRegistry, tmp_path: Path) -> None:
    """Right, each byte once, over as few connections as there are streams."""
    line.put(DATA)
    folder = tmp_path / "blobs"
    download_of(folder, line).run()
    assert blob_of(folder) == DATA
    assert line.sent_bytes() == SIZE
    assert line.connection_count <= TransferPolicy().first_streams


def test_each_way_survives_breaks(line: OddRegistry, tmp_path: Path) -> None:
    """Connections that break anywhere cost little more than what was under way."""
    rand = random.Random(5)

    def before(asked: Asked) -> bool:
        asked.part(DATA, size=rand.randrange(300_000, 5_000_000))
        return True

    line.before = before
    folder = tmp_path / "blobs"
    download_of(folder, line).run()
    assert blob_of(folder) == DATA
    assert line.sent_bytes() < SIZE * 1.5


def test_each_way_ends_with_a_short_body(line: OddRegistry, tmp_path: Path) -> None:
    """A server that never sends more than a few bytes of a part is given up with an error."""

    def before(asked: Asked) -> bool:
        asked.part(DATA, size=100)
        return True

    line.before = before
    with pytest.raises(RegistryUnavailableError, match="unexpected EOF"):
        download_of(tmp_path / "blobs", line).run()


def test_each_way_stalls(line: OddRegistry, tmp_path: Path) -> None:
    """A line that says nothing more in the middle of a part is left, and the rest fetched over another."""
    line.put(DATA)
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

    line.before = before
    folder = tmp_path / "blobs"
    try:
        download_of(folder, line).run()
    finally:
        released.set()
    assert blob_of(folder) == DATA
    assert line.sent_bytes() <= SIZE + 2 * 1_000_000


class CountedLimit(RateLimit):
    """A limit that keeps the largest piece that was read under it."""

    largest_bytes = 0

    def reserve(self, count: int) -> float:
        self.largest_bytes = max(self.largest_bytes, count)
        return super().reserve(count)


def test_a_limit_keeps_to_small_pieces(line: OddRegistry, tmp_path: Path) -> None:
    """With a limit no read is as large as it may be without: that would be a burst."""
    data = noise(500_000, seed=8)
    line.put(data)
    folder = tmp_path / "blobs"
    limit = CountedLimit(4_000_000)
    download_of(folder, line, data=data, limit=limit).run()
    assert blob_of(folder, data) == data
    assert 0 < limit.largest_bytes <= limit.piece_bytes(1 << 20)


# --- the hash follows ---


@contextlib.contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    handle = os.open(path, flags, 0o644)
    try:
        yield handle
    finally:
        os.close(handle)


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
