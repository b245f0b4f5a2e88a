"""Manifests and blobs of one repository, over HTTP. Blocks; every reply is checked before it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from corral.digest import Digest
from corral.errors import RegistryAuthError, RegistryProtocolError, RegistryStatusError
from corral.registry.challenge import Challenge, parse_challenges
from corral.registry.ranges import parse_content_range, parse_length, parse_retry_after_s
from corral.registry.response import Response, redacted
from corral.registry.source import HUGGING_FACE, Endpoint, split_host
from corral.registry.transport import Body, Transport
from corral.store.manifests import LIST_MEDIA_TYPE, MANIFEST_MEDIA_TYPE

MAX_MANIFEST_BYTES = 4 << 20
_MANIFEST_TYPES = ", ".join(
    (MANIFEST_MEDIA_TYPE, "application/vnd.oci.image.manifest.v1+json", LIST_MEDIA_TYPE)
)
_MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)


class BlobReply:
    """The body of a reply with bytes of a blob from `start` on, `length` of them (None: unknown)."""

    def __init__(self, response: Response, start: int, length: int | None) -> None:
        self.start = start
        self.length = length
        self._response = response

    def read_into(self, view: memoryview) -> int:
        """As `Response.read_into`."""
        return self._response.read_into(view)

    def finish(self) -> None:
        """Check that nothing follows the bytes that were announced.

        Raises:
            RegistryProtocolError: more bytes than were announced.
        """
        if self._response.read1(1):
            self.close()
            raise RegistryProtocolError(f"{redacted(self._response.url)} sent more bytes than it announced")
        self._response.finish()

    def close(self) -> None:
        self._response.close()


class Authorizes(Protocol):
    """Where `Authorization` headers come from: `Authorizer`, or a key that peers have in common."""

    def header(self) -> str | None: ...
    def renew(self, challenges: list[Challenge], *, refused: str | None, transport: Transport) -> str: ...
    def denied(self) -> RegistryAuthError: ...


class RegistryClient:
    """Speaks for one endpoint. Threads share it. `headers` go along with every request to the registry itself."""

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        authorizer: Authorizes,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._headers = dict(headers or {})
        # The URLs of blobs that are not under `/v2/`.
        self.blob_urls: dict[Digest, str] = {}
        self.transport = transport
        self._authorizer = authorizer

    def interrupt(self, thread_id: int | None = None) -> None:
        """Break the call that a thread is in."""
        self.transport.interrupt(thread_id)

    def cancel(self) -> None:
        self.transport.cancel()

    def close(self) -> None:
        self.transport.close()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Body | None = None,
        head_timeout_s: float | None = None,
    ) -> Response:
        """One request, authenticated if it goes to the registry itself; a 401 from there is answered once.

        A URL that the registry returned, as for uploads, may be on another host: that gets no credentials.

        A body that is read while it is sent cannot be sent again: such a request fails with RegistryStatusError 401
        after the token was renewed, and the caller repeats it.

        Raises:
            RegistryAuthError: it requires other credentials.
            RegistryError: see `Transport.request`.
        """
        if not self.is_own(url):
            return self.transport.request(
                method, url, headers=headers, body=body, head_timeout_s=head_timeout_s
            )
        is_repeatable = body is None or isinstance(body, bytes)
        for attempt in (1, 2):
            sent = self._authorizer.header()
            all_headers = {**self._headers, **(headers or {})}
            if sent is not None:
                all_headers["Authorization"] = sent
            response = self.transport.request(
                method, url, headers=all_headers, body=body, head_timeout_s=head_timeout_s
            )
            if response.status != 401:
                return response
            challenges = parse_challenges(response.headers_all("www-authenticate"))
            text = response.read_error()
            if attempt == 2:
                break
            self._authorizer.renew(challenges, refused=sent, transport=self.transport)
            if not is_repeatable:
                raise RegistryStatusError(401, text)
        raise self._authorizer.denied()

    def is_own(self, url: str) -> bool:
        """Whether a URL is on the registry itself: only there may credentials go."""
        mine, other = urlsplit(self.endpoint.base_url), urlsplit(url)
        if mine.scheme != other.scheme or "@" in other.netloc:
            return False
        hosts = {split_host(parts.netloc, parts.scheme) for parts in (mine, other)}
        return len(hosts) == 1 or hosts == {(host, 443) for host in HUGGING_FACE}

    def fetch_manifest(self) -> bytes:
        """The bytes of the manifest, of bounded size and with the digest that the registry announced, if any.

        Raises:
            RegistryError
        """
        return self._fetch_document(self.endpoint.manifest_url())

    def fetch_manifest_of(self, digest: Digest) -> bytes:
        """The bytes of one manifest of a list; registries keep it as a manifest, or as a blob.

        Raises:
            RegistryError
        """
        try:
            data = self._fetch_document(self.endpoint.manifest_url(str(digest)))
        except RegistryStatusError as exc:
            if exc.status not in (400, 404):
                raise
            data = self._fetch_document(self.endpoint.blob_url(digest))
        if Digest.of(data).hex != digest.hex.lower():
            raise RegistryProtocolError(f"the registry sent something other than the manifest {digest}")
        return data

    def _fetch_document(self, url: str) -> bytes:
        response = self.follow("GET", url, {"Accept": _MANIFEST_TYPES})
        raise_for_status(response)
        data = response.read_bounded(MAX_MANIFEST_BYTES)
        length = parse_length(response.header("content-length"))
        if length is not None and length != len(data):
            raise RegistryProtocolError(f"the manifest has {len(data)} bytes, {length} were announced")
        named = response.header("docker-content-digest") or ""
        if named.startswith("sha256:") and named.lower() != f"sha256:{hashlib.sha256(data).hexdigest()}":
            raise RegistryProtocolError(
                f"the manifest does not have the digest {named[:80]} that was announced"
            )
        return data

    def open_blob(
        self, digest: Digest, start: int, stop: int, size_bytes: int, *, direct_url: str | None = None
    ) -> tuple[BlobReply, str | None]:
        """Ask for the bytes `start` to `stop` of a blob of `size_bytes`.

        Returns the reply, and the URL on another host that served it, if one did: later parts may go there at once
        (`direct_url`). A server without ranges replies with the whole blob: check `start`.

        Raises:
            RegistryStatusError: an error status.
            RegistryProtocolError: other bytes than asked for.
            RegistryError
        """
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        if direct_url is not None:
            response = self.follow("GET", direct_url, headers)
        else:
            url = self.blob_urls.get(digest) or self.endpoint.blob_url(digest)
            response = self.follow("GET", url, headers)
        raise_for_status(response, is_final=self.is_own(response.url))
        try:
            response.check_plain()
            reply = _checked(response, start, stop, size_bytes)
        except BaseException:
            response.close()
            raise
        return reply, None if self.is_own(response.url) else response.url

    def follow(self, method: str, url: str, headers: Mapping[str, str]) -> Response:
        """Request and follow redirects; credentials stay with the registry.

        Raises:
            RegistryProtocolError: too many redirects, or one to a URL that is not allowed.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            response = self.request(method, url, headers=headers)
            if response.status not in _REDIRECTS:
                return response
            location = response.header("location")
            response.read_error()
            if not location:
                raise RegistryProtocolError("http: no Location header in response")
            url = self.redirect(url, location)
        raise RegistryProtocolError(
            f"maximum redirects exceeded ({_MAX_REDIRECTS}) for {method} {redacted(url)}"
        )

    def redirect(self, base: str, location: str) -> str:
        """The URL that a reply points to.

        Raises:
            RegistryProtocolError: it is not a URL, or leads from TLS to plain http without permission.
        """
        try:
            url = urljoin(base, location)
            parts = urlsplit(url)
            is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_sound = False
        if not is_sound:
            raise RegistryProtocolError(f"the registry points to {location[:200]!r}, which is not a URL")
        if parts.scheme == "http" and not self.endpoint.is_plain_allowed:
            raise RegistryProtocolError(f"the registry points to {redacted(url)}, which is not encrypted")
        return url


def _checked(response: Response, start: int, stop: int, size_bytes: int) -> BlobReply:
    length = parse_length(response.header("content-length"))
    if response.status == 200:
        if length is not None and length != size_bytes:
            raise RegistryProtocolError(f"the registry has {length} bytes, the manifest says {size_bytes}")
        return BlobReply(response, 0, size_bytes)
    if response.status != 206:
        raise RegistryProtocolError(f"unexpected status code {response.status}")
    got = parse_content_range(response.header("content-range") or "")
    if got is None or got.start != start or got.stop > stop:
        raise RegistryProtocolError(f"the registry sent other bytes than {start} to {stop - 1}")
    if got.total is not None and got.total != size_bytes:
        raise RegistryProtocolError(f"the registry has {got.total} bytes, the manifest says {size_bytes}")
    if length is not None and length != got.stop - got.start:
        raise RegistryProtocolError("the length of a part does not match its range")
    return BlobReply(response, start, got.stop - got.start)


def raise_for_status(response: Response, *, is_final: bool = True) -> None:
    """Raise RegistryStatusError for a status of 400 and above; any other status but success violates the protocol.

    `is_final`: the reply is the registry's own, so asking again will not change a 4xx.
    """
    if response.status >= 400:
        wait_s = parse_retry_after_s(response.header("retry-after"))
        text = response.read_error()
        raise RegistryStatusError(response.status, text, retry_after_s=wait_s, is_final=is_final)
    if not 200 <= response.status < 300:
        response.close()
        raise RegistryProtocolError(f"unexpected status code {response.status}")
