"""A runner on llama.cpp: requests become HTTP on the child's socket, events become pieces.

Slots are assigned here (`places.py`), so that the queue is bounded and has our order, and a request that was
cancelled while it waited never reaches the engine. A watchdog kills a child that is busy and silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

from corral import requestfacts, tracenotes
from corral.errors import (
    CorralError,
    EngineError,
    RunnerExitedError,
)
from corral.line import Turn
from corral.runner import llama_server, scoring
from corral.runner.ahead import Ahead, UnderWay
from corral.runner.cache_owner import CacheOwner
from corral.runner.engine_channel import EngineChannel
from corral.runner.engine_http import EngineResponse, open_request
from corral.runner.gathering import Gathering
from corral.runner.interface import (
    CompletionRequest,
    Final,
    Piece,
    RunnerFacts,
    RunnerSpec,
    TokenScores,
)
from corral.runner.load_log import file_sizes
from corral.runner.logprobs import LogprobReader
from corral.runner.pace import Pace
from corral.runner.places import Places
from corral.runner.process import EngineProcess
from corral.runner.prompt_states import PromptStates
from corral.runner.questions import PART_CHARS, Questions
from corral.runner.slots import Slots
from corral.runner.steps import Steps
from corral.supervise import log_failure

_log = logging.getLogger("corral.runner")
_HEALTH_INTERVAL_S = 1.0
# Of ordinary text, to compare token lists with texts.
_BYTES_OF_A_TOKEN = 4
# While one call for vectors is computed, the next waits in the engine.
_TURNS_AT_A_TIME = 2


class EngineRunner:
    """One ready child. Made by `EngineFactory.start` only."""

    def __init__(
        self,
        spec: RunnerSpec,
        process: EngineProcess,
        socket_path: Path,
        key: str,
        *,
        max_waiting: int,
        hang_timeout_s: float,
        states: PromptStates | None = None,
        prompts_folder: Path | None = None,
        cache_owner: CacheOwner | None = None,
        note_guesses: Callable[[Final], None] = lambda _final: None,
    ) -> None:
        self.spec = spec
        self._cache_owner = cache_owner or CacheOwner(is_on=False)
        self.exited = process.exited
        self._process = process
        self._socket_path = str(socket_path)
        self._key = key
        self._channel = EngineChannel(self._socket_path, key)
        self._slots = Places(spec.num_parallel)
        self._turns = Places(min(spec.num_parallel, _TURNS_AT_A_TIME))
        self._questions = Questions(self.request_json)
        self._pace = Pace()
        self._gathering = Gathering(
            partial(self._turn, is_continued=True),
            self._framed_tokens,
            self._embed_tokens,
            turn_bytes=lambda: self._pace.turn_bytes,
            slots=spec.num_parallel,
        )
        kept = None
        if states is not None and prompts_folder is not None:
            kept = Slots(spec.num_parallel, states, prompts_folder, self.request_json, self._unused_slots)
        self._ahead = Ahead(
            kept,
            num_ctx=lambda: self.facts.num_ctx,
            ask=self.request_json,
            tokenize=self._all_tokens,
            others=lambda: self._running_count - 1,
            steps=Steps.for_model(spec),
        )
        self._note_guesses = note_guesses
        self._max_waiting = max_waiting
        self._waiting_count = 0
        self._running_count = 0
        self._loop = asyncio.get_running_loop()
        self._last_event_s = self._loop.time()
        self._may_be_stuck = False  # a request was given up, and nothing has come from the engine since
        self._hang_timeout_s = hang_timeout_s
        self._watchdog = asyncio.create_task(self._watch_for_hang(), name="engine-watchdog")
        self._watchdog.add_done_callback(log_failure)
        self.facts = RunnerFacts(spec.num_ctx, "", "", None, None, False, False, llama_server.MEDIA_MARKER)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def active_count(self) -> int:
        return self._waiting_count + self._running_count + len(self._gathering)

    @property
    def running_count(self) -> int:
        return self._running_count

    @property
    def waiting_count(self) -> int:
        return self._waiting_count + len(self._gathering)

    @property
    def context_ratio(self) -> float:
        held = self._ahead.held_tokens / max(self.facts.num_ctx * self.spec.num_parallel, 1)
        return min(held, 1.0)  # a context that shifts holds less than was said

    @property
    def turn_bytes(self) -> int:
        return self._pace.turn_bytes

    @contextlib.asynccontextmanager
    async def complete(self, request: CompletionRequest) -> AsyncIterator[AsyncIterator[list[Piece]]]:
        if isinstance(request.prompt, str) and len(request.prompt) > PART_CHARS and not request.images:
            request = replace(request, prompt=await self._tokens_that_fit(request.prompt))
        if not self._cache_owner.may_reuse():
            request = replace(request, sampling=replace(request.sampling, cache_prompt=False))
        body = llama_server.completion_body(request, self.spec.num_ctx)
        under_way = UnderWay(request)
        async with self._slot():
            try:
                await self._begin(under_way, body)
                async with self._open("POST", "/completion", body) as response:
                    if response.status != 200:
                        raise llama_server.refusal(request, response.status, await response.read())
                    yield self._pieces(response, request.top_logprobs, under_way)
            finally:
                self._ahead.leave(under_way)
                # Also of one that was given up; its reader knows how much of the answer came.
                requestfacts.current().note_tokens(under_way.read_count, under_way.found_count, 0)

    async def _begin(self, under_way: UnderWay, body: dict[str, Any]) -> None:
        """Have done what goes ahead of a completion; the body says then what is left."""
        prompt = await self._ahead.begin(under_way)
        if not under_way.request.images:
            body["prompt"] = prompt

    async def _unused_slots(self) -> list[int]:
        """Slots that are idle and have had no request yet."""
        async with self._open("GET", "/slots") as response:
            entries = orjson.loads(await response.read())
        return [entry["id"] for entry in entries if not entry["is_processing"] and "id_task" not in entry]

    async def _all_tokens(self, text: str) -> list[int]:
        return list(await self.tokenize(text, add_special=True))

    async def _tokens_that_fit(self, text: str) -> list[int]:
        """The tokens of a long prompt. One that the engine would refuse is not sent to it."""
        tokens = await self.tokenize(text, add_special=True)
        if len(tokens) > self.facts.num_ctx:
            raise llama_server.too_long(len(tokens), self.facts.num_ctx)
        return list(tokens)

    async def _pieces(
        self,
        response: EngineResponse,
        top_logprobs: int | None,
        under_way: UnderWay,
    ) -> AsyncIterator[list[Piece]]:
        tail = b""
        last_s = self._loop.time()
        logprobs = LogprobReader(top_logprobs) if top_logprobs is not None else None
        while data := await response.next_bytes():
            self._note_life()
            pieces: list[Piece] = []
            failure: CorralError | None = None
            try:
                tail = llama_server.take_events(tail + data, logprobs, pieces, under_way.note_progress)
            except CorralError as error:
                failure = error
            if pieces:
                self._ahead.note_tokens(under_way, len(pieces), self._last_event_s - last_s)
                last_s = self._last_event_s
                final = pieces[-1].final
                if final is not None:
                    self._note_guesses(final)
                    pieces[-1].final = final = await self._ahead.end(under_way, final)
                yield pieces  # what came before an error is passed on first
                if final is not None:
                    return
            if failure is not None:
                raise failure
        # A killed child ends the body without a final event; its exit says why.
        raise await self._broken()

    async def embed(
        self, inputs: Sequence[str] | Sequence[Sequence[int]], *, is_continued: bool = False
    ) -> tuple[list[array[float]], int]:
        if self._turns.is_full and not is_continued and self._gathering.may_join(inputs):
            if self._waiting_count + len(self._gathering) >= self._max_waiting:
                self._gathering.make_way()
            arrived_ns = time.perf_counter_ns()
            with tracenotes.phase("prefill"):
                rows, token_count = await self._gathering.embed(inputs)
            requestfacts.current().queue_ns += time.perf_counter_ns() - arrived_ns
        else:
            async with self._turn(is_continued=is_continued):
                rows, token_count = await self._embed(inputs)
        requestfacts.current().note_tokens(token_count, 0, 0)
        return rows, token_count

    async def _embed(self, inputs: Sequence[str] | Sequence[Sequence[int]]) -> tuple[list[array[float]], int]:
        content = [entry if isinstance(entry, str) else list(entry) for entry in inputs]
        body = {"input": content, "encoding_format": "base64"}
        size_bytes = sum(
            len(entry) * (1 if isinstance(entry, str) else _BYTES_OF_A_TOKEN) for entry in content
        )
        answer = await self._timed("/v1/embeddings", body, size_bytes)
        rows = [
            llama_server.vector(row["embedding"]) for row in sorted(answer["data"], key=itemgetter("index"))
        ]
        return rows, answer["usage"]["prompt_tokens"]

    async def _framed_tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of texts as the engine reads a text by itself."""
        bos = [] if self.facts.bos_id is None or not self.facts.adds_bos else [self.facts.bos_id]
        eos = [] if self.facts.eos_id is None or not self.facts.adds_eos else [self.facts.eos_id]
        return [[*bos, *tokens, *eos] for tokens in await self.tokenize_many(texts)]

    async def _embed_tokens(self, tokens: Sequence[Sequence[int]]) -> list[array[float]]:
        rows, _ = await self._embed(tokens)
        return rows

    async def rerank(
        self, query: str, documents: Sequence[str], *, is_continued: bool = False
    ) -> tuple[list[float], int]:
        body = {"query": query, "documents": list(documents), "top_n": len(documents)}
        size_bytes = sum(map(len, documents)) + len(query) * len(documents)
        async with self._turn(is_continued=is_continued):
            answer = await self._timed("/rerank", body, size_bytes)
        rows = sorted(answer["results"], key=itemgetter("index"))
        token_count: int = answer["usage"]["total_tokens"]
        requestfacts.current().note_tokens(token_count, 0, 0)
        return [row["relevance_score"] for row in rows], token_count

    async def score(
        self,
        prompt: str | list[int],
        tokens: Sequence[int],
        images: Sequence[bytes] = (),
        *,
        is_continued: bool = False,
    ) -> TokenScores:
        if isinstance(prompt, str) and len(prompt) > PART_CHARS and not images:
            prompt = await self._tokens_that_fit(prompt)
        async with self._slot(is_continued=is_continued):
            may_reuse = self._cache_owner.may_reuse()
            for body in scoring.bodies(prompt, tokens, images, may_reuse=may_reuse):
                with tracenotes.phase("prefill"):
                    answer = await self.request_json("/completion", body)
                scores = scoring.read_scores(answer, tokens)
                if scores is not None:
                    requestfacts.current().note_tokens(
                        scores.prompt_count, scores.cached_count, scores.predicted_count
                    )
                    return scores
        raise EngineError(500, "the model gives no finite probability to the candidates")

    async def decide(self, body: dict[str, Any]) -> dict[str, Any]:
        async with self._slot():
            with tracenotes.phase("prefill"):
                answer: dict[str, Any] = await self.request_json("/v1/systemone", body)
        used = answer.get("usage")
        if isinstance(used, dict):
            counts = (int(used.get(f"{name}_tokens", 0)) for name in ("input", "cached", "output"))
            requestfacts.current().note_tokens(*counts)
        return answer

    async def _timed(self, path: str, body: dict[str, Any], size_bytes: int) -> Any:
        started_s = self._loop.time()
        with tracenotes.phase("prefill"):
            answer = await self.request_json(path, body)
        self._pace.note(size_bytes, self._loop.time() - started_s)
        return answer

    async def tokenize(
        self, text: str, *, add_special: bool = False, parse_special: bool = True
    ) -> Sequence[int]:
        if len(text) <= PART_CHARS:
            return await self._questions.tokens(text, add_special=add_special, parse_special=parse_special)
        return await self._questions.tokens_of_parts(
            text, add_special=add_special, parse_special=parse_special
        )

    async def tokenize_many(self, texts: Sequence[str], *, parse_special: bool = True) -> list[Sequence[int]]:
        return await self._questions.tokens_of_each(texts, parse_special=parse_special)

    async def tokenize_pieces(
        self, text: str, *, add_special: bool = False, parse_special: bool = True
    ) -> list[tuple[int, str | list[int]]]:
        return await self._questions.pieces(text, add_special=add_special, parse_special=parse_special)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return await self._questions.text(tokens)

    async def request_json(self, path: str, body: dict[str, Any]) -> Any:
        """POST a body, whoever else is asking: for those who hold a slot or a place."""
        if self.exited.done():
            raise self.exited.result()
        try:
            status, content = await self._channel.post(path, orjson.dumps(body))
        except ConnectionError:
            raise await self._broken() from None
        self._note_life()
        if status != 200:
            raise llama_server.engine_error(status, content)
        return orjson.loads(content)

    async def ping(self, timeout_s: float) -> bool:
        # /health is answered by a thread of the web server; /slots passes through the loop that decodes.
        try:
            async with asyncio.timeout(timeout_s), self._open("GET", "/slots") as response:
                await response.read()
                return response.status == 200
        except (TimeoutError, RunnerExitedError):
            return False

    async def keep_prompts(self, timeout_s: float) -> None:
        kept = self._ahead.kept
        if kept is None or self.active_count or self.exited.done() or not self.spec.weights_path.exists():
            return
        try:
            async with asyncio.timeout(timeout_s):
                await kept.save(self.spec.kv_bytes_per_token)
        except TimeoutError:
            _log.info("prompts are not kept: it took too long model=%s", self.spec.name)
        except Exception:
            _log.exception("prompts are not kept model=%s", self.spec.name)

    async def close(self) -> None:
        self._watchdog.cancel()
        self._gathering.close()
        self._channel.close()
        await self._process.close()
        with contextlib.suppress(OSError):
            Path(self._socket_path).unlink(missing_ok=True)

    async def load_facts(self) -> None:
        """Ask the engine what it loaded. Called once, before the runner is handed out."""
        async with self._open("GET", "/props") as response:
            props = orjson.loads(await response.read())
        plain, other, both = await self.tokenize_many(["a", "b", "a b"])
        framed = await self.tokenize("a", add_special=True)
        self._questions.drops_blanks = [*plain, *other] == list(both)
        adds_bos = bool(plain) and framed[:1] != plain[:1]
        adds_eos = bool(plain) and framed[-1:] != plain[-1:]
        self._questions.bos_id = framed[0] if adds_bos else None
        self._questions.eos_id = framed[-1] if adds_eos else None
        self.facts = RunnerFacts(
            num_ctx=int(props["default_generation_settings"]["n_ctx"]),
            bos_token=str(props.get("bos_token", "")),
            eos_token=str(props.get("eos_token", "")),
            bos_id=self._questions.bos_id,
            eos_id=self._questions.eos_id,
            adds_bos=adds_bos,
            adds_eos=adds_eos,
            media_marker=str(props.get("media_marker") or llama_server.MEDIA_MARKER),
            load=await self._process.load_report(*await asyncio.to_thread(file_sizes, self.spec)),
        )

    @contextlib.asynccontextmanager
    async def _turn(self, *, is_continued: bool) -> AsyncIterator[None]:
        """A call for vectors or scores. The engine has the next one at hand when it is done with one."""
        turn = await self._acquire(self._turns, is_continued=is_continued)
        try:
            async with self._slot(is_continued=True):
                yield
        finally:
            self._turns.give_back(turn)

    @contextlib.asynccontextmanager
    async def _slot(self, *, is_continued: bool = False) -> AsyncIterator[None]:
        turn = await self._acquire(self._slots, is_continued=is_continued)
        if self._running_count == 0 and not self._may_be_stuck:
            self._last_event_s = self._loop.time()
        self._running_count += 1
        try:
            with self._process.engine_log.working():
                yield
        except BaseException:
            self._may_be_stuck = True
            raise
        finally:
            self._running_count -= 1
            self._slots.give_back(turn)

    async def _acquire(self, places: Places, *, is_continued: bool) -> Turn | None:
        """Wait for a place; the turn that had to wait, to give it back with."""
        if not places.is_full:
            places.take()
            return None
        turn = places.turn_of_caller(is_fixed=is_continued)
        if self._waiting_count >= self._max_waiting and not is_continued:
            places.make_way(turn)
        await self._wait_for(places, turn)
        return turn

    async def _wait_for(self, places: Places, turn: Turn) -> None:
        facts, began_s = requestfacts.current(), self._loop.time()
        self._waiting_count += 1
        places.join(turn)
        facts.enter("slot", turn)
        _log.debug(
            'queued model=%s for="a free slot" slots=%d waiting=%d request=%s',
            self.spec.name,
            self.spec.num_parallel,
            self._waiting_count,
            facts.request_id,
        )
        try:
            await places.wait(turn)
        finally:
            self._waiting_count -= 1
            facts.enter("running")
            facts.queue_ns += int((self._loop.time() - began_s) * 1e9)

    @contextlib.asynccontextmanager
    async def _open(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> AsyncIterator[EngineResponse]:
        if self.exited.done():
            raise self.exited.result()
        try:
            async with open_request(self._socket_path, self._key, method, path, body) as response:
                yield response
        except ConnectionError:
            raise await self._broken() from None

    async def _broken(self) -> RunnerExitedError:
        """Why a connection broke: the child's end, once it is known."""
        done, _ = await asyncio.wait({self.exited}, timeout=2.0)
        if done:
            return self.exited.result()
        self._process.kill("the engine closed a connection without an answer")
        return RunnerExitedError(
            "an error was encountered while running the model: unexpected EOF",
            log_tail=self._process.log_tail,
        )

    def _note_life(self) -> None:
        self._last_event_s = self._loop.time()
        self._may_be_stuck = False

    async def _watch_for_hang(self) -> None:
        """Kill the child when requests run and nothing has come from it for the deadline.

        A silent child gets one question that passes through its main loop: an engine that is busy with one
        very long step does not answer either, hence the generous deadline. After a request that was given up it is
        asked at once: clients that give up and try again must not put the deadline off each time.
        """
        if self._hang_timeout_s <= 0:
            return
        while not self.exited.done():
            await asyncio.sleep(min(_HEALTH_INTERVAL_S, self._hang_timeout_s / 4))
            if self._may_be_stuck and not self._running_count and await self.ping(_HEALTH_INTERVAL_S):
                self._note_life()
            silent_s = self._loop.time() - self._last_event_s
            is_owed = self._running_count or self._may_be_stuck
            if is_owed and silent_s > self._hang_timeout_s and not await self.ping(5.0):
                self._process.kill(f"the engine gave no sign of life for {silent_s:.0f} s and was stopped")
                return
