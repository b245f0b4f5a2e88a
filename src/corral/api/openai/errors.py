"""OpenAI's error envelope, for every route under `/v1` but those of Anthropic's API."""

from __future__ import annotations

from corral import requestfacts
from corral.api.http.errors import compatible_status_of, error_body, hint_of, text_of
from corral.api.http.exchange import JSON, JSON_UTF8
from corral.errors import CloudDisabledError, ContextOverflowError, CorralError
from corral.golang.json import escape_string

_TYPES = {
    400: b"invalid_request_error",
    401: b"invalid_request_error",
    404: b"not_found_error",
    429: b"rate_limit_error",
}
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded", 499: "request_cancelled"}


def envelope(status: int, text: str, hint: str = "", code: str = "", param: str = "") -> bytes:
    """The error object; also fit for `Exchange.error_encoder`. `hint` is a member that the vendor does not have."""
    code = code or _CODES.get(status, "")
    parts = (
        b'{"error":{"message":',
        escape_string(text),
        b',"type":"',
        _TYPES.get(status, b"api_error"),
        b'","param":',
        escape_string(param) if param else b"null",
        b',"code":',
        escape_string(code) if code else b"null",
        b',"hint":' + escape_string(hint) if hint else b"",
        b"}}",
    )
    return b"".join(parts)


def code_of(error: BaseException) -> str:
    """The word by which OpenAI's clients tell an error from others; empty for most."""
    return "context_length_exceeded" if isinstance(error, ContextOverflowError) else ""


def message_of(error: BaseException) -> str:
    """The text for the client. The length limit is reported in OpenAI's words, which clients look for."""
    if isinstance(error, ContextOverflowError) and error.num_ctx:
        return (
            f"This model's maximum context length is {error.num_ctx} tokens. However, your messages resulted in"
            f" {error.prompt_count} tokens. Please reduce the length of the messages, or raise num_ctx."
        )
    return text_of(error)


def error_event(error: CorralError) -> bytes:
    """The error object for the middle of a stream."""
    return envelope(compatible_status_of(error), message_of(error), hint_of(error), code_of(error))


def service_error(error: CorralError) -> tuple[int, bytes, str]:
    """Status, body and content type of an error that the service raised before anything was sent.

    A refused cloud model keeps the native form: Ollama finds it before it looks at the surface.
    """
    requestfacts.note_error(error)
    status, text = compatible_status_of(error), message_of(error)
    if isinstance(error, CloudDisabledError):
        return status, error_body(text, hint_of(error)), JSON_UTF8
    param = "messages" if code_of(error) else ""
    return status, envelope(status, text, hint_of(error), code_of(error), param) + b"\n", JSON
