"""Errors of handlers become answers, in the form of the route's surface."""

from __future__ import annotations

import logging
from math import ceil

from corral.api.http.errors import body_of, compatible_status_of, hint_of, log_failure, status_of, text_of
from corral.api.http.exchange import (
    JSON_UTF8,
    BodyTooLargeError,
    ClientGoneError,
    ClientStalledError,
    Exchange,
    ServerStoppingError,
)
from corral.api.http.limits import ServerBusyError
from corral.api.http.routing import Handler
from corral.errors import CorralError, RateLimitError
from corral.errorwords import logged

_log = logging.getLogger("corral.http")
_LEAVES_BODY = (ClientStalledError, BodyTooLargeError, ServerBusyError, ServerStoppingError)
_STATUS_GONE = 499


async def answer_errors(exchange: Exchange, following: Handler) -> None:
    """The step. The exchange keeps an error's text alone: a traceback would hold the body until a full collection."""
    try:
        await following(exchange)
    except ClientGoneError as error:
        exchange.failure = logged(error)
        exchange.status = _STATUS_GONE
    except Exception as error:
        exchange.failure = logged(error)
        if not isinstance(error, CorralError):
            log_failure(_log, exchange.request_id, error)
        await _answer_error(exchange, error)


async def _answer_error(exchange: Exchange, error: BaseException) -> None:
    if exchange.is_started:
        return
    if isinstance(error, _LEAVES_BODY):
        exchange.extra_headers.append((b"connection", b"close"))  # the rest of the body is of no use
    if isinstance(error, RateLimitError):
        exchange.extra_headers.append((b"retry-after", b"%d" % max(ceil(error.retry_after_s), 1)))
    if (encode := exchange.error_encoder) is None:
        await exchange.respond(status_of(error), body_of(error), JSON_UTF8)
        return
    status = compatible_status_of(error)
    await exchange.respond(status, encode(status, text_of(error), hint_of(error)), JSON_UTF8)
