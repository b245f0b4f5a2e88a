"""Anthropic's error envelope."""

from __future__ import annotations

import secrets

from corral.api.http.errors import compatible_status_of, error_body, text_of
from corral.api.http.exchange import JSON, JSON_UTF8
from corral.errors import CloudDisabledError, ContextOverflowError, CorralError
from corral.golang.json import encode

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


def envelope(status: int, text: str) -> bytes:
    """The error object; also fit for `Exchange.error_encoder`."""
    error = {"type": _TYPES.get(status, "api_error"), "message": text}
    return encode({"type": "error", "error": error, "request_id": f"req_{secrets.token_hex(12)}"})


def _message(error: BaseException) -> str:
    """The text for the client. Agents look for these words, and then shorten the conversation by themselves."""
    if not isinstance(error, ContextOverflowError):
        return text_of(error)
    if not error.num_ctx:
        return f"prompt is too long: {error}"
    return f"prompt is too long: {error.prompt_count} tokens > {error.num_ctx} maximum"


def error_event(error: CorralError) -> bytes:
    """The error object for the middle of a stream."""
    return envelope(compatible_status_of(error), _message(error))


def service_error(error: CorralError, *, has_search: bool = False) -> tuple[int, bytes, str]:
    """Status, body and content type of an error that the service raised before anything was sent.

    A refused cloud model keeps the native form, unless the request declares the web search: then Ollama
    finds it later, and reports that there is no search.
    """
    status, text = compatible_status_of(error), _message(error)
    if isinstance(error, CloudDisabledError):
        if not has_search:
            return status, error_body(text), JSON_UTF8
        text = "ollama cloud is disabled: web search is unavailable"
    return status, envelope(status, text) + b"\n", JSON
