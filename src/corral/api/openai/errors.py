"""OpenAI's error envelope, for every route under `/v1` but those of Anthropic's API."""

from __future__ import annotations

from corral.api.errors import compatible_status_of, error_body, text_of
from corral.api.http import JSON, JSON_UTF8
from corral.errors import CloudDisabledError, CorralError
from corral.gowire import escape_string

__all__ = ["envelope", "service_error"]

_TYPES = {400: b"invalid_request_error", 404: b"not_found_error"}


def envelope(status: int, text: str) -> bytes:
    """The error object; also fit for `Exchange.error_encoder`."""
    parts = (
        b'{"error":{"message":',
        escape_string(text),
        b',"type":"',
        _TYPES.get(status, b"api_error"),
        b'","param":null,"code":null}}',
    )
    return b"".join(parts)


def service_error(error: CorralError) -> tuple[int, bytes, str]:
    """Status, body and content type of an error that the service raised before anything was sent.

    A refused cloud model keeps the native form: the real server finds it before it looks at the surface.
    """
    status, text = compatible_status_of(error), text_of(error)
    if isinstance(error, CloudDisabledError):
        return status, error_body(text), JSON_UTF8
    return status, envelope(status, text) + b"\n", JSON
