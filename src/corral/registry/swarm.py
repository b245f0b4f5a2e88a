"""Several peers as one source of a blob.

Theory of operation. The workers of a download ask this source for ranges as they would ask a registry; each range
goes to the peer that should bring it soonest. A peer that says that it is busy is asked again when it said, or when
another has the blob. One that fails is asked less and less, and then not at all for this blob; one that breaks the
protocol or refuses the cluster's key is not asked again at all. When nobody is left, the download goes to its next
source, the registry.

Only the hash of the whole blob says whether bytes are right. If it is wrong and one peer sent everything, that peer
is out. If several did, one of them becomes the only one that is asked (`narrowed`), and everything that others sent
is fetched from it: then the hash is right, or this peer is out too. So each round costs at most the size of the blob,
and loses a peer or succeeds.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from corral.digest import Digest
from corral.errors import (
    RegistryAuthError,
    RegistryError,
    RegistryProtocolError,
    RegistryStatusError,
    RegistryUnavailableError,
    TransferCancelledError,
)
from corral.registry.counts import PeerCounts
from corral.registry.download import AskAnotherError, BlobReply, BlobSource, NoSourceError
from corral.registry.peerlines import PeerLine, Span, kept_spans
from corral.registry.peers import PeerRates
from corral.registry.policy import TransferPolicy
from corral.registry.request import Peer

_log = logging.getLogger("corral.registry")
# How long to wait for a turn while nothing arrives, before the registry is asked.
BUSY_PATIENCE_S = 600.0
_LOOK_AGAIN_S = 1.0
_LEAST_PAUSE_S = 0.05
# Beyond it a further peer helps little, and takes a turn from somebody else.
_MAX_AT_A_TIME = 4
# A stream that is this much slower than another peer's is given up, once it was watched for a while.
_MUCH_SLOWER = 8
_WATCH_S = 3.0
# Shorter streams say little about a rate.
_TELLING_BYTES = 1 << 20


class PeerBlobs:
    """The peers that have a blob, as one `BlobSource`. Threads share it; use it for one download.

    `holders` is asked again and again: peers come and go. `distrusted` has the names of peers that lied or refused;
    all blobs of a pull share it.
    """

    def __init__(
        self,
        holders: Callable[[], Sequence[Peer]],
        connect: Callable[[Peer], BlobSource],
        rates: PeerRates,
        policy: TransferPolicy,
        *,
        distrusted: set[str] | None = None,
        counts: PeerCounts | None = None,
        clock: Callable[[], float] = time.monotonic,
        busy_patience_s: float = BUSY_PATIENCE_S,
    ) -> None:
        self._holders = holders
        self._connect = connect
        self._rates = rates
        self._policy = policy
        self._distrusted = set[str]() if distrusted is None else distrusted
        self._counts = counts or PeerCounts()
        self._clock = clock
        self._busy_patience_s = busy_patience_s
        self._lines: dict[str, PeerLine[BlobSource]] = {}
        self._asked_by: dict[int, PeerLine[BlobSource]] = {}
        self._changed = threading.Condition()
        self._interrupts = 0
        self._is_cancelled = False
        self._sole = ""
        self._last_arrival_s = clock()

    # --- what a download needs of a source ---

    def open_blob(
        self, digest: Digest, start: int, stop: int, size_bytes: int, *, direct_url: str | None = None
    ) -> tuple[PeerReply, str | None]:
        """The bytes of a range from one of the peers. Waits for a turn.

        Raises:
            NoSourceError: none is left, or all were busy for a long time.
            RegistryUnavailableError: interrupted.
            TransferCancelledError
        """
        since_s = self._clock()
        while True:
            line = self._take(since_s)
            try:
                reply, _ = line.source.open_blob(digest, start, stop, size_bytes)
                if reply.start != start:
                    reply.close()
                    raise RegistryProtocolError(f"the peer {line.peer.name} does not serve ranges")
            except TransferCancelledError:
                self._leave(line)
                raise
            except RegistryError as error:
                self._leave(line)
                if self._is_cancelled:
                    raise TransferCancelledError from error
                self._note_failure(line, error)
                continue
            except BaseException:
                self._leave(line)
                raise
            return PeerReply(self, line, reply), None

    def interrupt(self, thread_id: int | None = None) -> None:
        with self._changed:
            if thread_id is None:
                self._interrupts += 1
                lines = list(self._lines.values())
                self._changed.notify_all()
            else:
                lines = [self._asked_by[thread_id]] if thread_id in self._asked_by else []
        for line in lines:
            line.source.interrupt(thread_id)

    def cancel(self) -> None:
        with self._changed:
            self._is_cancelled = True
            lines = list(self._lines.values())
            self._changed.notify_all()
        for line in lines:
            line.source.cancel()

    def close(self) -> None:
        with self._changed:
            lines = list(self._lines.values())
        for line in lines:
            line.source.close()

    def narrowed(self, size_bytes: int) -> list[Span] | None:
        """The blob is wrong: decide whom to ask now. Returns the ranges that may be kept; None: no peer is left."""
        with self._changed:
            senders = [line for line in self._lines.values() if line.spans]
            if len(senders) == 1 and senders[0].has_all(size_bytes):
                self._counts.add_failure("invalid")
                self._distrust(senders[0], "it sent wrong bytes")
                senders, self._sole = [], ""
            self._look_around()
            left = [line for line in self._lines.values() if self._is_usable(line)]
            if not left:
                return None
            best = max(left, key=lambda line: line.sent_bytes)
            kept = kept_spans(best.spans) if senders else []
            for line in self._lines.values():
                if line is not best or not senders:
                    line.spans.clear()
            if senders:
                self._sole = best.peer.name
                _log.warning("wrong bytes from one of several peers: all of it from %s now", self._sole)
            return kept

    # --- replies ---

    def now_s(self) -> float:
        return self._clock()

    def arrived(self, line: PeerLine[BlobSource], start: int, count: int) -> None:
        """Bytes of a reply have come."""
        with self._changed:
            line.note(start, count, self._policy.progress_bytes)
            self._last_arrival_s = self._clock()

    def check_rate(self, line: PeerLine[BlobSource], rate: float) -> None:
        """A stream was watched for a while.

        Raises:
            AskAnotherError: others are much faster.
        """
        with self._changed:
            line.stream_rate = rate
            others = [other for other in self._lines.values() if other is not line and self._is_ready(other)]
            best = max((self._known_rate(other) for other in others), default=0.0)
            if self._sole or rate * _MUCH_SLOWER >= best:
                return
            line.is_slow = True
            self._counts.add_failure("slow")
            line.problem = f"much slower than others ({rate / 1e6:.2f} MB/s)"
        raise AskAnotherError(f"the peer {line.peer.name} is {line.problem}")

    def ended(
        self, line: PeerLine[BlobSource], count: int, seconds: float, error: RegistryError | None
    ) -> None:
        """A reply is over, and the calling thread does not need the peer any more."""
        self._counts.add_range(count, seconds)
        if count >= _TELLING_BYTES and seconds > 0:
            line.stream_rate = count / seconds
            self._rates.note(line.peer.name, count, seconds)
        self._leave(line)
        if error is not None and not self._is_cancelled:
            self._note_failure(line, error)

    # --- peers ---

    def _take(self, since_s: float) -> PeerLine[BlobSource]:
        """The peer to ask now; the caller, who looks for one since then, has to leave it again."""
        with self._changed:
            before, waits_since_s = self._interrupts, None
            while True:
                if self._is_cancelled:
                    raise TransferCancelledError
                if self._interrupts != before:
                    raise RegistryUnavailableError("interrupted")
                self._look_around()
                usable = [line for line in self._lines.values() if self._is_usable(line)]
                if not usable:
                    raise NoSourceError(self._why_none())
                now_s = self._clock()
                if now_s - max(since_s, self._last_arrival_s) > self._busy_patience_s:
                    raise NoSourceError("all peers that have the model are busy")
                if (line := self._best(usable)) is not None:
                    if waits_since_s is not None:
                        self._counts.add_wait(now_s - waits_since_s)
                    line.active += 1
                    self._asked_by[threading.get_ident()] = line
                    return line
                waits_since_s = now_s if waits_since_s is None else waits_since_s
                pause_s = min(line.free_at_s for line in usable) - now_s
                self._changed.wait(min(max(pause_s, 0.01), _LOOK_AGAIN_S))

    def _leave(self, line: PeerLine[BlobSource]) -> None:
        with self._changed:
            line.active -= 1
            self._asked_by.pop(threading.get_ident(), None)
            self._changed.notify_all()

    def _look_around(self) -> None:
        """Note peers that have got the blob meanwhile."""
        for peer in self._holders():
            if peer.name not in self._lines and peer.name not in self._distrusted:
                self._lines[peer.name] = PeerLine(peer, self._connect(peer))

    def _is_usable(self, line: PeerLine[BlobSource]) -> bool:
        return not line.is_dropped and line.peer.name not in self._distrusted

    def _is_ready(self, line: PeerLine[BlobSource]) -> bool:
        return self._is_usable(line) and not line.is_slow and line.free_at_s <= self._clock()

    def _best(self, usable: list[PeerLine[BlobSource]]) -> PeerLine[BlobSource] | None:
        """Of those that are not busy, the one that should bring a further range soonest; slow ones only alone."""
        if self._sole:
            sole = next((line for line in usable if line.peer.name == self._sole), usable[0])
            self._sole = sole.peer.name  # another one, if that has failed
            usable = [sole]
        quick = [line for line in usable if not line.is_slow] or usable
        free = [line for line in quick if line.free_at_s <= self._clock()]
        active = [line for line in free if line.active]
        if len(active) >= _MAX_AT_A_TIME:
            free = active
        return min(free, key=self._cost, default=None)

    def _known_rate(self, line: PeerLine[BlobSource]) -> float:
        return line.stream_rate or self._rates.rate(line.peer.name)

    def _cost(self, line: PeerLine[BlobSource]) -> float:
        return (line.active + 1) / self._rates.rate(line.peer.name)

    def _note_failure(self, line: PeerLine[BlobSource], error: RegistryError) -> None:
        """Decide when a peer is asked again, if it is."""
        name = line.peer.name
        with self._changed:
            now_s = self._clock()
            if isinstance(error, AskAnotherError):
                return
            self._counts.add_failure(_reason(error))
            if isinstance(error, RegistryStatusError) and error.status in (429, 503):
                wait_s = _LOOK_AGAIN_S if error.retry_after_s is None else error.retry_after_s
                if wait_s > self._policy.max_retry_after_s:
                    line.drop(str(error))
                line.wait_until(now_s + max(wait_s, _LEAST_PAUSE_S))
            elif isinstance(error, RegistryAuthError | RegistryProtocolError):
                self._distrust(line, str(error))
            elif isinstance(error, RegistryStatusError) and error.is_final:
                line.drop(str(error))
            else:
                line.fail(now_s, self._policy.retry_delay_s)
            line.problem = str(error)
            self._changed.notify_all()
        _log.info("peer=%s %s", name, error)

    def _distrust(self, line: PeerLine[BlobSource], why: str) -> None:
        line.problem = why
        self._distrusted.add(line.peer.name)
        _log.warning("peer=%s is not asked any more: %s", line.peer.name, why)

    def _why_none(self) -> str:
        reasons = [f"{line.peer.name}: {line.problem}" for line in self._lines.values() if line.problem]
        return f"no peer can send it ({'; '.join(reasons)[:500]})" if reasons else "no peer has it"


def _reason(error: RegistryError) -> str:
    """One of `counts.PEER_FAILURES`."""
    status = error.status if isinstance(error, RegistryStatusError) else 0
    if isinstance(error, RegistryAuthError) or status in (401, 403):
        return "refused"
    if isinstance(error, RegistryProtocolError):
        return "invalid"
    if status in (429, 503):
        return "busy"
    return "missing" if isinstance(error, RegistryStatusError) and error.is_final else "lost"


class PeerReply:
    """A range from one peer. What goes wrong is the peer's, and the rest of the range goes to another."""

    def __init__(self, owner: PeerBlobs, line: PeerLine[BlobSource], reply: BlobReply) -> None:
        self._owner = owner
        self._line = line
        self._reply = reply
        self._pos = reply.start
        self._since_s = owner.now_s()
        self._is_ended = False
        self.start = reply.start
        self.length = reply.length

    def read_into(self, view: memoryview) -> int:
        """Raises AskAnotherError, TransferCancelledError."""
        with self._blaming():
            count = self._reply.read_into(view)
            if not count:
                raise RegistryUnavailableError("unexpected EOF")
            self._owner.arrived(self._line, self._pos, count)
            self._pos += count
            seconds = self._owner.now_s() - self._since_s
            if seconds >= _WATCH_S:
                self._owner.check_rate(self._line, (self._pos - self.start) / seconds)
        return count

    def finish(self) -> None:
        """Raises AskAnotherError: more bytes than were announced."""
        with self._blaming():
            self._reply.finish()
        self._end(None)

    def close(self) -> None:
        self._end(None)
        with contextlib.suppress(OSError):
            self._reply.close()

    @contextlib.contextmanager
    def _blaming(self) -> Iterator[None]:
        try:
            yield
        except TransferCancelledError:
            raise
        except RegistryError as error:
            self._end(error)
            raise AskAnotherError(f"peer {self._line.peer.name}: {error}") from error

    def _end(self, error: RegistryError | None) -> None:
        if not self._is_ended:
            self._is_ended = True
            count, seconds = self._pos - self.start, self._owner.now_s() - self._since_s
            self._owner.ended(self._line, count, seconds, error)
