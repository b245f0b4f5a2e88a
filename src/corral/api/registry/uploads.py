"""Blobs pushed to this server: started, sent in one or many pieces, resumed, finished by their digest."""

from __future__ import annotations

import asyncio
import errno
from typing import BinaryIO

from corral.api.http.exchange import JSON_UTF8, ClientGoneError, ClientStalledError, Exchange
from corral.api.registry import protocol
from corral.api.registry.protocol import Resource
from corral.digest import Digest
from corral.disk import write_fully
from corral.errors import InvalidRequestError
from corral.library.blob_access import BlobAccess
from corral.store.blobs import BlobStore
from corral.store.uploads import UploadStore

_WRITE_BYTES = 1 << 20


class UploadHandlers:
    """Handlers of `/v2/<repository>/blobs/uploads/`."""

    def __init__(self, uploads: UploadStore, blobs: BlobStore, access: BlobAccess) -> None:
        self._uploads = uploads
        self._access = access
        self._blobs = blobs
        # A client that lost its connection may come back before its disconnect is noticed.
        self._busy: set[str] = set()

    async def start(self, exchange: Exchange, resource: Resource) -> None:
        """Begin an upload; a blob that is in the store already, or comes with the request, is finished at once."""
        if resource.reference:
            raise InvalidRequestError("an upload is begun without an id")
        query = protocol.parse_query(exchange.query)
        named = query.get("mount") or query.get("digest")
        digest = Digest.parse(named) if named else None
        # Ollama's client names the digest of what it will send later, and takes a location for "not present yet".
        is_announced = bool(exchange.header(b"x-redirect-uploads"))
        if digest is not None and await asyncio.to_thread(self._is_visible, digest):
            await asyncio.to_thread(self._blobs.touch, digest)
            if is_announced:
                await exchange.respond(201)
            else:
                await _created(exchange, resource, digest)
            return
        upload_id = await asyncio.to_thread(self._uploads.start, frozenset(self._busy))
        if digest is not None and "digest" in query and not is_announced:
            await self._receive(exchange, upload_id, None)
            await self._finish(upload_id, digest)
            await _created(exchange, resource, digest)
            return
        await self._answer(exchange, resource, upload_id, 202, 0)

    async def show(self, exchange: Exchange, resource: Resource) -> None:
        """How far an upload is."""
        size_bytes = await asyncio.to_thread(self._uploads.size_bytes, resource.reference)
        await self._answer(exchange, resource, resource.reference, 204, size_bytes)

    async def append(self, exchange: Exchange, resource: Resource) -> None:
        """Take a piece. One that overlaps what was received is written again: its sender did not see our answer."""
        span = _span(exchange)
        if await self._refuse_gap(exchange, resource, span):
            return
        size_bytes = await self._receive(exchange, resource.reference, span[0] if span else None)
        await self._answer(exchange, resource, resource.reference, 202, size_bytes)

    async def finish(self, exchange: Exchange, resource: Resource) -> None:
        """Take the last piece, if any, and make the upload a blob."""
        digest = Digest.parse(protocol.parse_query(exchange.query).get("digest", ""))
        span = _span(exchange)
        if await self._refuse_gap(exchange, resource, span):
            return
        await self._receive(exchange, resource.reference, span[0] if span else None)
        await self._finish(resource.reference, digest)
        await _created(exchange, resource, digest)

    def _is_visible(self, digest: Digest) -> bool:
        return self._blobs.has(digest) and self._access.may_use(digest)

    async def _finish(self, upload_id: str, digest: Digest) -> None:
        await asyncio.to_thread(self._uploads.finish, upload_id, digest)
        self._access.note_sent(digest)

    async def cancel(self, exchange: Exchange, resource: Resource) -> None:
        await asyncio.to_thread(self._uploads.cancel, resource.reference)
        await exchange.respond(204)

    async def _refuse_gap(self, exchange: Exchange, resource: Resource, span: tuple[int, int] | None) -> bool:
        """Answer and return True when a piece does not begin where the upload ends, or before."""
        size_bytes = await asyncio.to_thread(self._uploads.size_bytes, resource.reference)
        if span is None or span[0] <= size_bytes:
            return False
        body = protocol.error_body("BLOB_UPLOAD_INVALID", f"the next byte is number {size_bytes}")
        headers = self._headers(exchange, resource, resource.reference, size_bytes)
        await exchange.respond(416, body, JSON_UTF8, headers)
        return True

    async def _receive(self, exchange: Exchange, upload_id: str, offset: int | None) -> int:
        """Write the body at `offset` (None: at the end); returns the size then.

        What arrived is kept, whatever happens, except on a full disk, where it would be in everybody's way.
        """
        if upload_id in self._busy:
            raise InvalidRequestError("this upload is being written by another request")
        await asyncio.to_thread(self._blobs.check_space, exchange.header(b"content-length"))
        self._busy.add(upload_id)
        try:
            with await asyncio.to_thread(self._uploads.open, upload_id) as file:
                if offset is None:
                    file.seek(0, 2)
                else:
                    file.truncate(offset)
                    file.seek(offset)
                await _write_body(exchange, file)
                return file.tell()
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                await asyncio.to_thread(self._uploads.cancel, upload_id)
            raise
        finally:
            self._busy.discard(upload_id)

    async def _answer(
        self, exchange: Exchange, resource: Resource, upload_id: str, status: int, size_bytes: int
    ) -> None:
        await exchange.respond(status, b"", None, self._headers(exchange, resource, upload_id, size_bytes))

    def _headers(
        self, exchange: Exchange, resource: Resource, upload_id: str, size_bytes: int
    ) -> list[tuple[bytes, bytes]]:
        path = f"/v2/{resource.repository}/blobs/uploads/{upload_id}"
        return [
            (b"location", absolute(exchange, path)),
            (b"docker-upload-uuid", upload_id.encode()),
            (b"range", b"0-%d" % max(size_bytes - 1, 0)),
        ]


async def _write_body(exchange: Exchange, file: BinaryIO) -> None:
    pending: list[bytes] = []
    pending_bytes = 0
    try:
        async for chunk in exchange.iter_body():
            pending.append(chunk)
            pending_bytes += len(chunk)
            if pending_bytes >= _WRITE_BYTES:
                data, pending, pending_bytes = b"".join(pending), [], 0
                await asyncio.to_thread(write_fully, file, data)
    except (ClientGoneError, ClientStalledError):
        await asyncio.to_thread(write_fully, file, b"".join(pending))
        raise
    await asyncio.to_thread(write_fully, file, b"".join(pending))


def _span(exchange: Exchange) -> tuple[int, int] | None:
    """First and last byte of a piece, if the request gives them. Raises InvalidRequestError."""
    header = exchange.header(b"content-range")
    span = protocol.parse_content_range(header) if header else None
    if header and span is None:
        raise InvalidRequestError(f"Content-Range is not understood: {header}")
    return span


async def _created(exchange: Exchange, resource: Resource, digest: Digest) -> None:
    location = absolute(exchange, f"/v2/{resource.repository}/blobs/{digest}")
    headers = [(b"location", location), (b"docker-content-digest", str(digest).encode())]
    await exchange.respond(201, b"", None, headers)


def absolute(exchange: Exchange, path: str) -> bytes:
    """A path as the URL by which this client reaches us (a trusted proxy in front reports its scheme)."""
    scheme = exchange.client.scheme
    query = f"?{exchange.query.decode('latin-1')}" if b"ns=" in exchange.query else ""
    return f"{scheme}://{exchange.header(b'host')}{path}{query}".encode("latin-1")
