"""What is measured: parts that fill one or more figures, each in one turn of one peer."""

from __future__ import annotations

import concurrent.futures
import itertools
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.duel.peers import Message, Peer
from bench.duel.prompts import PromptMaker
from bench.duel.stats import tree_rss_mb
from bench.duel.streams import PeerError, Reply

# Tokens that the template and the reply need beside a prompt that fills the context.
_MARGIN = 96
_SEED = 7


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a part does. `num_ctx`: tokens of context of one request; no prompt is longer."""

    num_ctx: int
    decode: int = 96
    stream: int = 48
    turn: int = 16
    repeat: int = 20

    @classmethod
    def quick(cls, num_ctx: int) -> Sizes:
        return cls(num_ctx, decode=64, stream=16, turn=8, repeat=5)

    def fit(self, token_count: int) -> int:
        """So many tokens of prompt, or as many as the context allows."""
        return max(min(token_count, self.num_ctx - _MARGIN - self.decode), 16)

    def history(self, token_count: int) -> int:
        """Likewise for the beginning of a conversation that grows by a few turns."""
        return max(min(token_count, self.num_ctx - _MARGIN - 5 * (self.turn + 48)), 16)


@dataclass(frozen=True, slots=True)
class Figure:
    key: str
    title: str
    unit: str
    is_lower_better: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of one peer: what it is asked is the same for every peer of the round."""

    peer: Peer
    sizes: Sizes
    make: PromptMaker


Sample = tuple[str, float]
Measure = Callable[[Turn], Iterator[Sample]]


@dataclass(frozen=True, slots=True)
class Part:
    """`model`: what has to be loaded before the turn is timed: "chat", "embed" or nothing."""

    group: str
    figures: tuple[Figure, ...]
    measure: Measure
    model: str = "chat"


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _system(text: str) -> Message:
    # Fresh text comes first in the prompt, before any system message that the template would add.
    return {"role": "system", "content": text}


def _ms(seconds: float) -> float:
    return seconds * 1000


class _Conversation:
    """A chat that goes on with the replies it got."""

    def __init__(self, turn: Turn, opening_tokens: int) -> None:
        self._turn = turn
        self._messages = [_system(turn.make.tokens(opening_tokens))]

    def say(self, seed: int | None = None) -> Reply:
        question = f"{self._turn.make.text(12)}. What do these words say?"
        self._messages.append(_user(question))
        reply = self._turn.peer.chat(self._messages, self._turn.sizes.turn, seed=seed)
        self._messages.append({"role": "assistant", "content": reply.text or "Nothing."})
        return reply


def _first_token(turn: Turn) -> Iterator[Sample]:
    messages = [_system(turn.make.tokens(turn.sizes.fit(100))), _user(turn.make.story())]
    yield "first.cold", _ms(turn.peer.chat(messages, 2).first_s)
    yield "first.warm", _ms(turn.peer.chat(messages, 2).first_s)


def _first_returning(turn: Turn) -> Iterator[Sample]:
    chat = _Conversation(turn, turn.sizes.history(300))
    chat.say()
    chat.say()
    yield "first.returning", _ms(chat.say().first_s)


def _prefill(key: str, token_count: int) -> Measure:
    def measure(turn: Turn) -> Iterator[Sample]:
        messages = [_system(turn.make.tokens(turn.sizes.fit(token_count))), _user("Go on.")]
        reply = turn.peer.chat(messages, 1)
        if not reply.prompt_count:
            raise PeerError("the server does not report how long prompts are")
        yield key, reply.prompt_count / reply.first_s

    return measure


def _decode(turn: Turn) -> Iterator[Sample]:
    messages = [_user(turn.make.story())]
    turn.peer.chat(messages, 1)  # so that the reply is nearly all decoding
    yield "decode.one", turn.peer.chat(messages, turn.sizes.decode).decode_tokens_per_s


def _together(jobs: list[Callable[[], int]]) -> tuple[int, float]:
    """The sum of what the jobs return, and the seconds that all took, started at the same time."""
    barrier = threading.Barrier(len(jobs) + 1)

    def run(job: Callable[[], int]) -> int:
        barrier.wait()
        return job()

    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        waiting = [pool.submit(run, job) for job in jobs]
        barrier.wait()
        start_s = time.perf_counter()
        total = sum(job.result() for job in waiting)
    return total, time.perf_counter() - start_s


def _streams(key: str, count: int) -> Measure:
    def measure(turn: Turn) -> Iterator[Sample]:
        prompts = [[_user(turn.make.story())] for _ in range(count)]

        def job(messages: list[Message]) -> Callable[[], int]:
            return lambda: turn.peer.chat(messages, turn.sizes.stream).token_count

        tokens, elapsed_s = _together([job(messages) for messages in prompts])
        yield key, tokens / elapsed_s

    return measure


def _chats(prefix: str, seed: int | None) -> Measure:
    def measure(turn: Turn) -> Iterator[Sample]:
        chats = [_Conversation(turn, turn.sizes.history(200)) for _ in range(8)]
        prompt, cached = 0, 0
        for number in range(4):
            for chat in chats:
                reply = chat.say(seed)
                if number:
                    prompt += reply.prompt_count
                    cached += reply.cached_count or 0
                    yield f"{prefix}.first", _ms(reply.first_s)
        if turn.peer.reports_cache and prompt:
            yield f"{prefix}.cached", 100 * cached / prompt

    return measure


def _gap(turn: Turn) -> Iterator[Sample]:
    """A stream runs, a long prompt arrives; the stream is left at its first token after the prompt's."""
    prompt = [_system(turn.make.tokens(turn.sizes.fit(8000))), _user("Go on.")]
    running = [_user(turn.make.count())]
    arrivals: list[float] = []
    has_begun, is_answered, is_over = threading.Event(), threading.Event(), threading.Event()

    def on_token(at_s: float) -> bool:
        arrivals.append(at_s)
        if len(arrivals) == 4:
            has_begun.set()
        return not is_answered.is_set()

    def run() -> None:
        try:
            turn.peer.chat(running, turn.sizes.fit(2048), on_token=on_token)
        finally:
            is_over.set()
            has_begun.set()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        stream = pool.submit(run)
        has_begun.wait(turn.peer.timeout_s)
        sent_s = time.perf_counter()
        try:
            reply = None if is_over.is_set() else turn.peer.chat(prompt, 1)
        finally:
            is_answered.set()
        stream.result()
    gaps = [b - a for a, b in itertools.pairwise(arrivals) if b > sent_s]
    if reply is None or not gaps:
        raise PeerError("the running reply ended before the long prompt arrived")
    yield "gap.longest", _ms(max(gaps))
    yield "gap.first", _ms(reply.first_s)


def _embed_one(turn: Turn) -> Iterator[Sample]:
    for _ in range(turn.sizes.repeat):
        text = turn.make.text(16)
        start_s = time.perf_counter()
        turn.peer.embed([text])
        yield "embed.one", _ms(time.perf_counter() - start_s)


def _embed_batch(turn: Turn) -> Iterator[Sample]:
    texts = [turn.make.text(16) for _ in range(64)]
    start_s = time.perf_counter()
    turn.peer.embed(texts)
    yield "embed.batch", len(texts) / (time.perf_counter() - start_s)


def _embed_clients(turn: Turn) -> Iterator[Sample]:
    texts = [turn.make.text(16) for _ in range(32)]

    def job(text: str) -> Callable[[], int]:
        def embed() -> int:
            turn.peer.embed([text])
            return 1

        return embed

    count, elapsed_s = _together([job(text) for text in texts])
    yield "embed.clients", count / elapsed_s


def _load(turn: Turn) -> Iterator[Sample]:
    turn.peer.unload()
    yield "load.first", _ms(turn.peer.chat([_user(turn.make.story())], 2).first_s)


def _load_returning(turn: Turn) -> Iterator[Sample]:
    chat = _Conversation(turn, turn.sizes.history(2000))
    chat.say()
    turn.peer.unload()
    yield "load.returning", _ms(chat.say().first_s)


def _requests(key: str, seed: int | None) -> Measure:
    def measure(turn: Turn) -> Iterator[Sample]:
        messages = [_user(turn.make.story())]
        with turn.peer.connection() as connection:
            turn.peer.one_token(messages, connection, seed)
            start_s = time.perf_counter()
            for _ in range(turn.sizes.repeat):
                turn.peer.one_token(messages, connection, seed)
            yield key, turn.sizes.repeat / (time.perf_counter() - start_s)

    return measure


def _route(key: str, method: str, path: str) -> Measure:
    def measure(turn: Turn) -> Iterator[Sample]:
        body = {"model": turn.peer.model} if method == "POST" else None
        with turn.peer.connection() as connection:
            turn.peer.call(method, path, body, on=connection)
            for _ in range(turn.sizes.repeat):
                start_s = time.perf_counter()
                turn.peer.call(method, path, body, on=connection)
                yield key, _ms(time.perf_counter() - start_s)

    return measure


def _memory(turn: Turn) -> Iterator[Sample]:
    if not turn.peer.pid:
        return
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,rss="], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    try:
        server_mb, tree_mb = tree_rss_mb(listing, turn.peer.pid)
    except ValueError as e:
        raise PeerError(str(e)) from None
    yield "memory.server", server_mb
    yield "memory.tree", tree_mb


def parts(sizes: Sizes) -> list[Part]:
    """All parts in the order in which a round runs them."""

    def lower(key: str, title: str, unit: str = "ms") -> Figure:
        return Figure(key, title, unit, is_lower_better=True)

    def higher(key: str, title: str, unit: str = "tokens/s") -> Figure:
        return Figure(key, title, unit, is_lower_better=False)

    def chats(prefix: str, suffix: str) -> Part:
        title = f"8 chats taking turns{suffix}"
        figures = (
            lower(f"{prefix}.first", f"{title}: first token of turns 2 to 4"),
            higher(f"{prefix}.cached", f"{title}: prompt from the cache", "%"),
        )
        return Part(prefix.partition(".")[0], figures, _chats(prefix, _SEED if suffix else None))

    long = f"{sizes.fit(8000):,} tokens arrive"
    cold = lower("first.cold", "first token, new prompt")
    warm = lower("first.warm", "first token, same prompt again")
    gap = (
        lower("gap.longest", f"longest gap in a stream while {long}"),
        lower("gap.first", "first token of the prompt that arrives"),
    )
    memory = (
        lower("memory.server", "memory of the server alone", "MB"),
        lower("memory.tree", "memory of all its processes", "MB"),
    )
    returning = lower("first.returning", "first token, turn 3 of a chat")
    clients = higher("embed.clients", "embeddings, 32 clients at once", "texts/s")
    reload = lower("load.returning", f"unload, then the next turn of {sizes.history(2000):,} tokens")
    return [
        Part("first", (cold, warm), _first_token),
        Part("first", (returning,), _first_returning),
        *(
            Part(
                "prefill",
                (higher(f"prefill.{n}", f"prefill, {sizes.fit(n):,} new tokens"),),
                _prefill(f"prefill.{n}", n),
            )
            for n in (400, 2000)
        ),
        Part("decode", (higher("decode.one", "decode, one stream"),), _decode),
        *(
            Part(
                "streams",
                (higher(f"streams.{n}", f"{n} streams, in all"),),
                _streams(f"streams.{n}", n),
            )
            for n in (4, 8, 16)
        ),
        chats("chats", ""),
        chats("chats.seed", ", with a seed"),
        Part("gap", gap, _gap),
        Part("embed", (lower("embed.one", "embedding of one text"),), _embed_one, "embed"),
        Part(
            "embed",
            (higher("embed.batch", "embeddings, 64 texts in a request", "texts/s"),),
            _embed_batch,
            "embed",
        ),
        Part("embed", (clients,), _embed_clients, "embed"),
        Part("load", (lower("load.first", "unload, then the first token"),), _load),
        Part("load", (reload,), _load_returning),
        *(
            Part(
                "requests",
                (higher(f"requests.{name}", f"requests of one token{suffix}", "/s"),),
                _requests(f"requests.{name}", seed),
            )
            for name, suffix, seed in (("plain", "", None), ("seed", ", with a seed", _SEED))
        ),
        *(
            Part(
                "routes",
                (lower(f"routes.{name}", f"`/api/{name}`"),),
                _route(f"routes.{name}", method, f"/api/{name}"),
                "",
            )
            for name, method in (("tags", "GET"), ("show", "POST"), ("version", "GET"))
        ),
        Part("memory", memory, _memory),
    ]


def groups() -> list[str]:
    return list(dict.fromkeys(part.group for part in parts(Sizes(4096))))
