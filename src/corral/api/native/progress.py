"""Answers of routes that report progress: a stream of objects, or the last of them alone."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from corral import requestfacts
from corral.api.http.errors import body_of, log_failure, status_of
from corral.api.http.exchange import JSON, NDJSON, ClientGoneError, Exchange
from corral.errors import CorralError
from corral.golang.json import encode

_log = logging.getLogger("corral.http")
Report = Callable[[dict[str, Any]], Awaitable[None]]


async def answer_with_progress(
    exchange: Exchange, is_stream: bool, run: Callable[[Report], Awaitable[None]]
) -> None:
    """Run something that reports progress; it is cancelled when the client leaves.

    Raises:
        ClientGoneError
    """
    last: dict[str, Any] = {}

    async def report(event: dict[str, Any]) -> None:
        nonlocal last
        last = event
        if is_stream:
            if not exchange.is_started:
                await exchange.start_stream(NDJSON)
            await exchange.write(encode(event) + b"\n")

    async def work() -> None:
        await run(report)
        if is_stream:
            await exchange.end_stream()
        else:
            await exchange.respond(200, encode(last), JSON)

    try:
        await exchange.run_watched(work())
    except ClientGoneError:
        raise
    except Exception as error:
        if not isinstance(error, CorralError):
            if not exchange.is_started:
                raise
            log_failure(_log, exchange.request_id, error)
        requestfacts.note_error(error)
        if exchange.is_started:
            await exchange.write(body_of(error) + b"\n")
            await exchange.end_stream()
        else:
            await exchange.respond(status_of(error), body_of(error), JSON)
