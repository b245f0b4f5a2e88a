"""One request for a model: sent to the best node, and to another one if that fails before its answer has begun."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from time import perf_counter

import orjson

from corral import allowance, requestfacts
from corral.allowance import Reservation
from corral.api.cluster.forwarding import SHORTAGE, Passed, Sending, pass_on
from corral.api.cluster.glance import Glance
from corral.api.cluster.hopping import NODE, target_of
from corral.api.cluster.measures import ClusterMetrics
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.cluster.choose import candidates, is_free
from corral.cluster.fitting import memory_hint
from corral.cluster.peers.peers import Peers
from corral.cluster.retries import MAX_KEPT_BYTES, Attempt, may_retry
from corral.cluster.router import Routed
from corral.cluster.view import Wanted
from corral.errors import (
    InsufficientMemoryError,
    NoNodeError,
    QueueFullError,
    RunnerExitedError,
    RunnerStartError,
)

# Failures here after which another node may do better.
_ELSEWHERE = (RunnerExitedError, RunnerStartError, QueueFullError, InsufficientMemoryError)
_NAMES = frozenset(kind.__name__ for kind in _ELSEWHERE)
_STATUS_BUSY = 503


class _ElsewhereError(Exception):
    """This server would answer with an error that another node may not have."""


@dataclass(frozen=True, slots=True)
class Sender:
    """What is needed to send requests. `retries`: how many further nodes a request may go to."""

    peers: Peers
    metrics: ClusterMetrics
    retries: int = 2


class Attempts:
    """The attempts of one request, whose body was read and can be read again."""

    def __init__(
        self,
        sender: Sender,
        exchange: Exchange,
        following: Handler,
        *,
        wanted: Wanted,
        glance: Glance,
        body: bytes,
        began_s: float,
    ) -> None:
        self._sender = sender
        self._router = sender.peers.router
        self._me = sender.peers.name
        self._exchange = exchange
        self._following = following
        self._wanted = wanted
        self._glance = glance
        self._body = body
        self._began_s = began_s
        self._count = 0
        # Whether the body is where bodies are kept; the handlers here see to that themselves.
        self._is_kept = False

    async def run(self) -> None:
        """Answer the client.

        Raises:
            ClientGoneError, CorralError: as handlers do.
        """
        passed: Passed | None = None
        while True:
            routed = self._router.route(self._wanted, _now())
            if routed.sent is None:
                await self._answer_failure(passed)
                return
            self._count += 1
            self._note(routed)
            passed = await self._try(routed)
            if passed is None:
                return
            self._wanted = replace(self._wanted, tried=self._wanted.tried | {routed.decision.node})
            if not self._may_go_on(passed.meaning):
                await self._answer_failure(passed)
                return
            self._sender.metrics.retried(routed.decision.node, _reason(passed))
            facts = requestfacts.current()
            facts.error = self._exchange.failure = ""

    async def _try(self, routed: Routed) -> Passed | None:
        """One attempt, with its end told to the router whatever happens."""
        is_here = routed.decision.node == self._me
        try:
            passed = await (self._here(routed) if is_here else self._there(routed))
        except BaseException:
            self._router.ended(routed, _now(), is_whole=False)
            raise
        if passed is None:
            self._router.ended(routed, _now(), is_whole=self._exchange.status < 400)
        else:
            self._router.failed(routed, passed.meaning, _now())
        return passed

    async def _here(self, routed: Routed) -> Passed | None:
        exchange = self._exchange
        may_go_on = self._has_others()

        def before_answer(status: int) -> None:
            error = (exchange.failure or requestfacts.current().error).partition("(")[0]
            if may_go_on and status >= 500 and error in _NAMES:
                raise _ElsewhereError
            exchange.before_answer = None
            if status < 400:
                self._router.answered(routed, _now())

        exchange.before_answer = before_answer
        try:
            await self._following(exchange)
        except _ElsewhereError:
            return Passed(RunnerExitedError("the engine stopped"), _STATUS_BUSY)
        except _ELSEWHERE as error:
            is_shortage = isinstance(error, InsufficientMemoryError)
            if exchange.is_started or not (may_go_on or is_shortage):
                raise
            return Passed(error, _STATUS_BUSY)
        finally:
            exchange.before_answer = None
        return None

    async def _there(self, routed: Routed) -> Passed | None:
        exchange = self._exchange
        peer = self._sender.peers.named(routed.decision.node)
        if peer is None:
            return Passed(NoNodeError("the node has just left"), _STATUS_BUSY)
        if exchange.keep_body is not None and not self._is_kept:
            self._is_kept = True
            await exchange.keep_body(exchange.path, self._body)
        reservation = self._reserve()
        sending = Sending(
            method=exchange.method,
            target=target_of(exchange),
            body=self._body,
            gateway=self._me,
            predict=max(reservation.predict, 0) if reservation is not None else 0,
            may_go_elsewhere=self._has_others,
            prompt_bytes=self._glance.size_bytes,
            begun=lambda: self._router.answered(routed, _now()),
        )
        facts = requestfacts.current()
        before = facts.prompt_tokens + facts.tokens
        passed: list[Passed] = []

        async def work() -> None:
            if (left := await pass_on(exchange, peer, sending)) is not None:
                passed.append(left)

        try:
            await exchange.run_watched(work())
        finally:
            if reservation is not None:
                reservation.settle(facts.prompt_tokens + facts.tokens - before)
        return passed[0] if passed else None

    def _reserve(self) -> Reservation | None:
        """Set tokens aside for a limited caller: an estimate, which the node's count replaces in the end.

        Raises:
            RateLimitError
        """
        limit = allowance.current()
        if limit is None:
            return None
        return limit.reserve(self._glance.size_bytes // 4 + 1, self._glance.predict)

    def _note(self, routed: Routed) -> None:
        facts, decision = requestfacts.current(), routed.decision
        facts.node, facts.why = decision.node, decision.why.value
        facts.is_elsewhere = decision.node != self._me
        words = f"{decision.node}; why={decision.why.value}"
        if self._count > 1:
            words += f"; attempt={self._count}"
        headers = [header for header in self._exchange.extra_headers if header[0] != NODE]
        self._exchange.extra_headers = [*headers, (NODE, words.encode("ascii"))]
        seconds = perf_counter() - self._began_s
        self._sender.metrics.routed(decision.node, decision.why.value, seconds, is_first=self._count == 1)

    def _has_others(self) -> bool:
        """Whether the request could go to another node after the one that it goes to now."""
        if self._count > self._sender.retries or len(self._body) > MAX_KEPT_BYTES:
            return False
        return len(candidates(self._router.view(_now()), self._wanted)) > 1

    def _may_go_on(self, meaning: int | None) -> bool:
        attempt = Attempt(meaning, self._count, is_body_kept=len(self._body) <= MAX_KEPT_BYTES)
        view = self._router.view(_now())
        return may_retry(attempt, has_capacity=is_free(view, self._wanted), max_further=self._sender.retries)

    async def _answer_failure(self, passed: Passed | None) -> None:
        """Nothing more can be tried: what the last node said, or why there is none.

        Raises:
            CorralError
        """
        if passed is None or passed.error is not None:
            # Silence and open circuits are over soon, or last for long.
            self._exchange.retry_after_s = lambda: 1
        if passed is None:
            raise NoNodeError(
                f"no server of the cluster can take a request for {self._glance.model!r} at this moment",
                hint="corral cluster status shows why; try again in a moment",
            )
        if (short := shortage_of(passed)) is not None:
            hint = memory_hint(self._router.view(_now()), short.needed_bytes)
            raise InsufficientMemoryError(
                str(short),
                needed_bytes=short.needed_bytes,
                free_bytes=short.free_bytes,
                hint="; ".join(part for part in (short.hint, hint) if part),
            )
        if passed.error is not None:
            raise passed.error
        kind = passed.content_type or None
        await self._exchange.respond(passed.status, passed.body, kind, passed.headers)


def shortage_of(passed: Passed) -> InsufficientMemoryError | None:
    """The error of a node that had no memory for a load, if that is what was left of a request."""
    if passed.error is not None:
        return passed.error if isinstance(passed.error, InsufficientMemoryError) else None
    if passed.kind != SHORTAGE:
        return None
    try:
        found = orjson.loads(passed.body)["error"]
    except (ValueError, KeyError, TypeError):
        return None
    text = found.get("message") if isinstance(found, dict) else found
    return InsufficientMemoryError(text, needed_bytes=0, free_bytes=0) if isinstance(text, str) else None


def _reason(passed: Passed) -> str:
    if passed.meaning is None or passed.error is not None:
        return type(passed.error).__name__
    return str(passed.status)


def _now() -> float:
    return asyncio.get_running_loop().time()
