"""One blob to a registry: skipped if it is there, mounted from another repository, or sent in chunks.

Chunks go one after another, since each reply names the URL for the next; only a registry that redirects chunks
elsewhere (ollama: server/upload.go) takes several at a time. After a failure the registry is asked how much it has,
and the upload goes on from there; an upload that it has forgotten starts again.
"""

from __future__ import annotations

import hashlib
import http
import logging
import os
import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote_plus

from corral.errors import (
    RegistryAuthError,
    RegistryError,
    RegistryProtocolError,
    RegistryStatusError,
    RegistryUnavailableError,
    StoreError,
    TransferCancelledError,
)
from corral.names import ModelName
from corral.registry.address_filter import ForbiddenAddressError
from corral.registry.client import RegistryClient
from corral.registry.limits import RateLimit
from corral.registry.policy import TransferPolicy
from corral.registry.ranges import parse_retry_after_s, parse_upload_range
from corral.registry.response import Response
from corral.store.manifests import Layer

_log = logging.getLogger("corral.registry")
_MIN_CHUNK_BYTES = 100_000_000
_MAX_CHUNK_BYTES = 1_000_000_000
_CHUNKS = 16
_READ_BYTES = 64 << 10
_PARALLEL = 4
# A registry reads and hashes all of a blob before it answers the commit.
_COMMIT_TIMEOUT_S = 1800.0

# Interrupted uploads: registry, repository, digest -> the URL to continue at.
UploadSessions = dict[tuple[str, str, str], str]


class Chunk:
    """Bytes `start` to `stop` of a blob; `md5` once they are sent."""

    __slots__ = ("md5", "start", "stop")

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self.md5 = b""


def plan_chunks(size_bytes: int) -> list[Chunk]:
    """Ollama's rule for the sizes of chunks."""
    chunk_bytes = min(max(size_bytes // _CHUNKS, _MIN_CHUNK_BYTES), _MAX_CHUNK_BYTES)
    return [Chunk(start, min(start + chunk_bytes, size_bytes)) for start in range(0, size_bytes, chunk_bytes)]


def etag_of(md5s: list[bytes]) -> str:
    """What the commit states about the chunks: the MD5 of their MD5s, and how many there are."""
    return f"{hashlib.md5(b''.join(md5s), usedforsecurity=False).hexdigest()}-{len(md5s)}"


class _ChunkBody:
    """Part of a file as a request body; counts and hashes what is read of it."""

    def __init__(self, upload: BlobUpload, handle: int, chunk: Chunk, start: int) -> None:
        self._upload = upload
        self._handle = handle
        self._pos = start
        self._stop = chunk.stop
        self._md5 = hashlib.md5(usedforsecurity=False)
        for pos in range(chunk.start, start, _READ_BYTES):
            self._md5.update(os.pread(handle, min(_READ_BYTES, start - pos), pos))

    def read(self, size: int = -1, /) -> bytes:
        size = self._upload.limit.piece_bytes(_READ_BYTES if size < 0 else min(size, _READ_BYTES))
        data = os.pread(self._handle, min(size, self._stop - self._pos), self._pos)
        if data:
            self._pos += len(data)
            self._md5.update(data)
            self._upload.on_sent(len(data))
        return data

    def digest(self) -> bytes:
        return self._md5.digest()


class BlobUpload:
    """Sends one blob. Call `run` once, in a thread; `completed_bytes` may be read from any."""

    def __init__(
        self,
        layer: Layer,
        path: Path,
        client: RegistryClient,
        *,
        policy: TransferPolicy,
        limit: RateLimit,
        sessions: UploadSessions,
    ) -> None:
        self.limit = limit
        self._layer = layer
        self._path = path
        self._client = client
        self._policy = policy
        self._sessions = sessions
        self._key = (client.endpoint.base_url, client.endpoint.repository, str(layer.digest))
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._sent = 0
        self.size_bytes = layer.size_bytes

    @property
    def completed_bytes(self) -> int:
        return min(self._sent, self.size_bytes)

    def on_sent(self, count: int) -> None:
        """Bytes are being sent. Waits as long as the rate limit requires.

        Raises:
            TransferCancelledError
        """
        with self._lock:
            self._sent += count
        wait_s = self.limit.reserve(count)
        if self._closing.wait(wait_s) if wait_s > 0 else self._closing.is_set():
            raise TransferCancelledError

    def cancel(self) -> None:
        self._closing.set()
        self._client.cancel()

    def run(self) -> None:
        """Make sure that the registry has the blob.

        Raises:
            RegistryError: it does not; a later push continues where this one stopped.
            StoreError: the local file cannot be read.
        """
        if self._is_there():
            self._sent = self.size_bytes
            return
        earlier = self._sessions.get(self._key)
        url = earlier or self._begin()
        if url is None:  # mounted
            self._sent = self.size_bytes
            return
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise StoreError(f"open {self._path}: {(exc.strerror or str(exc)).lower()}") from exc
        try:
            if os.fstat(handle).st_size != self.size_bytes:
                raise StoreError(
                    f"{self._path} does not have the {self.size_bytes} bytes that the manifest says"
                )
            self._send(handle, url, is_resumed=earlier is not None)
        finally:
            os.close(handle)
        self._sessions.pop(self._key, None)
        self._sent = self.size_bytes

    def _is_there(self) -> bool:
        response = self._client.request("HEAD", self._client.endpoint.blob_url(self._layer.digest))
        response.finish()
        if response.status >= 400 and response.status != 404:
            raise RegistryStatusError(response.status, "")
        return response.status < 400

    def _begin(self) -> str | None:
        """Start an upload; return where to send it, or None if the registry mounted the blob."""
        url = f"{self._client.endpoint.base_url}/v2/{self._client.endpoint.repository}/blobs/uploads/"
        if self._layer.from_:
            source = ModelName.parse(self._layer.from_).repository()
            url += f"?from={quote_plus(source)}&mount={quote_plus(str(self._layer.digest))}"
        response = self._client.request("POST", url, headers={"Content-Length": "0"}, body=b"")
        if response.status >= 400:
            raise RegistryStatusError(response.status, response.read_error())
        response.read_error()
        if response.status == 201:
            return None
        return self._next_url(response, url)

    def _next_url(self, response: Response, base: str) -> str:
        """Raises RegistryProtocolError: the reply names none."""
        location = response.header("docker-upload-location") or response.header("location")
        if not location:
            raise RegistryProtocolError("http: no Location header in response")
        url = self._client.redirect(base, location)
        self._sessions[self._key] = url
        return url

    # --- chunks ---

    def _send(self, handle: int, url: str, *, is_resumed: bool) -> None:
        chunks = plan_chunks(self.size_bytes)
        pos, url = self._ask(url) if is_resumed else (0, url)
        failures = 0
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="push") as pool:
            elsewhere: list[Future[None]] = []
            try:
                while True:
                    try:
                        for chunk in chunks:
                            if pos < chunk.stop:
                                url, pos = self._send_chunk(
                                    handle, chunk, max(pos, chunk.start), url, pool, elsewhere
                                )
                        for future in elsewhere:
                            future.result()
                        self._commit(handle, url, chunks)
                        return
                    except RegistryError as exc:
                        failures += 1
                        self._pause(exc, failures)
                        if self._is_there():
                            return  # the commit arrived, its answer did not
                        if elsewhere:
                            raise _exhausted(exc) from exc
                        before = pos
                        pos, url = self._ask(url)
                        failures = 0 if pos > before else failures
            finally:
                for future in elsewhere:
                    future.cancel()

    def _pause(self, error: RegistryError, failures: int) -> None:
        """Wait before the next attempt, or raise."""
        if isinstance(error, RegistryAuthError | ForbiddenAddressError | TransferCancelledError):
            raise error
        wait_s = self._policy.backoff_s(failures, random.random())
        if isinstance(error, RegistryStatusError):
            if error.status == 401 and failures == 1:
                return  # the token was renewed
            if error.is_final and error.status not in (401, 404, 416):
                raise error
            wait_s = max(wait_s, error.retry_after_s or 0)
        if failures >= self._policy.max_attempts or wait_s > self._policy.max_retry_after_s:
            raise _exhausted(error) from error
        _log.info(
            "blob=%s upload attempt %d failed, next in %.1f s: %s",
            self._layer.digest,
            failures,
            wait_s,
            error,
        )
        if self._closing.wait(wait_s):
            raise TransferCancelledError

    def _ask(self, url: str) -> tuple[int, str]:
        """How many bytes the registry has of an upload, and where to continue; 0 if it has forgotten the upload."""
        response = self._client.request("GET", url)
        response.read_error()
        have = parse_upload_range(response.header("range") or "") if response.status in (202, 204) else None
        if have is not None and have <= self.size_bytes:
            # Some registries do not repeat the location.
            location = response.header("docker-upload-location") or response.header("location")
            url = self._client.redirect(url, location) if location else url
        else:
            have = 0
            self._sessions.pop(self._key, None)
            begun = self._begin()
            if begun is None:
                raise RegistryProtocolError("the registry mounted a blob that it did not have before")
            url = begun
        with self._lock:
            self._sent = have
        return have, url

    def _send_chunk(
        self,
        handle: int,
        chunk: Chunk,
        start: int,
        url: str,
        pool: ThreadPoolExecutor,
        elsewhere: list[Future[None]],
    ) -> tuple[str, int]:
        """Send what is missing of a chunk; return the next URL and position."""
        body = _ChunkBody(self, handle, chunk, start)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(chunk.stop - start),
            "Content-Range": f"{start}-{chunk.stop - 1}",
            "X-Redirect-Uploads": "1",
        }
        response = self._client.request("PATCH", url, headers=headers, body=body)
        if response.status == 307 and response.header("location"):
            target = self._client.redirect(url, response.header("location") or "")
            following = self._next_url(response, url)
            response.close()
            elsewhere.append(pool.submit(self._put_elsewhere, handle, chunk, target))
            return following, chunk.stop
        if response.status >= 400:
            raise self._refused(response)
        response.read_error()
        chunk.md5 = body.digest()
        return self._next_url(response, url), chunk.stop

    def _put_elsewhere(self, handle: int, chunk: Chunk, target: str) -> None:
        """Send a chunk to where the registry redirected it, without credentials."""
        for failures in range(1, self._policy.max_attempts + 1):
            with self._lock:
                self._sent -= min(chunk.stop - chunk.start, self._sent)  # it is sent a second time
            body = _ChunkBody(self, handle, chunk, chunk.start)
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(chunk.stop - chunk.start),
            }
            try:
                response = self._client.transport.request("PUT", target, headers=headers, body=body)
                if response.status < 300:
                    response.read_error()
                    chunk.md5 = body.digest()
                    return
                raise self._refused(response)
            except RegistryError as exc:
                self._pause(exc, failures)

    def _refused(self, response: Response) -> RegistryStatusError:
        wait_s = parse_retry_after_s(response.header("retry-after"))
        error = RegistryStatusError(response.status, response.read_error(), retry_after_s=wait_s)
        try:
            phrase = f" {http.HTTPStatus(response.status).phrase}"
        except ValueError:
            phrase = ""
        error.args = (f"http status {response.status}{phrase}: {error.body}",)
        return error

    def _commit(self, handle: int, url: str, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            if not chunk.md5:  # sent by an earlier push
                chunk.md5 = _ChunkBody(self, handle, chunk, chunk.stop).digest()
        mark = "&" if "?" in url else "?"
        etag = etag_of([chunk.md5 for chunk in chunks])
        url = f"{url}{mark}digest={quote_plus(str(self._layer.digest))}&etag={etag}"
        response = self._client.request(
            "PUT", url, headers={"Content-Length": "0"}, body=b"", head_timeout_s=_COMMIT_TIMEOUT_S
        )
        if response.status >= 400:
            raise self._refused(response)
        response.read_error()
        if not 200 <= response.status < 300:
            raise RegistryProtocolError(f"unexpected status code {response.status}")


def _exhausted(error: RegistryError) -> RegistryUnavailableError:
    """The end of a transfer whose last attempt failed with `error`."""
    hint = error.hint or "layers that have arrived are kept: push again to go on"
    return RegistryUnavailableError(f"max retries exceeded: {error}", hint=hint)
