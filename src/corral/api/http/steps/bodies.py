"""Bodies of inference requests and of their answers in the log, where that is wanted (CORRAL_LOG_BODIES)."""

from __future__ import annotations

import json
import logging

from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler

_log = logging.getLogger("corral.bodies")
# Of each body; a line of the log is bounded too.
_MAX_BYTES = 2000


class LogBodies:
    """The step, outside of the one that answers errors. Bodies of other routes may hold secrets: they stay out."""

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        other = exchange.keep_body

        async def keep(path: str, body: bytes) -> None:
            _write("body", exchange, body)
            if other is not None:
                await other(path, body)

        exchange.keep_body, exchange.kept_answer = keep, bytearray()
        try:
            await following(exchange)
        finally:
            _write("answer", exchange, exchange.kept_answer)


def _write(what: str, exchange: Exchange, data: bytes | bytearray) -> None:
    if exchange.route is None or exchange.route.scope != "infer" or exchange.method != "POST":
        return
    text = data[:_MAX_BYTES].decode("utf-8", "replace") + ("..." if len(data) > _MAX_BYTES else "")
    fields = {"request": exchange.request_id, "path": exchange.path, what: text}
    _log.info(
        "%s request=%s path=%s text=%s",
        what,
        exchange.request_id,
        exchange.path,
        json.dumps(text, ensure_ascii=False),
        extra={"fields": fields},
    )
