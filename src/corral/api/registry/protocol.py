"""The wire of the distribution protocol: which resource a path names, ranges, and error bodies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs

from corral.errors import (
    CorralError,
    CorruptManifestError,
    DigestMismatchError,
    ForbiddenError,
    InvalidDigestError,
    InvalidModelNameError,
    ModelNotFoundError,
    RegistryError,
    RegistryProtocolError,
)
from corral.golang.json import encode
from corral.library.registry_server import MissingBlobError, UnknownBlobError, UnknownRepositoryError
from corral.library.upload_turns import NoTurnError
from corral.store.uploads import UnknownUploadError

_PATH = re.compile(
    r"/v2/(?P<repository>.+?)/(?:manifests/(?P<manifest>[^/]+)|blobs/uploads/(?P<upload>[^/]*)"
    r"|blobs/(?P<blob>[^/]+)|tags/(?P<tags>list))"
)
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d{1,19})-(\d{1,19})(?:/(?:\d+|\*))?")

Kind = Literal["root", "catalog", "manifest", "upload", "blob", "tags"]


@dataclass(frozen=True, slots=True)
class Resource:
    """What a path under `/v2/` names. `reference`: a tag, a digest, or the id of an upload (empty: a new one)."""

    kind: Kind
    repository: str = ""
    reference: str = ""


def parse_path(path: str) -> Resource | None:
    """The resource of a path, None for a path that the protocol does not have."""
    if path in ("/v2", "/v2/"):
        return Resource("root")
    if path == "/v2/_catalog":
        return Resource("catalog")
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    kinds: tuple[Kind, ...] = ("manifest", "upload", "blob", "tags")
    kind = next(kind for kind in kinds if match[kind] is not None)
    return Resource(kind, match["repository"], match[kind])


def parse_query(query: bytes) -> dict[str, str]:
    """The first value of each parameter."""
    found = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=50)
    return {name: values[0] for name, values in found.items()}


def parse_range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """First and last byte of a `Range` header; None when it asks for nothing that can be told apart from all.

    Raises:
        ValueError: it lies outside of the content.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        first, last = max(size_bytes - int(match[2]), 0), size_bytes - 1
        is_empty = int(match[2]) == 0
    else:
        first, last = int(match[1]), min(int(match[2] or size_bytes), size_bytes - 1)
        is_empty = first > last
    if is_empty or first >= size_bytes:
        raise ValueError(header)
    return first, last


def parse_content_range(header: str) -> tuple[int, int] | None:
    """First and last byte of an upload's chunk, as `0-99` or `bytes 0-99/*`; None when it is not one."""
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None or int(match[1]) > int(match[2]):
        return None
    return int(match[1]), int(match[2])


_REFUSALS: tuple[tuple[type[CorralError], int, str], ...] = (
    (ForbiddenError, 403, "DENIED"),
    (NoTurnError, 429, "TOOMANYREQUESTS"),
    (MissingBlobError, 400, "MANIFEST_BLOB_UNKNOWN"),
    (UnknownUploadError, 404, "BLOB_UPLOAD_UNKNOWN"),
    (CorruptManifestError, 400, "MANIFEST_INVALID"),
    (RegistryProtocolError, 400, "MANIFEST_INVALID"),
    (RegistryError, 502, "UNKNOWN"),
    (DigestMismatchError, 400, "DIGEST_INVALID"),
    (InvalidDigestError, 400, "DIGEST_INVALID"),
    (InvalidModelNameError, 400, "NAME_INVALID"),
    (UnknownBlobError, 404, "BLOB_UNKNOWN"),
    (UnknownRepositoryError, 404, "NAME_UNKNOWN"),
    (ModelNotFoundError, 404, "MANIFEST_UNKNOWN"),
)


def refusal(error: Exception, default_status: int, text: str) -> tuple[int, bytes]:
    """Status and body of an error in the protocol's form."""
    for kind, status, code in _REFUSALS:
        if isinstance(error, kind):
            return status, error_body(code, text)
    code = "UNSUPPORTED" if default_status < 500 else "UNKNOWN"
    return default_status, error_body(code, text)


_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS"}


def encode_error(status: int, text: str, hint: str) -> bytes:
    """The protocol's form of errors of the steps in front of the handlers."""
    code = _CODES.get(status, "UNSUPPORTED" if status < 500 else "UNKNOWN")
    return error_body(code, f"{text}; {hint}" if hint else text)


def error_body(code: str, message: str) -> bytes:
    return encode({"errors": [{"code": code, "message": message, "detail": None}]})
