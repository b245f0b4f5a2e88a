"""The create request, with all checks that need neither the store nor the files."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.errors import InvalidDigestError, InvalidRequestError
from corral.types import Message

_TEXT_INFO = ("model_family", "base_name", "quantization_level", "parameter_size")
_NUMBER_INFO = ("context_length", "embedding_length")


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """Maps are from file names to digests. None means that the field was absent; an empty map is different."""

    model: str
    from_: str = ""
    files: Mapping[str, str] | None = None
    adapters: Mapping[str, str] | None = None
    draft_files: Mapping[str, str] | None = None
    template: str = ""
    system: str = ""
    license: Any = None
    parameters: Mapping[str, Any] | None = None
    messages: tuple[Message, ...] = ()
    raw_messages: tuple[Mapping[str, Any], ...] = ()
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    quantize: str = ""
    draft_quantize: str = ""
    imatrix: str = ""
    remote_host: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)

    def blobs(self) -> list[str]:
        """The digests that the request names, as they were sent."""
        files = (self.files, self.adapters, self.draft_files)
        return [*(digest for some in files for digest in (some or {}).values()), self.imatrix]

    def check_files(self) -> None:
        """Raises InvalidRequestError, InvalidDigestError."""
        for files in (self.files, self.draft_files):
            for path, digest in (files or {}).items():
                if not _is_local(path):
                    raise InvalidRequestError("file path must be relative")
                if not digest:
                    raise InvalidDigestError(digest)
        if self.draft_quantize and not self.draft_files:
            raise InvalidRequestError("--draft-quantize requires a DRAFT model")
        if self.adapters and not all(self.adapters.values()):
            raise InvalidDigestError("")


def _is_local(path: str) -> bool:
    return (
        bool(path)
        and not path.startswith("/")
        and posixpath.normpath(path) == path
        and path.split("/")[0] != ".."
    )


def parse_licenses(value: Any) -> list[str]:
    """A string or a list of strings; an empty string means none.

    Raises:
        CorralError: another type.
    """
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        for element in value:
            if not isinstance(element, str):
                raise _license_error(element, "string")
        return list(value)
    raise _license_error(value, "[]string")


def _license_error(value: Any, wanted: str) -> Exception:
    from corral.errors import CorralError

    kinds = {bool: "bool", int: "number", float: "number", dict: "object", list: "array"}
    kind = kinds.get(type(value), "string")
    return CorralError(f"json: cannot unmarshal {kind} into Go value of type {wanted}")


def parse_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """Typed overrides of the config.

    Raises:
        InvalidRequestError: a member of the wrong type.
    """
    parsed: dict[str, Any] = {}
    for name in _TEXT_INFO:
        value = info.get(name)
        if value is not None and not isinstance(value, str):
            raise InvalidRequestError(f'info field "{name}" must be a string')
        if value:
            parsed[name] = value
    for name in _NUMBER_INFO:
        value = info.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidRequestError(f'info field "{name}" must be a number')
        if value < 0 or value != int(value):
            raise InvalidRequestError(f'info field "{name}" must be a non-negative integer')
        parsed[name] = int(value)
    capabilities = info.get("capabilities")
    if isinstance(capabilities, list):
        parsed["capabilities"] = tuple(c for c in capabilities if isinstance(c, str))
    return parsed
