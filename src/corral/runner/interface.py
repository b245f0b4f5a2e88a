"""What the rest of Corral knows about an engine child: values in, values out, no transport.

A runner serves one model with a fixed number of slots. It is either usable or `exited`, and never recovers: its
owner, the scheduler, starts another one.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from corral.errors import RunnerExitedError
from corral.types import Logprob, SamplingOptions

# How the engine uses a draft model.
DraftKind = Literal["draft-simple", "draft-eagle3", "draft-dflash", "draft-mtp"]


@dataclass(frozen=True, slots=True)
class Speculation:
    """How the engine guesses tokens, of which it verifies several in one step.

    `kind`: llama.cpp's name of the way. At most `tokens` are guessed at a time. `ngram-simple` looks for the last
    `match` tokens earlier in the same conversation, and guesses what came after them. `is_automatic`: nobody asked
    for it, so that it is left out where it does not pay.
    """

    kind: DraftKind | Literal["ngram-simple"]
    tokens: int
    match: int = 0
    is_automatic: bool = False


@dataclass(frozen=True, slots=True)
class GPUChoice:
    """The devices on which an engine may put a model; by default it sees to that itself, as it must without a list.

    `listed`: the engine's names of its devices, in its order. `chosen`: which of them may be used; None: all.
    """

    listed: tuple[str, ...] = ()
    chosen: tuple[str, ...] | None = None

    @property
    def is_none(self) -> bool:
        return self.chosen == ()

    @property
    def only(self) -> int | None:
        """The number of the one device to use; None if it is not exactly one."""
        if self.chosen is None or len(self.chosen) != 1 or self.chosen[0] not in self.listed:
            return None
        return self.listed.index(self.chosen[0])

    @property
    def is_some(self) -> bool:
        """Whether several but not all are chosen."""
        return self.chosen is not None and 1 < len(self.chosen) < len(self.listed)


@dataclass(frozen=True, slots=True)
class RunnerSpec:
    """Everything that decides how a child is started; two equal specs are served by one child.

    `name` is what the log calls the model.
    `num_ctx` is per slot and already clamped; `memory_limit_bytes` bounds the child's private memory.
    `fits_memory`: the engine may move layers that do not fit out of a GPU; `fit_target_mib` MiB of it stay free then
    (0: the engine's default). `speculation`: how tokens are guessed; None: not at all.
    `prompt_slowdown`: how many times as long a prompt may take so that the streams of others go on evenly.
    `cache_ram_mib`: memory for the prompts of conversations that no slot holds. `kv_bytes_per_token`: about what a
    token takes in the KV cache. `num_ubatch`: tokens computed at once; 0: `num_batch`, at most 512.
    `gpus`: the devices that the engine lists, and which of them it may use. `must_be_on_gpus`: a model with layers on
    the processor is not served. `direct_io`: weights are read past the page cache, for memory that is shared.
    `warms_up`: the engine computes once for nothing at the end of the load, so that the first request does not have
    to touch all memory. `gives_back`: it copies much of the file and then no longer needs those pages.
    `keeps_checkpoints`: the cache of some of its layers cannot be cut to a beginning, so that the engine keeps
    copies of it.
    """

    weights_path: Path
    weights_key: str
    adapter_paths: tuple[Path, ...] = ()
    projector_paths: tuple[Path, ...] = ()
    draft_path: Path | None = None
    speculation: Speculation | None = None
    prompt_slowdown: int = 3
    num_ctx: int = 4096
    num_parallel: int = 1
    num_batch: int = 512
    num_ubatch: int = 0
    num_gpu: int = -1
    main_gpu: int | None = None
    tensor_split: tuple[float, ...] = ()
    gpus: GPUChoice = field(default_factory=lambda: GPUChoice())
    projector_on_cpu: bool = False
    direct_io: bool = False
    must_be_on_gpus: bool = False
    use_mmap: bool | None = None
    num_thread: int = 0
    is_embedding: bool = False
    pooling: str | None = None
    context_shift: bool = True
    kv_cache_type: str = ""
    flash_attention: bool | None = None
    fits_memory: bool = True
    fit_target_mib: int = 0
    cache_ram_mib: int = 0
    kv_bytes_per_token: int = 0
    memory_limit_bytes: int | None = None
    gives_back: bool = False
    keeps_checkpoints: bool = False
    warms_up: bool = field(default=False, compare=False)
    name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """What a model has on one device of the engine. `layers`: how many of its layers; None: not known."""

    name: str
    size_bytes: int
    layers: int | None


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Where the engine has put a model. The output counts as a layer; `host_bytes` are in the machine's memory.

    `is_whole`: all layers are on devices, with all of their tensors.
    """

    devices: tuple[DeviceMemory, ...]
    host_bytes: int
    offloaded: int
    layer_count: int
    is_whole: bool = False

    @property
    def device_bytes(self) -> int:
        return sum(device.size_bytes for device in self.devices)


@dataclass(frozen=True, slots=True)
class RunnerFacts:
    """What the engine reports about the loaded model. `num_ctx` is the context that one slot really has.

    `adds_bos` and `adds_eos`: the tokenizer puts these tokens around a text by itself. `load`: where it is, if GPUs
    may have been used.
    """

    num_ctx: int
    bos_token: str
    eos_token: str
    bos_id: int | None
    eos_id: int | None
    adds_bos: bool
    adds_eos: bool
    media_marker: str
    load: LoadReport | None = None


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One completion. A list of token ids as `prompt` is used as it is; a text gets the model's BOS.

    `images` replace the media markers of a text prompt in order. `num_predict` -1: until the model stops.
    `wants_counts`: each piece tells what there was so far.
    """

    prompt: str | list[int]
    sampling: SamplingOptions
    images: tuple[bytes, ...] = ()
    grammar: str = ""
    top_logprobs: int | None = None
    preserved_tokens: tuple[str, ...] = ()
    logit_bias: tuple[tuple[int, float], ...] = ()
    wants_counts: bool = False


@dataclass(frozen=True, slots=True)
class Final:
    """The end of a completion. Counts in tokens, durations in nanoseconds.

    `prompt_count` includes the `cached_count` tokens that were reused. `slot`: where it ran; -1: not known.
    `draft_count` tokens were guessed, and `draft_accepted_count` of them were right.
    """

    reason: Literal["stop", "length"]
    prompt_count: int
    cached_count: int
    prompt_duration_ns: int
    predicted_count: int
    predicted_duration_ns: int
    stopping_word: str = ""
    slot: int = -1
    draft_count: int = 0
    draft_accepted_count: int = 0


@dataclass(frozen=True, slots=True)
class TokenScores:
    """How likely each of some tokens is to come next, if it is one of them. Counts in tokens."""

    probabilities: tuple[float, ...]
    prompt_count: int
    cached_count: int
    predicted_count: int


@dataclass(slots=True)
class Piece:
    """One event of a completion: some text (whole characters), or the end. One is made per token.

    `so_far`: the end if this were the last piece, for want of room; only if asked for.
    """

    text: str
    logprobs: tuple[Logprob, ...] = ()
    final: Final | None = None
    so_far: Final | None = None


class Runner(Protocol):
    """A ready child."""

    spec: RunnerSpec
    facts: RunnerFacts
    # Done, with the reason, once the child has died or was killed as hung.
    exited: asyncio.Future[RunnerExitedError]

    def complete(self, request: CompletionRequest) -> AbstractAsyncContextManager[AsyncIterator[list[Piece]]]:
        """Wait for a slot, start, and iterate over what the engine produced since the last step.

        The last piece has `final`. Leaving the context stops the decoder and frees the slot.

        Raises:
            EngineError: the engine refused the request.
            SchemaError: it refused the grammar.
            RunnerExitedError: the child died, or its stream ended without a final event.
            QueueFullError: too many requests wait for a slot.
        """
        ...

    @property
    def running_count(self) -> int:
        """Requests that the engine works on."""
        ...

    @property
    def waiting_count(self) -> int:
        """Requests that wait for a slot."""
        ...

    @property
    def context_ratio(self) -> float:
        """How much of the context of all slots the requests that run hold: 0 to 1."""
        ...

    @property
    def turn_bytes(self) -> int:
        """How much text one call for vectors or scores should hold, so that it takes about half a second."""
        ...

    async def embed(
        self, inputs: Sequence[str] | Sequence[Sequence[int]], *, is_continued: bool = False
    ) -> tuple[list[array[float]], int]:
        """Embed texts or token lists that are known to fit, in one engine call: unit rows, and how many tokens.

        The rows are 32-bit numbers, (n_inputs, n_embd), and may hold NaN. An empty text is an error.
        `is_continued`: a further call of a request that was let in, which a full queue does not turn away.

        Raises:
            EngineError, RunnerExitedError, QueueFullError
        """
        ...

    async def rerank(
        self, query: str, documents: Sequence[str], *, is_continued: bool = False
    ) -> tuple[list[float], int]:
        """Score documents that are known to fit, in one engine call: raw scores, and how many tokens were read.

        Raises:
            EngineError, RunnerExitedError, QueueFullError
        """
        ...

    async def score(
        self,
        prompt: str | list[int],
        tokens: Sequence[int],
        images: Sequence[bytes] = (),
        *,
        is_continued: bool = False,
    ) -> TokenScores:
        """The softmax over the logits of `tokens` (different ones, at least two) after a prompt.

        Raises:
            ContextOverflowError: the prompt does not fit.
            EngineError, RunnerExitedError, QueueFullError
        """
        ...

    async def decide(self, body: dict[str, Any]) -> dict[str, Any]:
        """The engine's own answer to typed questions, from a model that has a head for them.

        Raises:
            EngineError, RunnerExitedError, QueueFullError
        """
        ...

    async def tokenize(
        self, text: str, *, add_special: bool = False, parse_special: bool = True
    ) -> Sequence[int]: ...

    async def tokenize_many(self, texts: Sequence[str], *, parse_special: bool = True) -> list[Sequence[int]]:
        """The tokens of each text, without those that frame it, in few calls."""
        ...

    async def tokenize_pieces(
        self, text: str, *, add_special: bool = False, parse_special: bool = True
    ) -> list[tuple[int, str | list[int]]]:
        """The tokens of a text, each with its own text, or its bytes if those are not text by themselves."""
        ...

    async def detokenize(self, tokens: Sequence[int]) -> str: ...

    async def ping(self, timeout_s: float) -> bool:
        """Whether the engine's main loop answers in time."""
        ...

    async def keep_prompts(self, timeout_s: float) -> None:
        """Write what is worth it of the computed prompts to disk. Raises nothing; call it when nobody waits."""
        ...

    async def close(self) -> None:
        """Kill the child and reap it. Safe to call twice."""
        ...


class RunnerFactory(Protocol):
    async def start(self, spec: RunnerSpec, on_progress: Callable[[float], None]) -> Runner:
        """Start a child and wait until it has loaded the model.

        `on_progress` gets the loaded share (0 to 1) whenever the child shows a sign of life.
        Cancelling kills the child.

        Raises:
            RunnerStartError: the child ended, or refused the model.
        """
        ...


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Which engine serves: the built-in wheel, the same from another folder, or a `llama-server` binary."""

    server_path: Path | None = None
    extra_env: dict[str, str] = field(default_factory=dict)
    package_folder: Path | None = None
