"""The `modelfile` field of old create requests: a whole Modelfile as a string, which many scripts still send.

Its directives act like fields of the request; the request's own fields take precedence. The server reads no files for
a client: a FROM names a model, an uploaded blob (`@sha256:...`, as old clients wrote it), or a blob of this store by
its path, as `show --modelfile` prints it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from corral.digest import Digest
from corral.errors import InvalidDigestError, InvalidRequestError
from corral.library.create.request import CreateRequest
from corral.modelfile import ModelfileError, fields_of, parse_modelfile
from corral.names import looks_like_file
from corral.store.blobs import BlobStore


def with_modelfile(request: CreateRequest, text: str, blobs: BlobStore) -> CreateRequest:
    """A request extended by a Modelfile.

    Raises:
        InvalidRequestError: the Modelfile does not parse, or names files.
    """
    try:
        fields = fields_of(parse_modelfile(text.encode("utf-8", "replace")))
    except ModelfileError as exc:
        where = f" in line {exc.line}" if exc.line else ""
        detail = f": {exc.detail}" if exc.detail else ""
        raise InvalidRequestError(f"modelfile{where}: {exc}{detail}") from exc
    asked = fields.request
    changes: dict[str, Any] = {
        name: value
        for name, value in asked.items()
        if name not in ("parameters", "messages") and not getattr(request, name)
    }
    if "parameters" in asked:
        changes["parameters"] = {**asked["parameters"], **(request.parameters or {})}
    if "messages" in asked and not request.raw_messages:
        changes["raw_messages"] = tuple(asked["messages"])
    if not request.from_ and request.files is None:
        changes |= _sources(fields.sources, blobs)
    if fields.adapters and request.adapters is None:
        changes["adapters"] = _blobs(fields.adapters[-1:], blobs, "ADAPTER")
    if fields.drafts and request.draft_files is None:
        changes["draft_files"] = _blobs(fields.drafts, blobs, "DRAFT")
    return replace(request, **changes)


def _sources(values: Iterable[str], blobs: BlobStore) -> dict[str, Any]:
    files: dict[str, str] = {}
    name = ""
    for value in values:
        digest = _digest(value, blobs)
        if digest is not None:
            files[digest.file_name()] = str(digest)
        elif looks_like_file(value) or not value:
            raise _file_error("FROM", value)
        else:
            name = value
    return {"from_": name} if name else {"files": files}


def _blobs(values: Iterable[str], blobs: BlobStore, command: str) -> dict[str, str]:
    found = {}
    for value in values:
        digest = _digest(value, blobs)
        if digest is None:
            raise _file_error(command, value)
        found[digest.file_name()] = str(digest)
    return found


def _digest(value: str, blobs: BlobStore) -> Digest | None:
    """The blob that a value names; None if it names none."""
    path = Path(value)
    text = value[1:] if value.startswith("@") else path.name if path.parent == blobs.folder else ""
    try:
        return Digest.parse(text)
    except InvalidDigestError:
        return None


def _file_error(command: str, value: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{command} {value}: the server does not read files for its clients; upload the file to "
        "/api/blobs/sha256:<digest> and name it in files (adapters, draft_files), or use the create command"
    )
