"""The handlers of the server's models under `/v2/`: manifests, blobs, and lists of names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from corral import caller
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.registry import protocol
from corral.api.registry.protocol import Resource
from corral.api.registry.uploads import absolute
from corral.digest import Digest
from corral.errors import CorralError, ModelNotFoundError
from corral.golang.json import encode
from corral.library.pull_through import GrowingBlob, PullThrough, Write
from corral.library.registry_server import Hosting, UnknownBlobError
from corral.library.upload_turns import HEADER, SMALL_BYTES, UploadTurns
from corral.store.blobs import BlobStore

_log = logging.getLogger("corral.registry")
_READ_BYTES = 1 << 20
_MAX_PAGE = 1000
_OCTETS = "application/octet-stream"
# The scope of the cluster's key, and its id.
_CLUSTER = "cluster"
_MAX_NAME_CHARS = 100
# A peer that has stopped must not keep its turn.
_PEER_STALL_S = 20.0


class ModelHandlers:
    """Handlers of manifests, blobs and their lists."""

    def __init__(
        self,
        hosting: Hosting,
        blobs: BlobStore,
        mirror: PullThrough | None = None,
        turns: UploadTurns | None = None,
    ) -> None:
        self._turns = turns or UploadTurns()
        self._hosting = hosting
        self._blobs = blobs
        self._mirror = mirror

    async def close(self) -> None:
        """End what other machines' requests have begun."""
        if self._mirror is not None:
            await self._mirror.close()

    async def root(self, exchange: Exchange, _resource: Resource) -> None:
        await exchange.respond(200, b"{}", JSON_UTF8)

    async def catalog(self, exchange: Exchange, _resource: Resource) -> None:
        names = await asyncio.to_thread(self._hosting.repositories)
        await _answer_page(exchange, names, lambda page: {"repositories": page})

    async def tags(self, exchange: Exchange, resource: Resource) -> None:
        tags = await asyncio.to_thread(self._hosting.tags, resource.repository, _origin(exchange))
        await _answer_page(exchange, tags, lambda page: {"name": resource.repository, "tags": page})

    async def manifest(self, exchange: Exchange, resource: Resource) -> None:
        origin = _origin(exchange)
        arguments = (resource.repository, resource.reference, origin)
        try:
            hosted = await asyncio.to_thread(self._hosting.manifest, *arguments)
        except ModelNotFoundError:
            if self._mirror is None:
                raise
            hosted = await self._mirror.manifest(*arguments)
        digest = str(hosted.digest).encode()
        headers = [(b"docker-content-digest", digest), (b"etag", b'"%s"' % digest)]
        if exchange.header(b"if-none-match").strip('"') == str(hosted.digest):
            await exchange.respond(304, b"", None, headers)
            return
        await exchange.respond(200, hosted.data, hosted.media_type, headers)

    async def put_manifest(self, exchange: Exchange, resource: Resource) -> None:
        data = await exchange.read_body()
        digest = await asyncio.to_thread(
            self._hosting.put_manifest, resource.repository, resource.reference, data, _origin(exchange)
        )
        location = absolute(exchange, f"/v2/{resource.repository}/manifests/{digest}")
        headers = [(b"docker-content-digest", str(digest).encode()), (b"location", location)]
        await exchange.respond(201, b"", None, headers)

    async def blob(self, exchange: Exchange, resource: Resource) -> None:
        digest = Digest.parse(resource.reference)
        if not await asyncio.to_thread(self._hosting.access.may_use, digest):
            raise UnknownBlobError(digest)
        blob = await self._find_blob(digest)
        size_bytes = blob.size_bytes
        try:
            span = protocol.parse_range(exchange.header(b"range"), size_bytes)
        except ValueError:
            body = protocol.error_body("RANGE_INVALID", "the range lies outside of the blob")
            headers = [(b"content-range", b"bytes */%d" % size_bytes)]
            await exchange.respond(416, body, JSON_UTF8, headers)
            return
        headers = [
            (b"docker-content-digest", str(digest).encode()),
            (b"etag", b'"%s"' % str(digest).encode()),
            (b"accept-ranges", b"bytes"),
            (b"cache-control", b"max-age=31536000, immutable"),
        ]
        first, last = span or (0, size_bytes - 1)
        if span is not None:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (first, last, size_bytes)))
        else:
            # Ollama's client asks for the whole blob only to learn from this header where to get its parts.
            headers.append((b"location", absolute(exchange, exchange.path)))
        status, count = 200 if span is None else 206, last - first + 1
        if exchange.method == "HEAD":
            await exchange.start_stream(_OCTETS, status, headers, size_bytes=count)
            await exchange.end_stream()
            return
        with self._turn(exchange, count) as limit_s:
            await exchange.start_stream(_OCTETS, status, headers, size_bytes=count)
            await exchange.run_watched(_send(exchange, blob, first, last, limit_s))

    @contextmanager
    def _turn(self, exchange: Exchange, size_bytes: int) -> Iterator[float | None]:
        """How long a peer may read nothing, in seconds; None: it is an ordinary client, for which that is set.

        Raises:
            NoTurnError
        """
        peer = peer_of(exchange)
        if peer is None or size_bytes < SMALL_BYTES:
            yield None
            return
        with self._turns.turn(peer or f"request {exchange.request_id}", rests=bool(peer)):
            yield _PEER_STALL_S

    async def _find_blob(self, digest: Digest) -> GrowingBlob:
        """A blob that is in the store, or on its way to it. Raises UnknownBlobError."""
        try:
            size_bytes = await asyncio.to_thread(self._blobs.size_bytes, digest)
        except FileNotFoundError:
            if self._mirror is None:
                raise UnknownBlobError(digest) from None
            return await self._mirror.blob(digest)
        path = self._blobs.path(digest)
        return GrowingBlob(size_bytes, lambda first, last, write: _send_file(path, first, last, write))


async def _send_file(path: Path, first: int, last: int, write: Write) -> None:
    with await asyncio.to_thread(path.open, "rb", buffering=0) as file:
        file.seek(first)
        left = last - first + 1
        while left > 0 and (data := await asyncio.to_thread(file.read, min(left, _READ_BYTES))):
            left -= len(data)
            await write(data)


async def _send(
    exchange: Exchange, blob: GrowingBlob, first: int, last: int, limit_s: float | None = None
) -> None:
    """Send what comes. A reply that ends too early is broken off, so that the client sees it.

    `limit_s`: a client that takes longer to read a piece is left.
    """
    left = last - first + 1

    async def write(data: bytes) -> None:
        nonlocal left
        left -= len(data)
        if limit_s is None:
            await exchange.write(data)
            return
        async with asyncio.timeout(limit_s):
            await exchange.write(data)

    try:
        await blob.send(first, last, write)
    except CorralError as error:
        _log.warning("blob cut off path=%s error=%s", exchange.path, error)
        return
    except TimeoutError:
        _log.warning("blob cut off path=%s error=the peer does not read", exchange.path)
        return
    if left:
        _log.warning("blob cut off path=%s error=the file ends too early", exchange.path)
        return
    await exchange.end_stream()


def peer_of(exchange: Exchange) -> str | None:
    """Which server of the cluster asks; empty: one that does not say its name; None: somebody else."""
    who = caller.current()
    if _CLUSTER not in who.scopes:
        return None
    name = exchange.header(HEADER)
    if name and len(name) <= _MAX_NAME_CHARS:
        return name
    return "" if who.key_id == _CLUSTER else None


def _origin(exchange: Exchange) -> str:
    """The registry that a mirror's client really means."""
    return protocol.parse_query(exchange.query).get("ns", "")


async def _answer_page(
    exchange: Exchange, names: list[str], as_body: Callable[[list[str]], dict[str, object]]
) -> None:
    """A list in pages of `n` after `last`; the next page is linked."""
    query = protocol.parse_query(exchange.query)
    text = query.get("n", "")
    size = min(int(text), _MAX_PAGE) if text.isascii() and text.isdigit() and len(text) < 10 else _MAX_PAGE
    rest = [name for name in names if name > query.get("last", "")]
    page = rest[:size]
    headers = []
    if page and len(rest) > size:
        link = f'<{exchange.path}?n={size}&last={page[-1]}>; rel="next"'
        headers.append((b"link", link.encode("latin-1", "replace")))
    await exchange.respond(200, encode(as_body(page)), JSON_UTF8, headers)
