"""What is learned about one HTTP request on its way through the layers, for its line in the log.

The application sets a `RequestFacts` at the start of a request. Whoever learns something writes it there; a task that
a request starts inherits the same object. Outside a request the object is one that nobody reads.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from corral import errorwords, tracenotes
from corral.line import Turn
from corral.types import Waits
from corral.urlsecrets import without_userinfo

# Bounds of the times between tokens that are counted: OpenTelemetry's and vLLM's, in seconds.
GAP_BOUNDS_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_GAP_BOUNDS_NS = tuple(int(bound * 1e9) for bound in GAP_BOUNDS_S)
_MAX_NAME_CHARS = 100
_MAX_TARGETS = 32


@dataclass(slots=True)
class RequestFacts:
    """Counts in tokens, summed over all engine calls of the request; durations in nanoseconds.

    `model` is the name as the client gave it, `served_model` that of the model that was granted to the request, and
    `wanted_model` the same while it still waits. `stage`: what the request does with the model since `stage_ns`
    (`time.perf_counter_ns`): wait for it to be loaded or for others to leave (`queued`), wait for a slot (`slot`), or
    work; empty: nothing. `begun_ns` and `first_piece_ns` are such times too: the request's arrival, and the first
    piece of its reply (0: there was none). `gap_counts` are the times between tokens, counted by `GAP_BOUNDS_S`,
    `gap_ns` is their sum; tokens that arrive together have no time between them. `queue_ns`: waiting for other loads,
    evictions and engine slots. `load_ns`: waiting for the load of the model. `error`: what was answered in place of a
    result. `targets`: short names of the models that were asked for. `devices`: where the
    model is, on a machine with GPUs; `fallback`: why it is not all on them.
    """

    request_id: str = ""
    model: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    tokens: int = 0
    predicted_ns: int = 0
    guessed_tokens: int = 0
    accepted_tokens: int = 0
    queue_ns: int = 0
    load_ns: int = 0
    devices: str = ""
    fallback: str = ""
    error: str = ""
    targets: list[str] = field(default_factory=list)
    # Empty if the request is not traced.
    trace_id: str = ""
    served_model: str = ""
    wanted_model: str = ""
    stage: Literal["", "queued", "slot", "running"] = ""
    stage_ns: int = 0
    # Where it waits, as long as it does.
    turn: Turn | None = None
    begun_ns: int = field(default_factory=time.perf_counter_ns)
    first_piece_ns: int = 0
    piece_count: int = 0
    gap_ns: int = 0
    gap_counts: list[int] = field(default_factory=lambda: [0] * (len(GAP_BOUNDS_S) + 1))
    # Of a request in a cluster: the node that it was sent to, why, and whether that is another server.
    node: str = ""
    why: str = ""
    is_elsewhere: bool = False
    # Whether the client wants to know what it waited for.
    wants_waits: bool = False
    # Called when the request begins to wait, once.
    on_wait: Callable[[], None] | None = None
    _last_piece_ns: int = 0

    def enter(self, stage: Literal["", "queued", "slot", "running"], turn: Turn | None = None) -> None:
        """Note what the request does from now on; `turn`: where it waits."""
        if self.stage == "slot":
            tracenotes.note_wait(self.stage_ns, 0, 0)
        self.stage, self.stage_ns, self.turn = stage, time.perf_counter_ns(), turn
        if self.on_wait is not None and stage in ("queued", "slot"):
            on_wait, self.on_wait = self.on_wait, None
            on_wait()

    @property
    def reply_ns(self) -> int:
        """From the first piece of the reply to the last one so far."""
        return max(self._last_piece_ns - self.first_piece_ns, 0)

    def note_pieces(self, count: int) -> None:
        """Note that the next tokens of the reply have come, together."""
        now_ns = time.perf_counter_ns()
        if self.first_piece_ns:
            gap_ns = now_ns - self._last_piece_ns
            self.gap_ns += gap_ns
            self.gap_counts[bisect_left(_GAP_BOUNDS_NS, gap_ns)] += 1
        else:
            self.first_piece_ns = now_ns
        self.gap_counts[0] += count - 1
        self.piece_count += count
        self._last_piece_ns = now_ns

    def note_tokens(self, prompt_tokens: int, cached_tokens: int, tokens: int, predicted_ns: int = 0) -> None:
        """Add what one engine call has read and produced."""
        self.prompt_tokens += prompt_tokens
        self.cached_tokens += cached_tokens
        self.tokens += tokens
        self.predicted_ns += predicted_ns

    def note_guesses(self, guessed_tokens: int, accepted_tokens: int) -> None:
        """Add how many tokens were guessed ahead, and how many of them were right."""
        self.guessed_tokens += guessed_tokens
        self.accepted_tokens += accepted_tokens

    def waits(self) -> Waits | None:
        """What the client waited for until now, if it asked."""
        if not self.wants_waits or not self.first_piece_ns:
            return None
        gap_ns = self.gap_ns // max(self.piece_count - 1, 1)
        return Waits(self.first_piece_ns - self.begun_ns, self.queue_ns, self.load_ns, gap_ns)

    def values(self) -> dict[str, int | float | str]:
        """The facts that apply, by their names in the log; nothing for a request without a model. Times in ms."""
        found: dict[str, int | float | str] = {}
        if self.model:
            found["model"] = without_userinfo(self.model)
        if self.prompt_tokens:
            found["prompt_tokens"] = self.prompt_tokens
        if self.cached_tokens:
            found["cached"] = self.cached_tokens
        if self.tokens:
            found["tokens"] = self.tokens
        if self.guessed_tokens:
            found["guessed"] = self.guessed_tokens
            found["accepted"] = self.accepted_tokens
        if self.queue_ns:
            found["queue_ms"] = round(self.queue_ns / 1e6, 1)
        if self.load_ns:
            found["load_ms"] = round(self.load_ns / 1e6, 1)
        if self.tokens and self.predicted_ns:
            found["tok_s"] = round(self.tokens * 1e9 / self.predicted_ns, 1)
        if self.node:
            found["node"] = self.node
            found["why"] = self.why
        if self.devices:
            found["devices"] = self.devices
        if self.fallback:
            found["fallback"] = self.fallback
        if self.trace_id:
            found["trace"] = self.trace_id
        if self.error:
            found["error"] = self.error
        return found

    def words(self) -> str:
        """The same as ` key=value` words for a log line."""
        return "".join(f" {name}={_word(name, value)}" for name, value in self.values().items())


def _word(name: str, value: object) -> object:
    if name == "model":
        return named(str(value))
    return json.dumps(value) if name == "fallback" else value


_current: ContextVar[RequestFacts | None] = ContextVar("request_facts", default=None)


def begin(request_id: str) -> RequestFacts:
    """Make the facts of a request that begins in this task."""
    facts = RequestFacts(request_id)
    _current.set(facts)
    return facts


def current() -> RequestFacts:
    """The facts of the request that this task works for."""
    return _current.get() or RequestFacts()


def note_target(name: str) -> None:
    """Remember a model that the request asks for; the first ones only."""
    targets = current().targets
    if len(targets) < _MAX_TARGETS and name not in targets:
        targets.append(name)


def note_error(error: BaseException) -> None:
    """Remember the error that the request is answered with. Its text only: a traceback would keep the body alive."""
    current().error = errorwords.logged(error)


def named(name: str) -> str:
    """A model's name from a client as one bounded word of a log line: quoted unless it is plain."""
    short = without_userinfo(name)[:_MAX_NAME_CHARS]
    return (
        short
        if short.isascii() and short.isprintable() and not set(short) & set(' "=')
        else json.dumps(short)
    )
