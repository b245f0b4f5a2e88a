"""The handler of `/v1/systemone`."""

from __future__ import annotations

import secrets

from corral import requestfacts
from corral.api.http.bodies import read_compatible
from corral.api.http.errors import body_of, compatible_status_of, error_body
from corral.api.http.exchange import JSON_UTF8, BodyTooLargeError, ClientGoneError, Exchange
from corral.api.systemone.encode import decisions_object
from corral.api.systemone.protocol import read_systemone
from corral.errors import CorralError
from corral.golang.json import encode
from corral.inference.decision import DecisionRequest
from corral.inference.pipeline import Inference


class DecisionHandlers:
    """The handler on one inference service."""

    def __init__(self, service: Inference) -> None:
        self._service = service

    async def decide(self, exchange: Exchange) -> None:
        """Errors have the native form, and the statuses of the compatible surfaces, as in Ollama."""
        request_id = b"req_" + secrets.token_hex(16).encode("ascii")
        exchange.extra_headers.append((b"x-typesafe-request-id", request_id))
        try:
            request = await read_compatible(exchange, read_systemone)
            await exchange.run_watched(self._answer(exchange, request))
        except ClientGoneError:
            raise
        except BodyTooLargeError as error:
            text = f"request body must not exceed {error.limit_bytes >> 20} MiB"
            exchange.extra_headers.append((b"connection", b"close"))  # the rest of the body is of no use
            await exchange.respond(413, error_body(text), JSON_UTF8)
        except CorralError as error:
            if exchange.is_started:
                raise
            requestfacts.note_error(error)
            await exchange.respond(compatible_status_of(error), body_of(error), JSON_UTF8)

    async def _answer(self, exchange: Exchange, request: DecisionRequest) -> None:
        result = await self._service.decide(request)
        await exchange.respond(200, encode(decisions_object(request, result)), JSON_UTF8)
