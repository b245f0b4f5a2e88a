"""One blob from several peers, some of which misbehave: what arrives is right, and who cannot help is left."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from corral.digest import Digest
from corral.errors import DiskFullError, RegistryStatusError, RegistryUnavailableError, TransferCancelledError
from corral.names import ModelName
from corral.registry.counts import PEER_FAILURES, PeerCounts
from corral.registry.download import (
    BlobDownload,
    BlobReply,
    BlobSource,
    NoSourceError,
    PulledDigestMismatchError,
)
from corral.registry.limits import RateLimit
from corral.registry.partial import PartialFile
from corral.registry.peers import PeerRates, connect_peer
from corral.registry.policy import TransferPolicy
from corral.registry.request import Peer
from corral.registry.swarm import PeerBlobs
from tests.doubles.odd_registry import Asked, OddRegistry
from tests.registry import test_download
from tests.registry.conftest import noise
from tests.registry.test_download import client_of
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.slow

SIZE = 40_000_000  # three parts
DATA = noise(SIZE, seed=11)
WRONG = bytes(SIZE)
DIGEST = Digest.of(DATA)
NAME = ModelName.parse("m")
POLICY = TransferPolicy(
    connect_timeout_s=5,
    head_timeout_s=60,
    stall_timeout_s=60,
    retry_delay_s=0.01,
    max_attempts=4,
    first_streams=4,
    max_streams=4,
)


class Cluster:
    """Some peers, and what everybody knows of them."""

    own_name = "me"
    tls = None

    def __init__(self, count: int = 3) -> None:
        self.servers = [OddRegistry() for _ in range(count)]
        self.who_has = list(range(count))
        for server in self.servers:
            server.put(DATA)

    def key(self, url: str) -> str:
        return "secret" if url else ""

    def digest(self, name: ModelName) -> str:
        return "0" * 64 if name == NAME else ""

    def holders(self, name: ModelName, digest_hex: str) -> Sequence[Peer]:
        return [Peer(f"n{i}", self.servers[i].base) for i in self.who_has]

    def source(
        self,
        distrusted: set[str] | None = None,
        rates: PeerRates | None = None,
        counts: PeerCounts | None = None,
    ) -> PeerBlobs:
        return PeerBlobs(
            lambda: self.holders(NAME, ""),
            lambda peer: connect_peer(peer, NAME, self, POLICY),
            rates or PeerRates(),
            POLICY,
            distrusted=distrusted,
            counts=counts,
        )

    def sent(self) -> list[int]:
        return [server.sent_bytes() for server in self.servers]

    def close(self) -> None:
        for server in self.servers:
            server.close()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    found = Cluster()
    yield found
    found.close()


def download_of(folder: Path, *sources: BlobSource, limit: RateLimit | None = None) -> BlobDownload:
    path = folder / DIGEST.file_name()
    return BlobDownload(DIGEST, SIZE, path, sources, policy=POLICY, limit=limit or RateLimit())


def blob_of(folder: Path) -> bytes:
    return test_download.blob_of(folder, DATA)


def answer_with(status: int, headers: dict[str, str] | None = None) -> Callable[[Asked], bool]:
    def before(asked: Asked) -> bool:
        asked.answer(status, b"{}", headers)
        return True

    return before


def serve(data: bytes) -> Callable[[Asked], bool]:
    def before(asked: Asked) -> bool:
        asked.part(data)
        return True

    return before


def test_ranges_from_several(cluster: Cluster, tmp_path: Path) -> None:
    """Each byte is sent once, by three peers at a time, to a server that shows its key and its name."""
    arrived = threading.Barrier(3)

    def wait_for_others(asked: Asked) -> bool:
        arrived.wait(PATIENCE_S)  # all three parts are asked for at the same time
        return False

    for server in cluster.servers:
        server.before = wait_for_others
    download_of(tmp_path, cluster.source()).run()
    assert blob_of(tmp_path) == DATA
    assert sum(cluster.sent()) == SIZE
    assert all(cluster.sent())
    for asked in (asked for server in cluster.servers for asked in server.asked):
        assert asked.path == f"/v2/library/m/blobs/{DIGEST}"
        assert asked.headers["authorization"] == "Bearer secret"
        assert asked.headers["x-corral-peer"] == "me"


def truncated(asked: Asked) -> bool:
    """Its file lost its end."""
    asked.answer(206, b"x" * 10, {"Content-Range": f"bytes {asked.start}-{asked.start + 9}/{SIZE - 5}"})
    return True


def too_short(asked: Asked) -> bool:
    """It ends in the middle of every range."""
    asked.part(DATA, size=1000)
    return True


def other_range(asked: Asked) -> bool:
    asked.answer(206, b"x" * 10, {"Content-Range": f"bytes {asked.start + 1}-{asked.start + 10}/{SIZE}"})
    return True


def drop(asked: Asked) -> bool:
    asked.drop()
    return True


def whole(asked: Asked) -> bool:
    """It does not know ranges, and the bytes are not right either."""
    asked.answer(200, b"", {"Content-Length": str(SIZE)})
    asked.drop()
    return True


@pytest.mark.parametrize(
    ("before", "most_asked"),
    [
        (answer_with(401), 4),
        (answer_with(403), 4),
        (answer_with(404), 4),
        (answer_with(400), 4),
        (answer_with(500), 6),
        (answer_with(204), 4),
        (answer_with(429, {"Retry-After": "86400"}), 4),
        (answer_with(307, {"Location": "http://127.0.0.1:9/x"}), 6),
        (answer_with(206, {"Content-Encoding": "gzip", "Content-Range": "bytes 0-1/2"}), 4),
        (truncated, 4),
        (too_short, 6),
        (other_range, 4),
        (drop, 6),
        (whole, 4),
    ],
)
def test_a_peer_that_cannot_help(
    cluster: Cluster, tmp_path: Path, before: Callable[[Asked], bool], most_asked: int
) -> None:
    """The others send its ranges; it is soon not asked any more."""
    cluster.servers[1].before = before
    download_of(tmp_path, cluster.source()).run()
    assert blob_of(tmp_path) == DATA
    assert len(cluster.servers[1].asked) <= most_asked


def test_a_peer_dies(cluster: Cluster, tmp_path: Path) -> None:
    """In the middle of a range, and for good: what it has sent counts."""
    dying = cluster.servers[0]

    def die(asked: Asked) -> bool:
        asked.part(DATA, size=2_000_000)
        dying.before = drop
        return True

    dying.before = die
    download_of(tmp_path, cluster.source()).run()
    assert blob_of(tmp_path) == DATA
    assert sum(cluster.sent()) <= SIZE + 2_000_000


def test_nobody_is_left(cluster: Cluster, tmp_path: Path) -> None:
    """Then the registry brings what is missing, and only that."""
    outside = OddRegistry()
    outside.put(DATA)

    def before(asked: Asked) -> bool:
        if asked.start < 16_777_216:
            return False
        asked.answer(404)
        return True

    for server in cluster.servers:
        server.before = before
    try:
        download_of(tmp_path, cluster.source(), client_of(outside)).run()
        assert blob_of(tmp_path) == DATA
        assert outside.sent_bytes() <= SIZE
    finally:
        outside.close()


def test_nobody_has_it(cluster: Cluster, tmp_path: Path) -> None:
    """Without a registry the error names every peer and what it answered."""
    for server, status in zip(cluster.servers, (401, 404, 500), strict=True):
        server.before = answer_with(status)
    with pytest.raises(NoSourceError, match=r"n0: .*refuses the key.*; n1: file does not exist; n2: 500"):
        download_of(tmp_path, cluster.source()).run()
    assert not (tmp_path / DIGEST.file_name()).exists()


@pytest.mark.parametrize("liars", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2]])
def test_liars(cluster: Cluster, tmp_path: Path, liars: list[int]) -> None:
    """Right in length, wrong in content: whoever is right prevails, at the cost of a round for each liar."""
    outside = OddRegistry()
    outside.put(DATA)
    for i in liars:
        cluster.servers[i].before = serve(WRONG)
    try:
        download_of(tmp_path, cluster.source(), client_of(outside)).run()
        assert blob_of(tmp_path) == DATA
        assert sum(cluster.sent()) + outside.sent_bytes() <= SIZE * (len(liars) + 2)
        assert (outside.sent_bytes() > 0) == (len(liars) == 3)
    finally:
        outside.close()


def test_only_liars(cluster: Cluster, tmp_path: Path) -> None:
    """Nothing is left of what they sent."""
    for server in cluster.servers:
        server.before = serve(WRONG)
    with pytest.raises(PulledDigestMismatchError):
        download_of(tmp_path, cluster.source()).run()
    assert list(tmp_path.iterdir()) == []


def test_a_liar_and_then_the_registry(cluster: Cluster, tmp_path: Path) -> None:
    """Wrong bytes of peers that are gone do not spoil what the registry sends."""
    outside = OddRegistry()
    outside.put(DATA)

    def lie_once(asked: Asked) -> bool:
        if asked.start:
            asked.answer(404)
        else:
            asked.part(WRONG)
        return True

    for server in cluster.servers:
        server.before = lie_once
    try:
        download_of(tmp_path, cluster.source(), client_of(outside)).run()
        assert blob_of(tmp_path) == DATA
    finally:
        outside.close()


def test_a_liar_is_remembered(cluster: Cluster, tmp_path: Path) -> None:
    """The next blob of the same pull does not come from it."""
    distrusted: set[str] = set()
    cluster.who_has = [0]
    cluster.servers[0].before = serve(WRONG)

    def tell_the_truth(asked: Asked) -> bool:
        return False

    with pytest.raises(PulledDigestMismatchError):
        download_of(tmp_path, cluster.source(distrusted)).run()
    assert distrusted == {"n0"}
    cluster.who_has, before = [0, 1], len(cluster.servers[0].asked)
    cluster.servers[0].before = tell_the_truth
    download_of(tmp_path, cluster.source(distrusted)).run()
    assert blob_of(tmp_path) == DATA
    assert len(cluster.servers[0].asked) == before


def test_waiting_for_a_turn(cluster: Cluster, tmp_path: Path) -> None:
    """The only peer is busy a few times: no other is asked, and nothing fails."""
    cluster.who_has = [0]
    busy = [429, 503, 429]
    lock = threading.Lock()

    def before(asked: Asked) -> bool:
        with lock:
            status = busy.pop() if busy else 0
        if status:
            asked.answer(status, b"{}", {"Retry-After": "0"})
        return bool(status)

    cluster.servers[0].before = before
    outside = OddRegistry()
    try:
        counts = PeerCounts()
        download_of(tmp_path, cluster.source(counts=counts), client_of(outside)).run()
        assert blob_of(tmp_path) == DATA
        assert [sent >= SIZE for sent in cluster.sent()] == [True, False, False]
        assert not outside.asked
        assert counts.failures == {"busy": 3}
        assert counts.waits >= 1
        assert counts.waited_s > 0
        assert counts.bytes == SIZE
        assert counts.seconds > 0
    finally:
        outside.close()


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "refused"), (403, "refused"), (404, "missing"), (500, "lost"), (0, "lost"), (200, "invalid")],
)
def test_failures_are_counted_by_reason(cluster: Cluster, tmp_path: Path, status: int, reason: str) -> None:
    """One peer fails in one way, and another sends all."""
    first = threading.Event()

    def before(asked: Asked) -> bool:
        if first.is_set():
            return False
        first.set()
        return answer_with(status)(asked) if status else drop(asked)

    cluster.servers[0].before = before
    cluster.who_has = [0, 1]
    counts = PeerCounts()
    download_of(tmp_path, cluster.source(counts=counts)).run()
    assert blob_of(tmp_path) == DATA
    assert counts.failures == {reason: 1}
    assert reason in PEER_FAILURES
    assert counts.bytes >= SIZE


def test_wrong_bytes_are_a_failure_too(cluster: Cluster, tmp_path: Path) -> None:
    cluster.who_has = [0]
    cluster.servers[0].before = serve(bytes(SIZE))
    counts = PeerCounts()
    with pytest.raises(PulledDigestMismatchError):
        download_of(tmp_path, cluster.source(counts=counts)).run()
    assert counts.failures == {"invalid": 1}


def test_somebody_else_gets_it_meanwhile(cluster: Cluster, tmp_path: Path) -> None:
    """The first peer has no turn to give; another has the blob a moment later."""
    cluster.who_has = [0]

    def before(asked: Asked) -> bool:
        cluster.who_has = [0, 2]
        asked.answer(429, b"{}", {"Retry-After": "60"})
        return True

    cluster.servers[0].before = before
    download_of(tmp_path, cluster.source()).run()
    assert blob_of(tmp_path) == DATA
    assert cluster.sent()[2] == SIZE


def test_cancelled_in_the_line(cluster: Cluster, tmp_path: Path) -> None:
    """Whoever waits for a turn can leave at any time."""
    for server in cluster.servers:
        server.before = answer_with(429, {"Retry-After": "60"})
    download = download_of(tmp_path, cluster.source())
    failed: list[BaseException] = []

    def run() -> None:
        try:
            download.run()
        except TransferCancelledError as exc:
            failed.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: all(server.asked for server in cluster.servers))
    download.cancel()
    thread.join(PATIENCE_S)
    assert failed


def test_cut_off_and_resumed(cluster: Cluster, tmp_path: Path) -> None:
    """What an earlier attempt got from peers is not fetched again."""
    gate = threading.Event()

    def before(asked: Asked) -> bool:
        if asked.start >= 32_000_000:
            gate.wait(PATIENCE_S)
        return False

    for server in cluster.servers:
        server.before = before
    download = download_of(tmp_path, cluster.source())

    def run() -> None:
        with pytest.raises(TransferCancelledError):
            download.run()

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: download.completed_bytes >= 2 * 16_777_216)
    download.cancel()
    gate.set()
    thread.join(PATIENCE_S)
    had, sent = download.completed_bytes, [len(server.asked) for server in cluster.servers]
    again = download_of(tmp_path, cluster.source())
    again.run()
    assert blob_of(tmp_path) == DATA
    fetched = sum(
        asked.sent_bytes
        for server, count in zip(cluster.servers, sent, strict=True)
        for asked in server.asked[count:]
    )
    assert fetched == SIZE - had
    assert again.resumed_bytes == had


def test_wrong_bytes_of_an_earlier_attempt(cluster: Cluster, tmp_path: Path) -> None:
    """Nobody knows who sent them: all that one peer has not sent itself comes again from it."""
    path = tmp_path / f"{DIGEST.file_name()}-partial"
    path.write_bytes(WRONG)
    size = 20_000_000
    path.with_name(f"{path.name}-0").write_text(f'{{"N":0,"Offset":0,"Size":{size},"Completed":{size}}}\n')
    download_of(tmp_path, cluster.source()).run()
    assert blob_of(tmp_path) == DATA


def test_full_disk(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the download, not the peers; with room again the rest is fetched."""
    write, room = PartialFile.write, [30_000_000]

    def limited(self: PartialFile, data: memoryview, pos: int) -> None:
        if room[0] < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= len(data)
        write(self, data, pos)

    monkeypatch.setattr(PartialFile, "write", limited)
    with pytest.raises(DiskFullError):
        download_of(tmp_path, cluster.source()).run()
    assert not (tmp_path / DIGEST.file_name()).exists()
    room[0] = SIZE
    again = download_of(tmp_path, cluster.source())
    again.run()
    assert again.resumed_bytes > 0
    assert blob_of(tmp_path) == DATA


class Clock:
    """Time that passes when a peer sends."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class FakePeer:
    """Sends pieces of a kilobyte, each of which takes some seconds of the clock."""

    def __init__(self, clock: Clock, seconds: float, asked: list[str], name: str) -> None:
        self._clock, self._seconds, self._asked, self._name = clock, seconds, asked, name
        self.start, self.length = 0, 0

    def open_blob(
        self, digest: Digest, start: int, stop: int, size_bytes: int, *, direct_url: str | None = None
    ) -> tuple[BlobReply, str | None]:
        self._asked.append(self._name)
        reply = FakePeer(self._clock, self._seconds, self._asked, self._name)
        reply.start, reply.length = start, stop - start
        return reply, None

    def read_into(self, view: memoryview) -> int:
        self._clock.now_s += self._seconds
        return min(len(view), 1024)

    def interrupt(self, thread_id: int | None = None) -> None: ...
    def cancel(self) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


def fake_swarm(seconds: dict[str, float], rates: PeerRates) -> tuple[PeerBlobs, Clock, list[str]]:
    clock, asked = Clock(), list[str]()
    swarm = PeerBlobs(
        lambda: [Peer(name, f"http://{name}") for name in seconds],
        lambda peer: FakePeer(clock, seconds[peer.name], asked, peer.name),
        rates,
        POLICY,
        clock=clock,
    )
    return swarm, clock, asked


def test_a_slow_peer_is_left() -> None:
    """Eight times slower than another is known to be: its range goes there. Alone, it is good enough."""
    rates = PeerRates()
    rates.note("quick", 1024 * 100, 1.0)
    rates.note("slow", 1024 * 200, 1.0)  # it was quicker once
    swarm, _, asked = fake_swarm({"slow": 1.0, "quick": 0.01}, rates)
    reply, _ = swarm.open_blob(DIGEST, 0, SIZE, SIZE)
    buffer = memoryview(bytearray(4096))
    with pytest.raises(RegistryUnavailableError, match="slow is much slower than others"):
        for _ in range(10):
            reply.read_into(buffer)
    reply.close()
    for _ in range(3):
        swarm.open_blob(DIGEST, 0, SIZE, SIZE)[0].close()
    assert asked == ["slow", "quick", "quick", "quick"]
    alone, _, asked = fake_swarm({"slow": 1.0}, rates)
    reply, _ = alone.open_blob(DIGEST, 0, SIZE, SIZE)
    for _ in range(10):
        reply.read_into(buffer)
    reply.close()


def test_the_fastest_are_asked_most() -> None:
    """Ranges are shared by measured rates, among at most four peers."""
    rates = PeerRates()
    for name, rate in (("a", 400), ("b", 100), ("c", 100), ("d", 100), ("e", 100), ("f", 100)):
        rates.note(name, rate, 1.0)
    swarm, _, asked = fake_swarm(dict.fromkeys("abcdef", 0.1), rates)
    for _ in range(10):
        swarm.open_blob(DIGEST, 0, SIZE, SIZE)
    assert asked.count("a") >= 5
    assert len(set(asked)) == 4
    assert [peer.name for peer in rates.fastest_first([Peer("b", ""), Peer("x", ""), Peer("a", "")])] == [
        "a", "x", "b",
    ]  # fmt: skip


def test_busy_for_too_long() -> None:
    """A peer that never gives a turn does not keep a download from the registry."""
    answered = threading.Event()

    class Hasty(Clock):
        """Time flies."""

        def __call__(self) -> float:
            self.now_s += 100.0
            return self.now_s

    clock = Hasty()

    class Busy(FakePeer):
        def open_blob(
            self, digest: Digest, start: int, stop: int, size_bytes: int, *, direct_url: str | None = None
        ) -> tuple[BlobReply, str | None]:
            answered.set()
            raise RegistryStatusError(429, "", retry_after_s=0)

    swarm = PeerBlobs(
        lambda: [Peer("busy", "http://busy")],
        lambda peer: Busy(clock, 1.0, [], "busy"),
        PeerRates(),
        POLICY,
        clock=clock,
        busy_patience_s=600,
    )
    with pytest.raises(NoSourceError, match="busy"):
        swarm.open_blob(DIGEST, 0, 10, 10)
    assert answered.is_set()
