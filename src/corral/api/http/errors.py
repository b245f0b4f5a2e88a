"""The one place where an error becomes a status and a body."""

from __future__ import annotations

import errno
import logging

from corral.access.keystore import KeyNotFoundError
from corral.api.http.encodings import UnsupportedEncodingError
from corral.api.http.exchange import (
    BodyTooLargeError,
    ClientGoneError,
    ClientStalledError,
    ServerStoppingError,
)
from corral.api.http.limits import ServerBusyError
from corral.errors import (
    CloudDisabledError,
    ContextOverflowError,
    CorralError,
    DeadlineError,
    DigestMismatchError,
    EngineError,
    ForbiddenError,
    FormatError,
    InvalidRequestError,
    LocalFilesError,
    ModelNotFoundError,
    NodeError,
    NodeNotFoundError,
    NoNodeError,
    OptionError,
    QueueFullError,
    RateLimitError,
    RequestCancelledError,
    RequestNotFoundError,
    RunnerExitedError,
    SchemaError,
    TemplateRaisedError,
    UnauthorizedError,
)
from corral.golang.json import escape_string

# The nearest class in an error's ancestry decides.
_STATUS: dict[type[BaseException], int] = {
    CorralError: 500,
    InvalidRequestError: 400,
    OptionError: 500,
    CloudDisabledError: 403,
    UnauthorizedError: 401,
    ForbiddenError: 403,
    RateLimitError: 429,
    DeadlineError: 504,
    # Of the 4xx the one for this: clients try a 5xx again.
    RequestCancelledError: 499,
    RequestNotFoundError: 404,
    KeyNotFoundError: 404,
    FormatError: 500,
    TemplateRaisedError: 400,
    ModelNotFoundError: 404,
    LocalFilesError: 403,
    DigestMismatchError: 400,
    QueueFullError: 503,
    NoNodeError: 503,
    NodeError: 502,
    NodeNotFoundError: 404,
    ClientGoneError: 499,
    ClientStalledError: 408,
    BodyTooLargeError: 413,
    ServerBusyError: 503,
    ServerStoppingError: 503,
    UnsupportedEncodingError: 415,
}

# Faults of the disk or of the limits of this process: the person can mend them, so they are reported.
_DISK_ERRNOS = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EMFILE,
        errno.ENAMETOOLONG,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
    }
)

# Raised while the engine works on a reply; Ollama reports these from another place than the rest.
_WORKER_ERRORS = (
    EngineError,
    RunnerExitedError,
    ContextOverflowError,
    FormatError,
    SchemaError,
)


def status_of(error: BaseException) -> int:
    """The HTTP status of an error; an engine's refusal keeps its own."""
    if isinstance(error, EngineError):
        return error.status
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def compatible_status_of(error: BaseException) -> int:
    """The same on the surfaces under `/v1`.

    The native 500 of an option or a format of the wrong type is not an example to follow: clients repeat what fails
    with it.
    """
    return 400 if isinstance(error, OptionError | FormatError) else status_of(error)


def text_of(error: BaseException) -> str:
    """The text for the client. Whatever is not ours stays out of it: it goes to the log."""
    if isinstance(error, BodyTooLargeError | ClientStalledError):
        return f"{error}; {error.hint}" if error.hint else str(error)
    if isinstance(error, EngineError):
        return error.message  # its body is JSON, which has no place inside a text
    return str(error) if isinstance(error, CorralError) else disk_text(error) or "internal server error"


def hint_of(error: BaseException) -> str:
    """What the caller can do about an error; empty if nothing is known, or if the text says it already."""
    if isinstance(error, BodyTooLargeError | ClientStalledError):
        return ""
    return error.hint if isinstance(error, CorralError) else ""


def disk_text(error: BaseException) -> str:
    """What ails the disk (full, read-only, forbidden), if that is what an error says; empty if it is not."""
    if not isinstance(error, OSError) or error.errno not in _DISK_ERRNOS:
        return ""
    text = (error.strerror or str(error)).lower()
    return f"{error.filename}: {text}" if error.filename else text


def log_failure(log: logging.Logger, request_id: str, error: Exception) -> None:
    """Log an error that is not one of ours: with its traceback, unless it is the disk that fails."""
    if text := disk_text(error):
        log.error("request failed id=%s: %s", request_id, text)
    else:
        log.error("request failed id=%s", request_id, exc_info=error)


def is_worker_error(error: BaseException) -> bool:
    """Whether a streaming route answers this error without a charset, as Ollama does."""
    return isinstance(error, _WORKER_ERRORS)


def error_body(text: str, hint: str = "") -> bytes:
    """The native surface's error object; `hint` is a member that Ollama does not have."""
    return b'{"error":' + escape_string(text) + (b',"hint":' + escape_string(hint) if hint else b"") + b"}"


def body_of(error: BaseException) -> bytes:
    """The native surface's object for an error."""
    return error_body(text_of(error), hint_of(error))
