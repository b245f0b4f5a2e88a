"""What one server of the cluster tells another beside a request and its answer: for whom, and what was used."""

from __future__ import annotations

import asyncio

import orjson

from corral import caller, deadline, hops, requestfacts, tracenotes
from corral.api.http.exchange import Exchange
from corral.api.http.routing import Handler
from corral.cluster.peers.wire import Headers
from corral.golang.json import encode
from corral.requestfacts import RequestFacts

USAGE = b"x-corral-usage"
NODE = b"x-corral-node"
_ACKNOWLEDGE_S = 0.02
_MAX_COUNT = 1 << 40
_MAX_WORD_CHARS = 100
# What handlers read of a request. Nothing else goes on, above all no key.
_PASSED = frozenset({b"accept", b"content-type", b"user-agent", b"x-corral-metrics", b"x-corral-session"})
_TRACE = (b"traceparent", b"tracestate")
# Of an answer: what belongs to one connection, or what this server says itself.
_DROPPED = frozenset(
    {
        b"connection",
        b"content-length",
        b"content-type",
        b"date",
        b"keep-alive",
        b"proxy-authenticate",
        b"server",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"www-authenticate",
        b"x-request-id",
        NODE,
        USAGE,
        *_TRACE,
    }
)


async def serve_hop(exchange: Exchange, following: Handler) -> None:
    """Serve what another server passes on: say soon that it is here, and in the end what was used."""
    # An answer that comes at once says so itself.
    timer = asyncio.get_running_loop().call_later(_ACKNOWLEDGE_S, exchange.acknowledge)
    facts = requestfacts.current()
    exchange.trailers = lambda: [(USAGE, usage_of(facts, exchange.failure))]
    try:
        await following(exchange)
    finally:
        timer.cancel()


def target_of(exchange: Exchange) -> bytes:
    """The path and the query as they came, with what no request line may hold left out."""
    query = b"?" + exchange.query if exchange.query else b""
    return exchange.raw_path.encode("latin-1") + query


def request_headers(exchange: Exchange, gateway: str, predict: int, *, is_unpacked: bool = False) -> Headers:
    """What goes on of a request, without what shows that this server is one of the cluster."""
    found = [header for header in exchange.all_headers if header[0] in _PASSED]
    found.append((b"x-request-id", exchange.request_id.encode("ascii")))
    found.append((hops.HEADER, hops.header_value(gateway, caller.current(), predict)))
    traced = tracenotes.outgoing_headers()
    if traced:
        found += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in traced.items()]
    else:
        found += [header for header in exchange.all_headers if header[0] in _TRACE]
    if (at_s := deadline.current()) is not None:
        left_s = max(at_s - asyncio.get_running_loop().time(), 0.001)
        found.append((b"x-corral-deadline", b"%.3f" % left_s))
    return found


def answer_headers(headers: Headers) -> Headers:
    """What of a node's answer is for the client."""
    return [header for header in headers if header[0] not in _DROPPED]


def header_of(headers: Headers, name: bytes) -> str:
    """The first of a name, or an empty text."""
    return next((value.decode("latin-1") for known, value in headers if known == name), "")


def usage_of(facts: RequestFacts, failure: str) -> bytes:
    """What a request has used, for the server that counts it."""
    values = {
        "model": facts.served_model,
        "prompt": facts.prompt_tokens,
        "cached": facts.cached_tokens,
        "tokens": facts.tokens,
        "predicted_ns": facts.predicted_ns,
        "guessed": facts.guessed_tokens,
        "accepted": facts.accepted_tokens,
        "queue_ns": facts.queue_ns,
        "load_ns": facts.load_ns,
        "error": (failure or facts.error).partition("(")[0],
    }
    return encode({name: value for name, value in values.items() if value})


class Usage:
    """What a node says that a request has used. Untrusted: numbers are bounded, and anything else is nothing."""

    def __init__(self, text: str) -> None:
        try:
            values = orjson.loads(text) if text else {}
        except orjson.JSONDecodeError:
            values = {}
        self._values = values if isinstance(values, dict) else {}
        self.is_known = bool(self._values)

    @property
    def error(self) -> str:
        """The class of the error that was answered; empty if none was."""
        return self._word("error")

    def note(self, facts: RequestFacts) -> None:
        """Count it as used by the request of these facts."""
        facts.served_model = self._word("model") or facts.served_model
        facts.note_tokens(*map(self._count, ("prompt", "cached", "tokens", "predicted_ns")))
        facts.note_guesses(self._count("guessed"), self._count("accepted"))
        facts.queue_ns += self._count("queue_ns")
        facts.load_ns += self._count("load_ns")

    def _count(self, name: str) -> int:
        found = self._values.get(name)
        return min(max(found, 0), _MAX_COUNT) if type(found) is int else 0

    def _word(self, name: str) -> str:
        found = self._values.get(name)
        is_word = isinstance(found, str) and found.isprintable() and len(found) <= _MAX_WORD_CHARS
        return str(found) if is_word else ""
