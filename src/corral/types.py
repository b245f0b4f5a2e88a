"""The types that every layer shares: conversations, options, requests and the pieces of a response.

Frozen values without behaviour. Wire formats are in `api/`, prompt formats in `chat/`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Capability = Literal[
    "completion", "tools", "insert", "vision", "embedding", "thinking", "image", "audio", "rerank", "decision"
]

# Takes one progress object of a pull, a push or a create, as the native surface writes it.
Report = Callable[[dict[str, Any]], Awaitable[None]]

# None: not set. True/False: on/off. A string: a level ("low", "medium", "high", "max").
Think = bool | Literal["low", "medium", "high", "max"] | None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model made. `arguments` keeps the order in which the model wrote them."""

    name: str
    arguments: dict[str, Any]
    index: int = 0
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `images` are decoded bytes (images or audio)."""

    role: str
    content: str = ""
    thinking: str = ""
    images: tuple[bytes, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class ToolProperty:
    """A property of a tool's parameters. `types` is empty when the schema names none.

    `others`: every member of the schema that has no field here (`$ref`, `const`, `default`, `pattern` ...), as sent.
    """

    any_of: tuple[ToolProperty, ...] = ()
    types: tuple[str, ...] = ()
    items: Any = None
    description: str = ""
    enum: tuple[Any, ...] = ()
    properties: dict[str, ToolProperty] | None = None
    required: tuple[str, ...] = ()
    others: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolParameters:
    """The parameters of a tool; `properties` is None when the client sent none. `others` as in `ToolProperty`."""

    type: str = ""
    defs: Any = None
    items: Any = None
    required: tuple[str, ...] = ()
    properties: dict[str, ToolProperty] | None = None
    others: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolFunction:
    """`is_strict`: calls that the model makes by itself are held to the schema too."""

    name: str = ""
    description: str = ""
    parameters: ToolParameters = field(default_factory=ToolParameters)
    is_strict: bool = False


@dataclass(frozen=True, slots=True)
class Tool:
    type: str = ""
    items: Any = None
    function: ToolFunction = field(default_factory=ToolFunction)


# Whether a model may use GPUs: if they help, only if all of it fits on them, or never.
DEVICE_POLICIES = ("prefer_gpu", "require_gpu", "cpu")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Options that are fixed when a model is loaded; requests with equal values share a runner.

    Automatic values: `num_ctx` 0, `num_batch` None, `num_gpu` -1, `num_thread` 0.
    """

    num_ctx: int = 0
    num_batch: int | None = None
    num_gpu: int = -1
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int = 0
    draft_num_predict: int | None = None
    # An option of our own: whether tokens are guessed ahead; None: as the setting says.
    speculation: bool | None = None
    # Options of our own: which devices a model may use ("": as the settings say), and the share of each device.
    device_policy: str = ""
    tensor_split: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """Options of one request, with Ollama's defaults."""

    num_keep: int = 4
    seed: int = -1
    num_predict: int = -1
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    temperature: float = 0.8
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    # Options of our own. False computes the whole prompt again, for answers that are equal to the last bit.
    cache_prompt: bool = True
    # The last object of an answer says how many tokens were guessed ahead.
    draft_counts: bool = False


@dataclass(frozen=True, slots=True)
class TopLogprob:
    token: str
    logprob: float
    bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Logprob:
    """Log probability (natural, before sampling) of one emitted token, with the top alternatives if requested."""

    token: str
    logprob: float
    bytes: tuple[int, ...]
    top: tuple[TopLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Waits:
    """What a client waited for, in nanoseconds.

    `first_token_ns` is from the request's arrival to the first piece of its reply, `token_gap_ns` the mean time
    between two tokens.
    """

    first_token_ns: int
    queue_ns: int
    load_ns: int
    token_gap_ns: int


@dataclass(frozen=True, slots=True)
class GenerationMetrics:
    """Counts and durations of a whole response; durations in nanoseconds.

    `prompt_eval_count` includes cached tokens; `cached_count` is their number. `draft_count` tokens were guessed
    ahead, `draft_accepted_count` of them right; None: nobody asked. So with `waits`.
    """

    total_duration_ns: int = 0
    load_duration_ns: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration_ns: int = 0
    eval_count: int = 0
    eval_duration_ns: int = 0
    cached_count: int = 0
    draft_count: int | None = None
    draft_accepted_count: int | None = None
    waits: Waits | None = None


@dataclass(slots=True)
class Chunk:
    """One piece of a response on its way to a surface. The last one has `done` and, normally, metrics.

    `choice` numbers the choices of a request for several. `stop_word` is the stop sequence that ended it.

    Not frozen: one is made for every token, and a frozen dataclass costs three times as much to build.
    """

    content: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[Logprob, ...] = ()
    done: bool = False
    done_reason: str = ""
    metrics: GenerationMetrics | None = None
    context: tuple[int, ...] | None = None
    truncated_count: int = 0
    choice: int = 0
    format_unenforced: tuple[str, ...] = ()
    stop_word: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """An answer that a question allows: its value as the model sees it, and what it means (a text, or structured)."""

    value: str | bool
    description: Any


@dataclass(frozen=True, slots=True)
class Question:
    """A question; `options` in their order, for `noul` false and true."""

    name: str
    kind: Literal["choice", "noul", "score"]
    instructions: str
    options: tuple[Option, ...]
