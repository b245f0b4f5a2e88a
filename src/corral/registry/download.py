"""One blob into the store: parts in parallel, resumed from what is on disk, hashed on the way.

Theory of operation. `run` blocks in a thread of its own and owns everything: it locks the partial file (another
process may want the same blob), loads the parts, starts the hasher and as many workers as the tuner says, and
checks on them four times a second. A worker takes the first part that nobody has, fetches it (repeatedly if need
be), and takes the next; so the beginning of the file fills first and the hasher follows closely. The state of a
part is on disk a second or 16 MiB after its bytes are. A worker that fails for good reports to `run`, which ends
the others and raises. When every part is complete and the hash is right, the data is made durable and renamed: a
file with a blob's name never has a wrong byte.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from corral.digest import Digest
from corral.errors import (
    RegistryAuthError,
    RegistryError,
    RegistryStatusError,
    RegistryUnavailableError,
    TransferCancelledError,
)
from corral.registry.address_filter import ForbiddenAddressError
from corral.registry.concurrency import StreamTuner
from corral.registry.counts import TransferCounts
from corral.registry.limits import RateLimit
from corral.registry.part_state import Part, PartFiles, contiguous_bytes
from corral.registry.partial import PartialFile
from corral.registry.policy import TransferPolicy
from corral.registry.prefix import PrefixHasher

_log = logging.getLogger("corral.registry")
# The size of one read. Larger pieces leave the processor's cache before they are written.
_READ_BYTES = 256 << 10
_TICK_S = 0.25
# Of fetching a blob whose hash was wrong, from fewer and fewer of several sources.
_MAX_ROUNDS = 16


class NoSourceError(RegistryUnavailableError):
    """None of several sources can deliver the blob."""


class AskAnotherError(RegistryUnavailableError):
    """One of several sources failed in the middle of a range; the rest of it can be asked for at once."""


class PulledDigestMismatchError(RegistryError):
    """All bytes have arrived, and they are wrong."""

    def __init__(self, wanted: Digest, got_hex: str) -> None:
        super().__init__(
            f"digest mismatch, file must be downloaded again: want {wanted}, got sha256:{got_hex}",
            hint="pull again; if it happens again, the registry serves a broken file",
        )


class BlobReply(Protocol):
    """Bytes of a blob from `start` on, `length` of them if that is known."""

    @property
    def start(self) -> int: ...
    @property
    def length(self) -> int | None: ...
    def read_into(self, view: memoryview) -> int: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


class BlobSource(Protocol):
    """A source of bytes, such as `RegistryClient`. `interrupt` breaks the call that a thread is in."""

    def open_blob(
        self, digest: Digest, start: int, stop: int, size_bytes: int, *, direct_url: str | None = None
    ) -> tuple[BlobReply, str | None]: ...
    def interrupt(self, thread_id: int | None = None) -> None: ...
    def cancel(self) -> None: ...
    def close(self) -> None: ...


@runtime_checkable
class SeveralSources(Protocol):
    """A source that is several machines, one of which may have sent wrong bytes (`swarm.py`)."""

    def narrowed(self, size_bytes: int) -> list[tuple[int, int]] | None: ...


class _LeaveError(Exception):
    """This worker is no longer needed."""


class _Worker:
    """A thread and what the watchdog needs to know about it."""

    def __init__(self, run: Callable[[_Worker], None], number: int) -> None:
        self.part: Part | None = None
        self.is_reading = False
        self.window_s = 0.0
        self.window_bytes = 0
        self.read_bytes = 0
        # Reused for every read: new memory for each piece costs more than copying the piece.
        self.buffer = memoryview(bytearray(_READ_BYTES))
        self.thread = threading.Thread(target=run, args=(self,), name=f"pull-{number}", daemon=True)

    def begin(self, now_s: float) -> None:
        self.window_s, self.window_bytes, self.is_reading = now_s, self.read_bytes, True


class BlobDownload:
    """Fetches one blob. Call `run` once; `completed_bytes` may be read from any thread."""

    def __init__(
        self,
        digest: Digest,
        size_bytes: int,
        blob_path: Path,
        sources: Sequence[BlobSource],
        *,
        policy: TransferPolicy,
        limit: RateLimit,
        counts: TransferCounts | None = None,
    ) -> None:
        self.digest = digest
        self.size_bytes = size_bytes
        self.limit = limit
        self.is_begun = False
        self.resumed_bytes = 0  # left by an earlier attempt, once `run` knows it
        self._files = PartFiles(blob_path)
        self._sources = list(sources)
        self._policy = policy
        self._counts = counts or TransferCounts()
        self._claimed: set[int] = set()
        self._direct_url: str | None = None
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._file = PartialFile(self._files, self._closing)
        self._is_cancelled = False
        # Whether bytes are present that come from an earlier attempt, or from several sources which are not asked
        # any more.
        self._has_doubtful = False
        self._error: BaseException | None = None
        self._workers: set[_Worker] = set()
        self._whole_owner: _Worker | None = None
        self._tuner = StreamTuner(policy.first_streams, policy.max_streams)
        self._started_count = 0

    @property
    def completed_bytes(self) -> int:
        return self._file.completed_bytes

    def growing(self, first: int) -> tuple[Path, int]:
        """The file under construction, and how many bytes from `first` on are in it, not verified yet."""
        return self._files.path, contiguous_bytes(self._file.parts, first)

    def cancel(self) -> None:
        """End `run` soon; the bytes that were fetched are kept for the next attempt."""
        self._is_cancelled = True
        self._close()

    def run(self) -> None:
        """Fetch the blob, check it and put it into the store.

        Raises:
            TransferCancelledError
            PulledDigestMismatchError: the bytes are deleted.
            DiskFullError, StoreError: the bytes are kept, as with all errors that follow.
            RegistryError: no source had the blob, or all failed.
        """
        self.is_begun = True
        try:
            with self._file.locked():
                if self._files.blob_path.exists():
                    self._files.discard()  # another process was faster
                    return
                self._fetch_all()
        except OSError as exc:
            raise self._file.error(exc) from exc
        finally:
            self._close()
            for source in self._sources:
                source.close()

    def _close(self) -> None:
        self._closing.set()
        for source in list(self._sources):
            source.cancel()
        with self._changed:
            self._changed.notify_all()

    def _fetch_all(self) -> None:
        self._file.load(self.size_bytes)
        self.resumed_bytes = self.completed_bytes
        # What an earlier attempt left may be wrong although the sources are right now.
        self._has_doubtful = self.resumed_bytes > 0
        for _ in range(_MAX_ROUNDS):
            found_hex = self._fetch_once()
            if found_hex == self.digest.hex.lower():
                self._file.commit()
                return
            if not self._ask_others():
                break
        self._files.discard()
        raise PulledDigestMismatchError(self.digest, found_hex)

    def _fetch_once(self) -> str:
        """Fetch what is missing; return the hash of the whole, in hexadecimal digits."""
        with self._file.hashed(self._refetch) as hasher:
            try:
                self._look_after(hasher)
            finally:
                self._closing.set()
                for source in list(self._sources):
                    source.interrupt()
                for worker in list(self._workers):
                    worker.thread.join()
        return hasher.digest_hex

    def _ask_others(self) -> bool:
        """The bytes are wrong: whether others may have right ones. Forgets what they are to send again."""
        source, kept = self._sources[0], None
        if isinstance(source, SeveralSources):
            kept = source.narrowed(self.size_bytes)
            if kept is None and len(self._sources) > 1:
                self._next_source(source, PulledDigestMismatchError(self.digest, "wrong bytes"))
        if kept is None:
            if not self._has_doubtful:
                return False
            kept, self._has_doubtful = [], False
        self._closing.clear()
        if self._is_cancelled:
            raise TransferCancelledError
        self._file.forget_all_but(kept)
        return True

    def _refetch(self, part: Part) -> None:
        _log.warning(
            "blob=%s part=%d does not have the hash it had; fetching it again", self.digest, part.number
        )
        self._files.save(part)
        with self._changed:
            self._changed.notify_all()

    # --- the thread of `run` ---

    def _look_after(self, hasher: PrefixHasher) -> None:
        self._tuner.start(time.monotonic(), self.completed_bytes)
        while True:
            with self._changed:
                if self._error is not None:
                    raise self._error
                if self._is_cancelled:
                    raise TransferCancelledError
                if self._file.is_complete and not self._workers:
                    break
                self._start_workers()
                self._changed.wait(_TICK_S)
            if hasher.error is not None:
                raise hasher.error
            now_s = time.monotonic()
            self._watch(now_s)
            is_limited = bool(self.limit.bytes_per_s) or self._whole_owner is not None
            self._tuner.observe(now_s, self.completed_bytes, is_limited=is_limited)
        while not hasher.join(_TICK_S):
            if self._is_cancelled:
                raise TransferCancelledError
            if not self._file.is_complete:
                return self._look_after(hasher)  # the hash found a part of an earlier run to be wrong
        if hasher.error is not None:
            raise hasher.error
        return None

    def _start_workers(self) -> None:
        waiting = sum(not part.is_complete and part.number not in self._claimed for part in self._file.parts)
        wanted = 1 if self._whole_owner is not None else self._tuner.target
        for _ in range(min(wanted - len(self._workers), waiting)):
            worker = _Worker(self._work, self._started_count)
            self._started_count += 1
            self._workers.add(worker)
            worker.thread.start()

    def _watch(self, now_s: float) -> None:
        """Break calls that bring nothing. A part that a rate limit slows down is not stalled."""
        policy = self._policy
        for worker in list(self._workers):
            span_s = now_s - worker.window_s
            if not worker.is_reading or span_s < policy.stall_timeout_s:
                continue
            got = worker.read_bytes - worker.window_bytes
            least = 1 if self.limit.bytes_per_s else policy.min_bytes_per_s * span_s
            if got < least and worker.thread.ident is not None:
                _log.info("blob=%s a part stalled: %d bytes in %.0f s", self.digest, got, span_s)
                self._sources[0].interrupt(worker.thread.ident)
            worker.begin(now_s)

    # --- workers ---

    def _work(self, worker: _Worker) -> None:
        try:
            while (part := self._claim(worker)) is not None:
                try:
                    self._fetch(part, worker)
                finally:
                    self._release(part)
        except (_LeaveError, TransferCancelledError):
            pass
        except OSError as exc:
            self._fail(self._file.error(exc))
        except Exception as exc:
            self._fail(exc)
        finally:
            with self._changed:
                self._workers.discard(worker)
                if self._whole_owner is worker:
                    self._whole_owner = None
                self._changed.notify_all()

    def _claim(self, worker: _Worker) -> Part | None:
        with self._changed:
            if self._closing.is_set() or len(self._workers) > self._tuner.target:
                return None
            if self._whole_owner not in (None, worker):
                return None
            for part in self._file.parts:
                if not part.is_complete and part.number not in self._claimed:
                    self._claimed.add(part.number)
                    worker.part = part
                    return part
        return None

    def _release(self, part: Part) -> None:
        self._file.save(part)
        with self._changed:
            self._claimed.discard(part.number)

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if self._error is None:
                self._error = error
            self._changed.notify_all()

    def _fetch(self, part: Part, worker: _Worker) -> None:
        failures = 0
        while not part.is_complete:
            if self._closing.is_set():
                raise _LeaveError
            source, direct_url, before = self._sources[0], self._direct_url, self.completed_bytes
            own_before = part.completed
            try:
                self._attempt(part, worker, source, direct_url)
                continue
            except TransferCancelledError:
                raise
            except RegistryError as exc:
                error = exc
            finally:
                worker.is_reading = False
            if self._closing.is_set():
                raise _LeaveError
            gained = max(
                part.completed - own_before, self.completed_bytes - before if self._whole_owner else 0
            )
            failures = 1 if gained >= self._policy.progress_bytes else failures + 1
            self._recover(error, failures, source, direct_url)

    def _recover(
        self, error: RegistryError, failures: int, source: BlobSource, direct_url: str | None
    ) -> None:
        """Wait before the next attempt, or go to the next source, or raise."""
        if direct_url is not None and self._direct_url == direct_url:
            self._direct_url = None  # signed addresses expire: ask the registry for a new one
            status = error.status if isinstance(error, RegistryStatusError) else 0
            if 400 <= status < 500 and status != 429 and failures == 1:
                return
        if isinstance(error, AskAnotherError):
            return
        wait_s = self._policy.backoff_s(failures, random.random())
        is_final = isinstance(error, RegistryAuthError | ForbiddenAddressError | NoSourceError)
        if isinstance(error, RegistryStatusError):
            is_final = error.is_final
            if error.status in (429, 503):
                self._tuner.refuse()
                wait_s = max(wait_s, error.retry_after_s or 0)
                is_final = is_final or (error.retry_after_s or 0) > self._policy.max_retry_after_s
        if is_final or failures >= self._policy.max_attempts:
            if not is_final:
                hint = error.hint or "what was downloaded is kept: pull again to go on"
                error = RegistryUnavailableError(f"max retries exceeded: {error}", hint=hint)
            self._next_source(source, error)
            return
        self._counts.add_retry()
        _log.info("blob=%s attempt %d failed, next in %.1f s: %s", self.digest, failures, wait_s, error)
        self._closing.wait(wait_s)

    def _next_source(self, failed: BlobSource, error: RegistryError) -> None:
        """Raise `error` if there is no other source."""
        with self._changed:
            if self._sources[0] is not failed:
                return  # another worker has switched already
            if len(self._sources) == 1:
                raise error
            self._sources.pop(0)
            self._direct_url = None
            self._has_doubtful = self._has_doubtful or isinstance(failed, SeveralSources)
        _log.warning("blob=%s going to the next source: %s", self.digest, error)
        failed.cancel()  # workers that are still in a call to it switch too
        failed.close()

    def _attempt(self, part: Part, worker: _Worker, source: BlobSource, direct_url: str | None) -> None:
        start = part.offset + part.completed
        reply, direct = source.open_blob(
            self.digest, start, part.stop, self.size_bytes, direct_url=direct_url
        )
        worker.begin(time.monotonic())
        try:
            if direct is not None:
                self._direct_url = direct
            if reply.start != start or reply.length == self.size_bytes > part.stop - start:
                self._copy_whole(reply, worker)
            else:
                self._copy(reply, part, worker)
            reply.finish()
        except BaseException:
            reply.close()
            raise

    def _copy(self, reply: BlobReply, part: Part, worker: _Worker) -> None:
        stop = part.stop if reply.length is None else min(part.stop, reply.start + reply.length)
        last_s = time.monotonic()
        while (pos := part.offset + part.completed) < stop:
            if self._whole_owner not in (None, worker):
                raise _LeaveError
            data = self._read(reply, stop - pos, worker)
            self._file.write(data, pos)
            part.completed += len(data)
            last_s = self._file.note(part, last_s)

    def _copy_whole(self, reply: BlobReply, worker: _Worker) -> None:
        """The server does not support ranges: one worker reads the whole blob and takes what is missing."""
        with self._changed:
            if self._whole_owner not in (None, worker):
                raise _LeaveError
            self._whole_owner = worker
            self._changed.wait_for(lambda: len(self._workers) == 1 or self._closing.is_set())
        pos, last_s = 0, time.monotonic()
        for part in self._file.parts:
            while pos < part.stop:
                data = self._read(reply, part.stop - pos, worker)
                end, known = pos + len(data), part.offset + part.completed
                if end > known:
                    self._file.write(data[max(known - pos, 0) :], max(known, pos))
                    part.completed = end - part.offset
                    last_s = self._file.note(part, last_s)
                pos = end

    def _read(self, reply: BlobReply, most: int, worker: _Worker) -> memoryview:
        """The next bytes, valid until the worker reads again."""
        count = reply.read_into(worker.buffer[: min(most, self.limit.piece_bytes(_READ_BYTES))])
        if not count:
            raise RegistryUnavailableError("unexpected EOF")
        if self._closing.is_set():
            raise _LeaveError
        worker.read_bytes += count
        self._counts.add_bytes(count)
        if (wait_s := self.limit.reserve(count)) > 0:
            self._closing.wait(wait_s)
        return worker.buffer[:count]
