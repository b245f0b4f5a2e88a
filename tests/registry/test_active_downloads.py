"""Several pulls of one blob, and what becomes of the download when they leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from corral.digest import Digest
from corral.errors import DiskFullError, RegistryProtocolError
from corral.registry.active_downloads import Downloads
from corral.registry.client import RegistryClient
from corral.store.blobs import BlobStore
from tests.doubles.odd_registry import OddRegistry
from tests.registry.conftest import noise
from tests.registry.test_download import POLICY, client_of

pytestmark = pytest.mark.slow

SIZE = 20_000_000
DATA = noise(SIZE, seed=5)
DIGEST = Digest.of(DATA)


async def no_progress(_completed: int) -> None:
    """Nobody looks."""


def run(
    folder: Path, play: Callable[[Downloads, OddRegistry], Awaitable[None]], *, bytes_per_s: int = 0
) -> None:
    """Play on a store in `folder` and a registry that has the blob."""
    registry = OddRegistry()
    registry.put(DATA)

    async def main() -> None:
        downloads = Downloads(BlobStore(folder), POLICY, bytes_per_s=bytes_per_s)
        try:
            await play(downloads, registry)
        finally:
            await downloads.close()

    try:
        asyncio.run(main())
    finally:
        registry.close()


def sources_of(registry: OddRegistry) -> Callable[[], Sequence[RegistryClient]]:
    return lambda: [client_of(registry)]


def fetch(downloads: Downloads, registry: OddRegistry, **options: Any) -> Coroutine[Any, Any, None]:
    return downloads.fetch(DIGEST, SIZE, sources_of(registry), options.pop("told", no_progress), **options)


def test_one_download_for_all(tmp_path: Path) -> None:
    """Five pulls, one transfer; each hears of its own progress, which never falls."""
    told: list[list[int]] = [[] for _ in range(5)]

    async def play(downloads: Downloads, registry: OddRegistry) -> None:
        def teller(i: int) -> Callable[[int], Awaitable[None]]:
            async def on_progress(completed: int) -> None:
                told[i].append(completed)

            return on_progress

        await asyncio.gather(*(fetch(downloads, registry, told=teller(i)) for i in range(5)))
        assert registry.sent_bytes() == SIZE

    run(tmp_path, play, bytes_per_s=40_000_000)
    assert (tmp_path / DIGEST.file_name()).read_bytes() == DATA
    for values in told:
        assert values == sorted(values)
        assert values[-1] == SIZE


def test_one_leaves(tmp_path: Path) -> None:
    """The first pull is cancelled; the second, which joined it, still gets the blob."""

    async def play(downloads: Downloads, registry: OddRegistry) -> None:
        first = asyncio.ensure_future(fetch(downloads, registry))
        second = asyncio.ensure_future(fetch(downloads, registry))
        while not registry.sent_bytes():
            await asyncio.sleep(0.01)
        first.cancel()
        await second
        assert first.cancelled()
        assert registry.sent_bytes() == SIZE

    run(tmp_path, play, bytes_per_s=40_000_000)
    assert (tmp_path / DIGEST.file_name()).read_bytes() == DATA


def test_all_leave_and_one_returns(tmp_path: Path) -> None:
    """Without waiters the transfer ends; who comes at that moment starts it again, and nothing is fetched twice."""

    async def play(downloads: Downloads, registry: OddRegistry) -> None:
        first = asyncio.ensure_future(fetch(downloads, registry))
        while registry.sent_bytes() < SIZE // 4:
            await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.wait({first})
        await fetch(downloads, registry)

    run(tmp_path, play, bytes_per_s=40_000_000)
    assert (tmp_path / DIGEST.file_name()).read_bytes() == DATA
    assert not list(tmp_path.glob("*partial*"))


def test_rate_of_one_pull(tmp_path: Path) -> None:
    """A request's limit holds for its download; a second one without a limit sets it free."""

    async def play(downloads: Downloads, registry: OddRegistry) -> None:
        slow = asyncio.ensure_future(fetch(downloads, registry, bytes_per_s=1_000_000))
        while (download := downloads.find(DIGEST)) is None:
            await asyncio.sleep(0)
        assert download.limit.bytes_per_s == 1_000_000
        free = asyncio.ensure_future(fetch(downloads, registry))
        await asyncio.sleep(0)
        assert download.limit.bytes_per_s == 0
        await asyncio.gather(slow, free)

    run(tmp_path, play)


def test_rate_of_all(tmp_path: Path) -> None:
    """The server's limit holds for all parts together."""

    async def play(downloads: Downloads, registry: OddRegistry) -> None:
        start_s = time.monotonic()
        await fetch(downloads, registry)
        assert time.monotonic() - start_s > SIZE / 10_000_000 - 0.5

    run(tmp_path, play, bytes_per_s=10_000_000)


def test_no_room(tmp_path: Path) -> None:
    """What does not fit on the disk is not begun."""

    async def play(downloads: Downloads, registry: OddRegistry) -> None:
        downloads.check_space({DIGEST: SIZE})
        with pytest.raises(DiskFullError, match="not enough disk space"):
            downloads.check_space({DIGEST: 1 << 62})

    run(tmp_path, play)


def test_two_sizes(tmp_path: Path) -> None:
    """A second manifest that gives the blob another size gets an error, the first its blob."""

    async def play(downloads: Downloads, registry: OddRegistry) -> None:
        first = asyncio.ensure_future(fetch(downloads, registry))
        await asyncio.sleep(0)
        with pytest.raises(RegistryProtocolError, match="different sizes"):
            await downloads.fetch(DIGEST, SIZE + 1, sources_of(registry), no_progress)
        await first

    run(tmp_path, play)
