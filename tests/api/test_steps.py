"""The steps around a request: their order, and how a table's entry decides what an exchange may do."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from corral.api.http.exchange import BodyTooLargeError, Exchange
from corral.api.http.limits import BodyLimits
from corral.api.http.routing import Handler, Route, Router, Surface
from corral.api.http.steps import Step, chain
from corral.api.http.steps.dispatch import Dispatch
from corral.api.http.steps.failures import answer_errors
from corral.api.reading.schema import Answer
from corral.errors import CorralError
from tests.doubles.call import RecordedCall, exchange_of

_ERROR = Answer("Error", {})


def router_of(handler: Handler, limit_bytes: int = 1 << 62) -> Router:
    def encode(status: int, text: str, _hint: str) -> bytes:
        return f"{status} {text}".encode()

    route = Route("POST", "/a/:name", handler, "", scope="infer", limit_bytes=limit_bytes)
    return Router([Surface("a", "A", (route,), _ERROR, encode)])


def run(call: RecordedCall, router: Router, steps: list[Step], limits: BodyLimits | None = None) -> Exchange:
    """Run a call through `steps` after the route was found."""
    exchange = exchange_of(call, limits)
    dispatch = Dispatch(router)
    handle = chain([answer_errors, dispatch.find, *steps], dispatch.run)

    async def serve() -> None:
        await handle(exchange)

    asyncio.run(serve())
    return exchange


def test_steps_run_in_their_order_around_the_handler() -> None:
    order: list[str] = []

    def step(name: str) -> Step:
        async def run_step(exchange: Exchange, following: Handler) -> None:
            order.append(name)
            await following(exchange)
            order.append(f"after {name}")

        return run_step

    async def handler(exchange: Exchange) -> None:
        order.append(exchange.params["name"])
        await exchange.respond(200)

    exchange = run(RecordedCall("POST", "/a/x"), router_of(handler), [step("1"), step("2")])
    assert order == ["1", "2", "x", "after 2", "after 1"]
    assert exchange.status == 200


def test_a_step_knows_the_route_and_can_end_the_request() -> None:
    """Its errors have the form of the route's surface."""

    async def refuse(exchange: Exchange, following: Handler) -> None:
        assert exchange.route is not None
        raise CorralError(f"{exchange.route.scope} is not allowed on {exchange.route.path}")

    call = RecordedCall("POST", "/a/x")
    exchange = run(call, router_of(Mock()), [refuse])
    assert call.written == b"500 infer is not allowed on /a/:name"
    assert "infer is not allowed" in exchange.failure


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/a/x", 405), ("POST", "/b", 404)])
def test_what_no_table_has(method: str, path: str, status: int) -> None:
    """The steps run for it too, without a route."""
    seen: list[Route | None] = []

    async def look(exchange: Exchange, following: Handler) -> None:
        seen.append(exchange.route)
        await following(exchange)

    call = RecordedCall(method, path)
    run(call, router_of(Mock()), [look])
    assert (call.status, seen) == (status, [None])
    assert (b"allow", b"POST") in call.headers or status == 404


@pytest.mark.parametrize(
    ("route_bytes", "server_bytes", "bound", "can_raise"),
    [(4, 10, 4, False), (10, 4, 4, True), (4, 4, 4, False)],
)
def test_the_smaller_bound_of_a_body_holds(
    route_bytes: int, server_bytes: int, bound: int, can_raise: bool
) -> None:
    """Only the server's own is worth a hint."""
    caught: list[BodyTooLargeError] = []

    async def handler(exchange: Exchange) -> None:
        try:
            await exchange.read_body()
        except BodyTooLargeError as error:
            caught.append(error)
        await exchange.respond(200)

    router = router_of(handler, route_bytes)
    run(RecordedCall("POST", "/a/x", b"12345"), router, [], BodyLimits(server_bytes))
    assert [(error.limit_bytes, bool(error.hint)) for error in caught] == [(bound, can_raise)]
    run(RecordedCall("POST", "/a/x", b"1234"), router, [], BodyLimits(server_bytes))
    assert len(caught) == 1
