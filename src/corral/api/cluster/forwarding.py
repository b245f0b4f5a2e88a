"""One request at one other node: sent, and its answer passed on as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns

from corral import requestfacts
from corral.api.cluster.endings import Pieces, last_words
from corral.api.cluster.hopping import USAGE, Usage, answer_headers, header_of, request_headers
from corral.api.http.exchange import Exchange
from corral.cluster.peers.peer import Peer
from corral.cluster.peers.wire import Answer, Headers
from corral.errors import CorralError, NodeError

# A node that has not said by then that it has a request is stopped, or cut off.
ACKNOWLEDGED_S = 1.0
# Answers up to this size are passed on when they are whole, so that one that breaks off can be had elsewhere.
_WHOLE_BYTES = 1 << 20
_MAX_ERROR_BYTES = 1 << 20
# Ends of a request at one node after which another one may do better, whatever the status.
_MAY_PASS_ELSEWHERE = frozenset(
    {
        "InsufficientMemoryError",
        "QueueFullError",
        "RunnerExitedError",
        "RunnerStartError",
        "ServerBusyError",
        "ServerStoppingError",
    }
)
SHORTAGE = "InsufficientMemoryError"
_STATUS_MISSING = 404
_STATUS_BUSY = 503


@dataclass(slots=True)
class Passed:
    """How it went. `error`: there is no answer; else what the node answered, which the client has not got.

    `meaning`: the status by which is decided whether to try another node; None: there is no answer.
    """

    error: CorralError | None = None
    meaning: int | None = None
    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    content_type: str = ""
    # The class of the error that the node answered.
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Sending:
    """What is sent. `begun` is called when the client is about to get the first bytes of a good answer.

    `may_go_elsewhere`: whether another node could be asked next; looked at only if the answer is an error.
    """

    method: str
    target: bytes
    body: bytes
    gateway: str
    predict: int = 0
    may_go_elsewhere: Callable[[], bool] = lambda: False
    prompt_bytes: int = 0
    begun: Callable[[], None] = lambda: None


async def pass_on(exchange: Exchange, peer: Peer, sending: Sending) -> Passed | None:
    """Send a request to a node and its answer to the client; what is left to do if the client got nothing, or None.

    Cancelled if the client leaves; then the node stops working on it.
    """
    headers = request_headers(exchange, sending.gateway, sending.predict) + peer.headers()
    for is_fresh in (False, True):
        try:
            answer = await peer.client.send(
                sending.method, sending.target, headers, sending.body, is_fresh=is_fresh
            )
        except NodeError as error:
            peer.doubt()
            return Passed(error)
        try:
            return await _converse(exchange, peer, answer, sending)
        except _StaleConnectionError:
            continue
        finally:
            peer.waiting.discard(answer)
            peer.running.discard(answer)
            peer.client.release(answer)
    return Passed(NodeError("the node closed the connection before it answered"))


class _StaleConnectionError(Exception):
    """The node had closed a connection that was kept; it has not seen the request."""


async def _converse(exchange: Exchange, peer: Peer, answer: Answer, sending: Sending) -> Passed | None:
    peer.waiting.add(answer)
    timer = asyncio.get_running_loop().call_later(ACKNOWLEDGED_S, _check, peer, answer)
    try:
        await answer.wait_head()
        if not _is_good(answer, sending):
            return await _failed(answer)
        first, is_whole = await _beginning(answer)
    except NodeError as error:
        if answer.is_reused and not (answer.is_aborted or answer.acknowledged.result()):
            raise _StaleConnectionError from None
        return Passed(error)
    finally:
        timer.cancel()
    peer.waiting.discard(answer)
    peer.running.add(answer)
    if answer.status < 400:
        sending.begun()
    await _deliver(exchange, answer, first, is_whole=is_whole, sending=sending)
    return None


def _check(peer: Peer, answer: Answer) -> None:
    if not answer.acknowledged.done():
        answer.abort()
        peer.doubt()


def _is_good(answer: Answer, sending: Sending) -> bool:
    """Whether the answer is for the client, as far as its head says."""
    if answer.status < 400:
        return True
    usage = Usage(header_of(answer.headers, USAGE))
    if not sending.may_go_elsewhere():
        return usage.error != SHORTAGE  # the gateway knows where there is more memory
    return not (
        answer.status in (502, _STATUS_BUSY, 429, _STATUS_MISSING) or usage.error in _MAY_PASS_ELSEWHERE
    )


async def _failed(answer: Answer) -> Passed:
    """An answer that is only for the client if no other node has a better one."""
    body = await answer.read(_MAX_ERROR_BYTES)
    usage = Usage(header_of(answer.headers, USAGE))
    is_node = usage.error in _MAY_PASS_ELSEWHERE or answer.status == _STATUS_MISSING
    return Passed(
        None,
        _STATUS_BUSY if is_node else answer.status,
        answer.status,
        answer_headers(answer.headers),
        body,
        header_of(answer.headers, b"content-type"),
        usage.error,
    )


async def _beginning(answer: Answer) -> tuple[bytes, bool]:
    """The first bytes, and whether they are all: a small answer is waited for as a whole."""
    size = header_of(answer.headers, b"content-length")
    if size.isdecimal() and int(size) <= _WHOLE_BYTES:
        return await answer.read(_WHOLE_BYTES), True
    return await answer.next_bytes(), False


async def _deliver(
    exchange: Exchange, answer: Answer, first: bytes, *, is_whole: bool, sending: Sending
) -> None:
    facts = requestfacts.current()
    facts.first_piece_ns = perf_counter_ns()
    kind = header_of(answer.headers, b"content-type") or None
    headers = answer_headers(answer.headers)
    if is_whole:
        _count(Usage(header_of(answer.headers, USAGE)), sending, 0)
        await exchange.respond(answer.status, first, kind, headers)
        return
    pieces = Pieces(kind or "")
    try:
        await exchange.start_stream(kind or "application/octet-stream", answer.status, headers)
        await _stream(exchange, answer, first, pieces)
    except NodeError as error:
        _count(Usage(""), sending, pieces.count)
        if pieces.is_over:  # the client has everything
            await exchange.end_stream()
            return
        requestfacts.note_error(error)
        words = last_words(exchange.surface, error, pieces)
        if not words:
            raise
        await exchange.write(words)
        await exchange.end_stream()
    except asyncio.CancelledError:
        _count(Usage(""), sending, pieces.count)
        raise
    else:
        _count(Usage(header_of(answer.trailers, USAGE)), sending, pieces.count)


async def _stream(exchange: Exchange, answer: Answer, data: bytes, pieces: Pieces) -> None:
    """Raises NodeError: the node broke off."""
    while data:
        if whole := pieces.feed(data):
            await exchange.write(whole)
        data = await answer.next_bytes()
    if rest := pieces.rest():
        await exchange.write(rest)
    await exchange.end_stream()


def _count(usage: Usage, sending: Sending, pieces: int) -> None:
    """Count what was used; where the node could not say, what was seen of it."""
    facts = requestfacts.current()
    if usage.is_known:
        usage.note(facts)
        if usage.error and not facts.error:
            facts.error = usage.error
    elif pieces:
        facts.note_tokens(sending.prompt_bytes // 4, 0, pieces)
