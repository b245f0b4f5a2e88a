"""Tables of routes, and the router made of them: exact paths, one parameter, redirects and 405 answers like gin's."""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Literal
from urllib.parse import quote

from corral import caller
from corral.api.http.exchange import Exchange
from corral.api.http.limits import NO_LIMIT
from corral.api.reading.schema import Answer, Body

Handler = Callable[[Exchange], Awaitable[None]]
# What a caller must be allowed to do. "open": nothing, it learns no more than that a server runs and what its API is;
# "key": have a key, whatever it is for; "account": act as the owner of this machine's key. The others are scopes of
# keys (`caller.py`).
Scope = Literal["open", "key", "account"] | caller.Scope
_SCOPES = frozenset({"open", "key", "account", *caller.SCOPES})

_PATH_SAFE = "/!$&'()*+,;=:@-._~"
# Of a path that has its escapes.
_ESCAPED_SAFE = _PATH_SAFE + "%"
_ALLOW_ORDER = ("HEAD", "GET", "POST", "DELETE")


@dataclass(frozen=True, slots=True)
class Route:
    """An entry of a surface's table: everything that the router, the steps and `/openapi.json` know of a route.

    `methods` are like `"GET HEAD"`. `/:name` in `path` takes one parameter of one segment; one segment may follow it.
    `reads` is the body of a request, `answers` that of an answer (None: there is none), `streams` the content type of
    an answer in pieces. `limit_bytes` bounds the body besides CORRAL_MAX_BODY_BYTES (see `limits.py`).
    `statuses` are those of success. `is_read_only`: of the scope manage, yet it changes no model.

    Raises:
        ValueError: the scope is none. A route that nobody is kept from must say so.
    """

    methods: str
    path: str
    handler: Handler
    summary: str
    _: KW_ONLY
    scope: Scope
    reads: Body | None = None
    answers: Answer | None = None
    streams: Literal["", "application/x-ndjson", "text/event-stream"] = ""
    limit_bytes: int = NO_LIMIT
    statuses: tuple[int, ...] = (200,)
    is_read_only: bool = False

    def __post_init__(self) -> None:
        if self.scope not in _SCOPES:
            raise ValueError(f"{self.path} has no scope: {self.scope!r}")


@dataclass(frozen=True, slots=True)
class Surface:
    """The routes of one API. `encode_error` writes errors (None: in the native form), `error` describes them.

    `title` is the heading in the description; a surface without one is not described.
    """

    name: str
    title: str
    routes: tuple[Route, ...]
    error: Answer
    encode_error: Callable[[int, str, str], bytes] | None = None


_Entry = tuple[Route, Surface]


class Router:
    """Finds the route of a request."""

    def __init__(self, surfaces: Iterable[Surface]) -> None:
        self._exact: dict[str, dict[str, _Entry]] = {}
        # By what stands before the parameter and after it.
        self._around: dict[tuple[str, str], tuple[str, dict[str, _Entry]]] = {}
        self._mounted: dict[str, Callable[[Exchange], Route]] = {}
        for surface in surfaces:
            for route in surface.routes:
                self._add(route, surface)

    def _add(self, route: Route, surface: Surface) -> None:
        before, colon, rest = route.path.partition(":")
        name, slash, last = rest.partition("/")
        if colon:
            table = self._around.setdefault((before, slash + last), (name, {}))[1]
        else:
            table = self._exact.setdefault(route.path, {})
        for method in route.methods.split():
            table[method] = (route, surface)

    def mount(self, folder: str, find: Callable[[Exchange], Route]) -> None:
        """Leave everything below a first path segment like `v2` to other rules, which always find a route."""
        self._mounted[folder] = find

    def find(self, exchange: Exchange) -> Handler:
        """Set the exchange's route and its form of errors; the handler, or what answers that there is none."""
        path = exchange.path
        if self._mounted and (find := self._mounted.get(path[1:].partition("/")[0])) is not None:
            exchange.route = find(exchange)
            exchange.surface = "registry"
            return exchange.route.handler
        if (table := self._table(exchange, path)) is not None:
            if entry := table.get(exchange.method):
                exchange.route, surface = entry
                exchange.surface = surface.name
                exchange.error_encoder = surface.encode_error
                return exchange.route.handler
            allow = ", ".join(method for method in _ALLOW_ORDER if method in table)
            exchange.extra_headers.append((b"allow", allow.encode("ascii")))
            return _refuse_method
        if (cleaned := _cleaned(exchange.raw_path)) != exchange.raw_path:
            return partial(_redirect, 307, _with_query(cleaned, exchange.query, _ESCAPED_SAFE))
        stripped = path.removesuffix("/")
        if stripped != path and self._has(exchange, stripped):
            status = 301 if exchange.method == "GET" else 307
            return partial(_redirect, status, _with_query(stripped, exchange.query))
        return _answer_unknown

    def _table(self, exchange: Exchange, path: str) -> Mapping[str, _Entry] | None:
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


async def _refuse_method(exchange: Exchange) -> None:
    await exchange.respond(405, b"405 method not allowed", "text/plain")


async def _answer_unknown(exchange: Exchange) -> None:
    await exchange.respond(404, b"404 page not found", "text/plain")


async def _redirect(status: int, location: str, exchange: Exchange) -> None:
    await exchange.respond(status, headers=[(b"location", location.encode("latin-1"))])


def _cleaned(path: str) -> str:
    """A path as it was sent without doubled slashes and dots: Go's web server redirects to it, known or not."""
    cleaned = posixpath.normpath(path).replace("//", "/")
    return f"{cleaned}/" if path.endswith("/") and cleaned != "/" else cleaned


def _with_query(path: str, query: bytes, safe: str = _PATH_SAFE) -> str:
    # A path may hold anything once it is decoded: line ends, for one.
    quoted = quote(path, safe=safe, encoding="utf-8" if safe is _PATH_SAFE else "latin-1")
    return f"{quoted}?{query.decode('latin-1')}" if query else quoted
