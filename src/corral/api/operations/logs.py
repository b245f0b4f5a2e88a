"""The handler of `/api/logs`: the last lines of the server's log."""

from __future__ import annotations

from urllib.parse import parse_qs

from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.errors import InvalidRequestError
from corral.golang.json import encode
from corral.golang.time import format_local_time
from corral.recentlog import Line, RecentLines

_MAX_DIGITS = 18
_MAX_QUERY_BYTES = 200
_NS_PER_S = 10**9


class LogsHandler:
    """For administrators: the log names the models, keys and addresses of everybody."""

    def __init__(self, lines: RecentLines) -> None:
        self._lines = lines

    async def get(self, exchange: Exchange) -> None:
        """With `after=NUMBER` only what came since."""
        found = self._lines.since(_after(exchange.query))
        body = encode({"lines": [_fields(line) for line in found]})
        await exchange.respond(200, body, JSON_UTF8, [(b"cache-control", b"no-store")])


def _after(query: bytes) -> int:
    text = parse_qs(query[:_MAX_QUERY_BYTES].decode("latin-1")).get("after", ["0"])[-1]
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InvalidRequestError("after is not the number of a line")
    return int(text)


def _fields(line: Line) -> dict[str, object]:
    return {
        "number": line.number,
        "at": format_local_time(int(line.at_s * _NS_PER_S)),
        "level": line.level,
        "logger": line.logger,
        "message": line.message,
    }
