"""What a surface asks of the service: decoded and typed, free of any wire format."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from corral.types import Chunk, Message, Think, Tool

# Takes the pieces of an answer, in order, at least one at a time. Awaits while the client does not read.
Emit = Callable[[list[Chunk]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class InferenceOptions:
    """What generate and chat have in common. None means that the request did not say.

    `format` is the member's own JSON text (its spelling shows in errors), empty when absent. With
    `is_think_optional` a model that cannot think answers all the same. `think_budget` bounds the thinking of a
    chat, in tokens. With `is_format_strict` a schema that cannot be held whole is refused. `logit_bias` adds to the
    logits of tokens by id. `implied` are the options that the API has by default, and the client did not give.
    """

    model: str
    format: str = ""
    keep_alive_ns: int | None = None
    options: dict[str, Any] | None = None
    implied: frozenset[str] = frozenset()
    think: Think = None
    is_think_optional: bool = False
    think_budget: int | None = None
    truncate: bool | None = None
    shift: bool | None = None
    is_render_only: bool = False
    logprobs: bool = False
    top_logprobs: int = 0
    grammar: str = ""
    is_format_strict: bool = False
    logit_bias: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A prompt to complete. `context` None: absent; an empty one counts as given.

    `prompt_tokens` stand in for `prompt` as tokens, which no template touches. With `is_template_optional` the prompt
    goes as it is to a model whose own template cannot be used.
    """

    common: InferenceOptions
    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: tuple[int, ...] | None = None
    is_raw: bool = False
    images: tuple[bytes, ...] = ()
    prompt_tokens: tuple[int, ...] = ()
    is_template_optional: bool = False


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A conversation to continue. Without `parallel_tool_calls` an answer holds one call at most."""

    common: InferenceOptions
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["auto", "none", "required"] | str = "auto"
    parallel_tool_calls: bool = True


@dataclass(frozen=True, slots=True)
class Immediate:
    """An answer that takes no generation: a load, an unload, or the rendered prompt."""

    done_reason: Literal["load", "unload", ""]
    rendered: str | None = None
    image_count: int = 0


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts to embed; `dimensions` 0 keeps the whole vector. `is_readable`: what was sent are texts."""

    model: str
    inputs: tuple[str, ...]
    truncate: bool = True
    dimensions: int = 0
    keep_alive_ns: int | None = None
    options: dict[str, Any] | None = None
    is_legacy: bool = False
    is_readable: bool = True


@dataclass(frozen=True, slots=True)
class EmbedResult:
    """Vectors in input order, (n_inputs, n_embd); `prompt_count` is the sum of tokens of all inputs."""

    embeddings: list[Sequence[float]] = field(default_factory=list)
    total_duration_ns: int = 0
    load_duration_ns: int = 0
    prompt_count: int = 0


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """Documents to score for how well they answer a query. `is_raw`: scores as the model gives them (logits)."""

    model: str
    query: str
    documents: tuple[str, ...]
    is_raw: bool = False
    truncate: bool = True
    keep_alive_ns: int | None = None
    options: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RerankResult:
    """Scores in the order of the documents, 0 to 1 unless raw ones were asked for."""

    scores: list[float]
    prompt_count: int
    total_duration_ns: int
    load_duration_ns: int


@dataclass(frozen=True, slots=True)
class TokensRequest:
    """A text to turn into tokens, or tokens to turn into text; `add_special`: with what the model puts around one."""

    model: str
    text: str = ""
    tokens: tuple[int, ...] = ()
    add_special: bool = False
    parse_special: bool = True
    wants_pieces: bool = False
    keep_alive_ns: int | None = None
    options: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class TokenText:
    """Both sides of it. A piece is the text of one token, or its bytes if those are not text; only if asked for."""

    text: str
    tokens: Sequence[int]
    pieces: Sequence[str | list[int]]
    total_duration_ns: int
    load_duration_ns: int
