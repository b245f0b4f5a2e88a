"""Finds the handler of a request: exact paths, one parameter, redirects and 405 answers like gin's."""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from corral.api.http.exchange import Exchange

Handler = Callable[[Exchange], Awaitable[None]]

_PATH_SAFE = "/!$&'()*+,;=:@-._~"
# Of a path that has its escapes.
_ESCAPED_SAFE = _PATH_SAFE + "%"
_ALLOW_ORDER = ("HEAD", "GET", "POST", "DELETE")


@dataclass(frozen=True, slots=True)
class Match:
    """What a request met: a handler, or a redirect, or the methods that the path has (none: unknown path)."""

    handler: Handler | None = None
    redirect_status: int = 0
    location: str = ""
    allow: str = ""


class Router:
    """Routes by method and path. `/:name` in a path takes one parameter of one segment; one segment may follow it."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[str, Handler]] = {}
        # By what stands before the parameter and after it.
        self._around: dict[tuple[str, str], tuple[str, dict[str, Handler]]] = {}
        self._mounted: dict[str, Handler] = {}

    def add(self, methods: str, path: str, handler: Handler) -> None:
        """Add a handler for methods like `"GET HEAD"`."""
        before, colon, rest = path.partition(":")
        name, slash, last = rest.partition("/")
        around = (before, slash + last)
        table = self._around.setdefault(around, (name, {}))[1] if colon else self._exact.setdefault(path, {})
        for method in methods.split():
            table[method] = handler

    def mount(self, folder: str, handler: Handler) -> None:
        """Give everything below a first path segment like `v2` to a handler that has rules of its own."""
        self._mounted[folder] = handler

    def routes(self) -> list[tuple[str, str]]:
        """Method and path of every handler but the mounted ones, parameters as `{name}`."""
        tables = [
            *self._exact.items(),
            *(
                (f"{before}{{{name}}}{after}", table)
                for (before, after), (name, table) in self._around.items()
            ),
        ]
        return [(method, path) for path, table in tables for method in table]

    def match(self, exchange: Exchange) -> Match:
        path = exchange.path
        if self._mounted and (mounted := self._mounted.get(path[1:].partition("/")[0])) is not None:
            return Match(mounted)
        if (table := self._table(exchange, path)) is not None:
            if handler := table.get(exchange.method):
                return Match(handler)
            return Match(allow=", ".join(method for method in _ALLOW_ORDER if method in table))
        if (cleaned := _cleaned(exchange.raw_path)) != exchange.raw_path:
            return Match(redirect_status=307, location=_with_query(cleaned, exchange.query, _ESCAPED_SAFE))
        stripped = path.removesuffix("/")
        if stripped != path and self._has(exchange, stripped):
            status = 301 if exchange.method == "GET" else 307
            return Match(redirect_status=status, location=_with_query(stripped, exchange.query))
        return Match()

    def _table(self, exchange: Exchange, path: str) -> Mapping[str, Handler] | None:
        if table := self._exact.get(path):
            return table
        head, _, last = path.rpartition("/")
        start, _, middle = head.rpartition("/")
        for value, around in ((last, (head + "/", "")), (middle, (start + "/", "/" + last))):
            if value and (entry := self._around.get(around)):
                exchange.params[entry[0]] = value
                return entry[1]
        return None

    def _has(self, exchange: Exchange, path: str) -> bool:
        table = self._table(exchange, path)
        return table is not None and exchange.method in table


def _cleaned(path: str) -> str:
    """A path as it was sent without doubled slashes and dots: Go's web server redirects to it, known or not."""
    cleaned = posixpath.normpath(path).replace("//", "/")
    return f"{cleaned}/" if path.endswith("/") and cleaned != "/" else cleaned


def _with_query(path: str, query: bytes, safe: str = _PATH_SAFE) -> str:
    # A path may hold anything once it is decoded: line ends, for one.
    quoted = quote(path, safe=safe, encoding="utf-8" if safe is _PATH_SAFE else "latin-1")
    return f"{quoted}?{query.decode('latin-1')}" if query else quoted
