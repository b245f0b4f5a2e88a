"""Errors about kept responses, in OpenAI's words."""

from __future__ import annotations

from corral import requestfacts
from corral.api.http.exchange import JSON, Exchange
from corral.errors import CorralError
from corral.golang.json import encode
from corral.responses.store import ItemNotFoundError, ResponseNotFoundError


async def answer_missing(exchange: Exchange, error: CorralError, *, previous_id: str = "") -> None:
    """Answer that something is not kept (any more); `previous_id` is what a request wanted to continue from.

    Raises:
        CorralError: the error is about something else.
    """
    if not isinstance(error, ItemNotFoundError | ResponseNotFoundError):
        raise error
    requestfacts.note_error(error)
    status, param, code = 404, None, None
    message = str(error)
    if isinstance(error, ItemNotFoundError):
        param = "input"
    elif previous_id:
        status, param, code = 400, "previous_response_id", "previous_response_not_found"
        message = f"Previous response with id '{previous_id}' not found."
    body = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    await exchange.respond(status, encode({"error": body}) + b"\n", JSON)
