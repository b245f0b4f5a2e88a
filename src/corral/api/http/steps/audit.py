"""Writes down who changed what: acts of the scopes manage, admin, account and registry:push, done or refused."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from corral import caller, requestfacts
from corral.access.audit import Act, AuditLog
from corral.access.auditbodies import recorded_body
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler, Route

_log = logging.getLogger("corral.audit")
_ACTS = frozenset({"manage", "admin", "account", "registry:push"})
# Neither looks nor the pieces of an upload, whose end is an act.
_NO_ACTS = frozenset({"GET", "HEAD", "PATCH"})
_REFUSALS = frozenset({403, 429})
_STATUS_GONE = 499


class Audit:
    """The step, outside of the one that answers errors. `is_on` is asked at each act."""

    def __init__(self, log: AuditLog, is_on: Callable[[], bool], *, keeps_bodies: bool = False) -> None:
        self._log = log
        self._is_on = is_on
        self._keeps_bodies = keeps_bodies

    async def __call__(self, exchange: Exchange, following: Handler) -> None:
        started_s = time.perf_counter()
        body = _watched_body(exchange) if self._keeps_bodies else None
        try:
            await following(exchange)
        finally:
            route = exchange.route
            if route is not None and _is_act(route, exchange) and self._is_on():
                act = _act_of(exchange, route, (time.perf_counter() - started_s) * 1000)
                # A server that stops still writes what was done.
                await asyncio.shield(asyncio.to_thread(self._write, act, body[-1] if body else b""))

    def _write(self, act: Act, body: bytes) -> None:
        try:
            self._log.write(replace(act, body=recorded_body(body)) if body else act)
        except OSError as exc:
            _log.error("an act is not in the audit log act=%s actor=%s: %s", act.act, act.actor, exc)


def _watched_body(exchange: Exchange) -> list[bytes]:
    """A list that gets the body of an act when it is read, unpacked. Uploads are not read as a whole, nor kept."""
    found: list[bytes] = []
    other = exchange.keep_body

    async def keep(path: str, body: bytes) -> None:
        if exchange.route is not None and _is_act(exchange.route, exchange):
            found[:] = [body]
        if other is not None:
            await other(path, body)

    exchange.keep_body = keep
    return found


def _is_act(route: Route, exchange: Exchange) -> bool:
    """Strangers without a key cannot fill the log: they are refused before they do anything."""
    if exchange.status == 401 or route.scope not in _ACTS:
        return False
    return route.scope == "admin" or exchange.method not in _NO_ACTS


def _act_of(exchange: Exchange, route: Route, ms: float) -> Act:
    who, facts = caller.current(), requestfacts.current()
    keyless = "local" if exchange.client.is_local else "anonymous"
    return Act(
        actor=f"{who.key_id} {who.name}" if who.key_id else keyless,
        address=exchange.client.address,
        act=f"{exchange.method} {route.path}",
        target=tuple(facts.targets) or tuple(exchange.params.values()) or _path_of(exchange, route),
        result=_result_of(exchange, facts.error),
        request_id=exchange.request_id,
        ms=ms,
    )


def _path_of(exchange: Exchange, route: Route) -> tuple[str, ...]:
    """What a path names where it has no parameters, as below `/v2/`."""
    return (exchange.path,) if ":" in route.path else ()


def _result_of(exchange: Exchange, error: str) -> str:
    if exchange.status in _REFUSALS:
        return f"refused {exchange.status}"
    if exchange.status == _STATUS_GONE:
        return "abandoned"
    return f"failed {exchange.status}" if error or exchange.status >= 400 or not exchange.status else "done"
