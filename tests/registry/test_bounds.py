"""What a hostile registry, or a client that names one, cannot do to the server and its network."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import InvalidRequestError, RegistryUnavailableError
from corral.registry.address_filter import AddressGuard, ForbiddenAddressError
from corral.registry.deadlines import Deadlines
from corral.registry.slots import HostSlots
from corral.store.blobs import BlobStore
from corral.store.uploads import UploadStore
from tests.conftest import Server
from tests.doubles.odd_registry import Asked, OddRegistry
from tests.waiting import wait_until

PAGE = b"INTERNAL-ADMIN-PAGE secret=42"


@pytest.fixture
def registry() -> Iterator[OddRegistry]:
    registry = OddRegistry()
    yield registry
    registry.close()


def replying(status: int, body: bytes = b"") -> Callable[[Asked], bool]:
    """The same answer to every request."""

    def reply(asked: Asked) -> bool:
        asked.answer(status, body)
        return True

    return reply


# --- what other services in the network answer ---


@pytest.mark.parametrize(
    "body",
    [
        PAGE,
        b'{"password": "secret=42"}',
        b'{"errors": "secret=42"}',
        b'{"error": {"x": "secret=42"}}',
        b'"secret=42"',
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_answers_of_internal_services_are_not_repeated(
    registry: OddRegistry, server: Server, body: bytes, status: int
) -> None:
    """Pull, push and create name the status alone of a private host that does not speak as a registry."""
    registry.before = replying(status, body)
    name = f"127.0.0.1:{registry.port}/ns/leak"
    server.post("/api/copy", {"source": "say", "destination": name})
    request = {"model": name, "insecure": True, "stream": False}
    told = [server.request("POST", "/api/pull", request)[1]]
    if status == 403:  # others are tried again and again
        told.append(server.request("POST", "/api/push", request)[1])
    server.request("DELETE", "/api/delete", {"model": name})
    assert all(b"secret" not in text for text in told)
    assert any(str(status).encode() in text for text in told) or status == 401


def test_a_registry_in_the_network_is_quoted(registry: OddRegistry, server: Server) -> None:
    """Errors in the form of the distribution specification are."""
    body = b'{"errors":[{"code":"DENIED","message":"quota is used up"}]}'
    registry.before = replying(403, body)
    request = {"model": f"127.0.0.1:{registry.port}/ns/x", "insecure": True, "stream": False}
    assert b"quota is used up" in server.request("POST", "/api/pull", request)[1]


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "100.100.100.200"],
)
def test_metadata_of_clouds_is_never_a_registry(address: str) -> None:
    """Also when a client names it; the configuration may trust it."""
    with pytest.raises(ForbiddenAddressError, match="cloud metadata"):
        AddressGuard([(address, 80)]).resolve(address, 80)
    assert AddressGuard([], [(address, None)]).resolve(address, 80)


# --- registries that never answer ---


def test_pulls_that_hang_hold_few_threads(registry: OddRegistry, start_server: Callable[..., Server]) -> None:
    """A hundred pulls from a registry that is silent; another registry's pull goes on, and all leave in the end."""
    release = threading.Event()
    nothing = replying(404)
    registry.before = lambda asked: release.wait(120) and nothing(asked)
    server = start_server()
    name = f"127.0.0.1:{registry.port}/ns/never"

    def pull(number: int) -> None:
        server.request("POST", "/api/pull", {"model": f"{name}:{number}", "insecure": True, "stream": False})

    clients = [threading.Thread(target=pull, args=(number,), daemon=True) for number in range(100)]
    try:
        for client in clients:
            client.start()
        wait_until(lambda: sum("/v2/ns/never" in asked.path for asked in registry.asked) >= 8)
        server.get("/api/version")
        assert len(os.listdir(f"/proc/{server.process.pid}/task")) < 60
        other = OddRegistry()
        try:
            other.before = replying(404)
            request = {"model": f"localhost:{other.port}/ns/x", "insecure": True, "stream": False}
            assert b"file does not exist" in server.request("POST", "/api/pull", request)[1]
        finally:
            other.close()
    finally:
        release.set()
        for client in clients:
            client.join(60)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30))
def test_slots_are_never_lost(plan: list[tuple[str, bool]]) -> None:
    """However transfers end or leave, no host has more than its slots and all of them are free at the end."""

    async def main() -> None:
        slots = HostSlots(per_host=2, in_all=3)
        running: dict[str, int] = dict.fromkeys("abc", 0)
        gates = [threading.Event() for _ in plan]
        lock = threading.Lock()

        def work(host: str, gate: threading.Event) -> None:
            with lock:
                running[host] += 1
                assert running[host] <= 2
                assert sum(running.values()) <= 3
            gate.wait(60)
            with lock:
                running[host] -= 1

        tasks = [
            asyncio.ensure_future(
                slots.run(host, lambda host=host, gate=gate: work(host, gate), cancel=gate.set)  # type: ignore[misc]
            )
            for (host, _), gate in zip(plan, gates, strict=True)
        ]
        await asyncio.sleep(0)
        for task, (_, leaves), gate in zip(tasks, plan, gates, strict=True):
            if leaves:
                task.cancel()
            gate.set()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError)
        for host in "abc":
            await slots.run(host, lambda: None, cancel=lambda: None)

    asyncio.run(main())


def test_who_leaves_gets_no_slot() -> None:
    """A slot that becomes free in the moment in which the next in line leaves goes to the one after it."""

    async def main() -> None:
        slots = HostSlots(per_host=1, in_all=1)
        await slots._acquire("a")
        second, third = (asyncio.ensure_future(slots._acquire("a")) for _ in range(2))
        while len(slots._waiting) < 2:
            await asyncio.sleep(0)
        second.cancel()
        slots._release("a")
        await asyncio.wait_for(third, 60)
        assert second.cancelled()
        slots._release("a")
        await asyncio.wait_for(slots._acquire("a"), 60)

    asyncio.run(main())


def test_slots_refuse_endless_queues() -> None:
    """More waiting transfers than a server has use for are refused with what to do."""

    async def main() -> None:
        slots = HostSlots(per_host=1, in_all=1)
        gate = threading.Event()
        tasks = [asyncio.ensure_future(slots.run("a", gate.wait, cancel=gate.set)) for _ in range(1025)]
        await asyncio.sleep(0)
        with pytest.raises(RegistryUnavailableError, match="too many transfers"):
            await slots.run("a", gate.wait, cancel=gate.set)
        gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_a_thread_that_cannot_be_started_takes_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is room for it again, there is a slot too."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        slots = HostSlots(per_host=1, in_all=1)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="new thread"):
                await slots.run("a", lambda: None, cancel=lambda: None)
        assert await asyncio.wait_for(slots.run("a", lambda: 1, cancel=lambda: None), 60) == 1

    asyncio.run(main())


def test_deadlines_share_a_thread() -> None:
    """Those that pass call their action, those that are met do not; hundreds cost one thread."""
    deadlines, called = Deadlines(), []
    before = set(threading.enumerate())
    passed = threading.Event()
    with deadlines.call_after(3600, lambda: called.append("late")):
        with deadlines.call_after(0.01, passed.set):
            assert passed.wait(60)
        entered = [deadlines.call_after(3600, lambda: called.append("late")) for _ in range(300)]
        for one in entered:
            one.__enter__()
        # Threads of others may end meanwhile.
        assert len(set(threading.enumerate()) - before) == 1
        for one in entered:
            one.__exit__(None, None, None)
    assert called == []


# --- uploads that are begun and left ---


@pytest.mark.slow
def test_begun_uploads_do_not_block_others(tmp_path: Path) -> None:
    """After any number of empty uploads another one begins; one with data, or being written, is kept."""
    uploads = UploadStore(tmp_path / "uploads", BlobStore(tmp_path / "blobs"))
    honest = uploads.start()
    with uploads.open(honest) as file:
        file.write(bytes(2 << 20))
    busy = uploads.start()
    others = [uploads.start({busy}) for _ in range(1100)]
    assert uploads.size_bytes(honest) == 2 << 20
    assert uploads.size_bytes(busy) == 0
    assert uploads.size_bytes(others[-1]) == 0
    assert len(list((tmp_path / "uploads").iterdir())) == 1024


def test_large_uploads_are_never_pushed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all have data, the next one is refused."""
    monkeypatch.setattr("corral.store.uploads._MAX_UPLOADS", 3)
    uploads = UploadStore(tmp_path / "uploads", BlobStore(tmp_path / "blobs"))
    kept = [uploads.start() for _ in range(3)]
    for upload_id in kept:
        with uploads.open(upload_id) as file:
            file.write(bytes(1 << 20))
    with pytest.raises(InvalidRequestError, match="too many uploads"):
        uploads.start()
    assert [uploads.size_bytes(upload_id) for upload_id in kept] == [1 << 20] * 3


def test_old_empty_uploads_go(tmp_path: Path) -> None:
    """After ten minutes without a byte; with bytes after a day."""
    uploads = UploadStore(tmp_path / "uploads", BlobStore(tmp_path / "blobs"))
    ids = [uploads.start() for _ in range(3)]
    with uploads.open(ids[1]) as file:
        file.write(b"x")
    for upload_id, age_s in zip(ids, itertools.repeat(3600.0), strict=False):
        moment = time.time() - age_s
        os.utime(tmp_path / "uploads" / upload_id, (moment, moment))
    uploads.start({ids[2]})
    left = {path.name for path in (tmp_path / "uploads").iterdir()}
    assert ids[0] not in left
    assert {ids[1], ids[2]} < left
