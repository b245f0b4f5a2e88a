"""Every route of the server, one entry each: what it takes and what it answers. `/openapi.json` is made of this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from corral.api.anthropic.protocol import MESSAGES
from corral.api.native import blobs_and_create as making
from corral.api.native import library, verify
from corral.api.native.requests import CHAT, EMBED, EMBEDDINGS, GENERATE
from corral.api.native.systemone import SYSTEMONE
from corral.api.native.tokens import DETOKENIZE, TOKENIZE
from corral.api.openai import protocol as openai
from corral.api.openai.rerank import RERANK
from corral.api.openapi.schema import array_of, object_of
from corral.api.reading.decode import Decode
from corral.api.responses.protocol import RESPONSES

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
_STRING: dict[str, Any] = {"type": "string"}
_OBJECTS = array_of({"type": "object"})


@dataclass(frozen=True, slots=True)
class Operation:
    """A route. `fields` is the table that reads its body (None: no JSON body), `special` what that cannot tell.

    `answer` names a schema of `answers.py` (empty: no body), `stream` the content type of a streamed answer.
    """

    method: Literal["GET", "HEAD", "POST", "DELETE"]
    path: str
    summary: str
    answer: str = ""
    fields: Mapping[str, Decode] | None = None
    required: str = ""
    special: Mapping[str, Any] = field(default_factory=dict)
    stream: str = ""
    body: Literal["", "binary", "form", "any"] = ""
    other_statuses: tuple[int, ...] = ()

    @property
    def error(self) -> str:
        """The schema of its errors."""
        if self.path.startswith("/v1/messages"):
            return "AnthropicError"
        if self.path == "/v1/systemone":
            return "NativeError"
        return "OpenAIError" if self.path.startswith("/v1/") else "NativeError"

    @property
    def tag(self) -> str:
        if not self.path.startswith("/v1/"):
            return "native"
        return "anthropic" if self.path.startswith("/v1/messages") else "openai"


_TEXTS = {"anyOf": [_STRING, array_of(_STRING)]}
_LOGIT_BIAS = {"type": "object", "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100}}
_STOP = {"anyOf": [_STRING, array_of(_STRING)]}
_SAMPLING = {"logit_bias": _LOGIT_BIAS, "stop": _STOP}
_TOOL_CHOICE = {"anyOf": [_STRING, {"type": "object"}]}

_CONTENT = {"type": ["string", "object", "array"]}
_QUESTIONS = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 64,
    "additionalProperties": object_of(
        "type instructions",
        type={"enum": ["choice", "noul", "score"]},
        instructions=_CONTENT,
        criteria={"type": ["object", "array", "null"]},
    ),
}

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/", "Whether the server runs", "Anything"),
    Operation("GET", "/openapi.json", "This description", "Anything"),
    Operation("GET", "/api/version", "The server's version", "Version"),
    Operation("GET", "/api/status", "Whether models may run elsewhere (they may not)", "Anything"),
    Operation("GET", "/api/tags", "All models", "Tags"),
    Operation("GET", "/api/ps", "Loaded models", "Loaded"),
    Operation("GET", "/api/loading", "Models that are being loaded, and how far", "Anything"),
    Operation(
        "GET", "/api/origins", "Which models came from a registry, and which were made here", "Anything"
    ),
    Operation("POST", "/api/show", "What a model is", "Shown", library.SHOW, "model"),
    Operation("POST", "/api/generate", "Complete a prompt", "Generated", GENERATE, "model", stream=NDJSON),
    Operation(
        "POST",
        "/api/chat",
        "Continue a conversation",
        "Chatted",
        CHAT,
        "model messages",
        {"tool_choice": _TOOL_CHOICE},
        NDJSON,
    ),
    Operation("POST", "/api/embed", "Vectors of texts", "Embedded", EMBED, "model input", {"input": _TEXTS}),
    Operation(
        "POST", "/api/embeddings", "The vector of a text (older)", "Embedding", EMBEDDINGS, "model prompt"
    ),
    Operation(
        "POST",
        "/api/rerank",
        "Rank documents for a query",
        "Ranking",
        RERANK,
        "model query documents",
        {
            "query": _STRING,
            "documents": {"type": "array", "items": {"anyOf": [_STRING, object_of("text", text=_STRING)]}},
        },
    ),
    Operation("POST", "/api/tokenize", "The tokens of a text", "Tokens", TOKENIZE, "model content"),
    Operation("POST", "/api/detokenize", "The text of tokens", "Text", DETOKENIZE, "model tokens"),
    Operation("POST", "/api/create", "Make a model", "Progress", making.CREATE, "model", stream=NDJSON),
    Operation("POST", "/api/copy", "Give a model another name", "", library.COPY, "source destination"),
    Operation("DELETE", "/api/delete", "Delete a model", "", library.NAMES, "model"),
    Operation(
        "POST",
        "/api/pull",
        "Get a model from its registry",
        "Progress",
        library.TRANSFER,
        "model",
        stream=NDJSON,
    ),
    Operation(
        "POST",
        "/api/push",
        "Put a model into its registry",
        "Progress",
        library.TRANSFER,
        "model",
        stream=NDJSON,
    ),
    Operation(
        "POST",
        "/api/verify",
        "Compare stored models, or all of them, with their digests",
        "Progress",
        verify.VERIFY,
        stream=NDJSON,
    ),
    Operation("HEAD", "/api/blobs/{digest}", "Whether a blob is in the store"),
    Operation(
        "POST", "/api/blobs/{digest}", "Put a blob into the store", body="binary", other_statuses=(201,)
    ),
    Operation("GET", "/api/local-blobs", "Where a program on this machine finds its token", "Anything"),
    Operation(
        "POST",
        "/api/local-blobs",
        "Make a blob of a file of this machine",
        "Progress",
        making.LOCAL_BLOB,
        "path token",
        stream=NDJSON,
    ),
    Operation("POST", "/api/me", "The registry account behind this machine's key", "Anything"),
    Operation("POST", "/api/signout", "Take this machine's key off its registry account", "Anything"),
    Operation("DELETE", "/api/user/keys/{key}", "The same (older)", "Anything"),
    Operation("POST", "/api/experimental/web_search", "Refused: there is no hosted service", body="any"),
    Operation("POST", "/api/experimental/web_fetch", "Refused: there is no hosted service", body="any"),
    Operation("GET", "/api/experimental/model-recommendations", "Models to begin with", "Anything"),
    Operation(
        "POST",
        "/v1/chat/completions",
        "Continue a conversation",
        "ChatCompletion",
        openai.CHAT,
        "model messages",
        {**_SAMPLING, "tool_choice": _TOOL_CHOICE},
        SSE,
    ),
    Operation(
        "POST",
        "/v1/completions",
        "Complete prompts",
        "Completion",
        openai.COMPLETION,
        "model",
        {**_SAMPLING, "prompt": {"anyOf": [_STRING, array_of(_STRING), array_of({"type": "integer"})]}},
        SSE,
    ),
    Operation(
        "POST",
        "/v1/embeddings",
        "Vectors of texts",
        "EmbeddingList",
        openai.EMBEDDINGS,
        "model input",
        {"input": _TEXTS},
    ),
    Operation(
        "POST",
        "/v1/systemone",
        "Answer typed questions with probabilities",
        "Decisions",
        SYSTEMONE,
        "model state questions",
        {"state": _CONTENT, "questions": _QUESTIONS},
    ),
    Operation("GET", "/v1/models", "All models", "OpenAIModels"),
    Operation("GET", "/v1/models/{model}", "One model", "OpenAIModel"),
    Operation("POST", "/v1/audio/transcriptions", "What was said", "Transcript", stream=SSE, body="form"),
    Operation(
        "POST",
        "/v1/rerank",
        "Rank documents for a query",
        "Ranking",
        RERANK,
        "model query documents",
        {
            "query": _STRING,
            "documents": {"type": "array", "items": {"anyOf": [_STRING, object_of("text", text=_STRING)]}},
        },
    ),
    Operation(
        "POST",
        "/v1/responses",
        "A response to input, kept for the next turn",
        "Response",
        RESPONSES,
        "model",
        {
            "input": {"anyOf": [_STRING, _OBJECTS]},
            "tools": _OBJECTS,
            "reasoning": object_of(effort=_STRING, summary=_STRING),
            "tool_choice": _TOOL_CHOICE,
        },
        SSE,
    ),
    Operation(
        "POST",
        "/v1/responses/compact",
        "A conversation as a shorter list of items that takes its place",
        "Compaction",
        RESPONSES,
        "model input",
        {
            "input": {"anyOf": [_STRING, _OBJECTS]},
            "tools": _OBJECTS,
            "reasoning": object_of(effort=_STRING, summary=_STRING),
            "tool_choice": _TOOL_CHOICE,
        },
    ),
    Operation("GET", "/v1/responses/{id}", "A kept response", "Response"),
    Operation("DELETE", "/v1/responses/{id}", "Forget a kept response", "DeletedResponse"),
    Operation("GET", "/v1/responses/{id}/input_items", "What a kept response answered", "InputItems"),
    Operation(
        "POST",
        "/v1/messages",
        "Continue a conversation",
        "AnthropicMessage",
        MESSAGES,
        "model max_tokens messages",
        {"messages": _OBJECTS, "tools": _OBJECTS, "system": {"anyOf": [_STRING, _OBJECTS]}},
        SSE,
    ),
    Operation(
        "POST",
        "/v1/messages/count_tokens",
        "The length of a conversation's prompt",
        "TokenCount",
        MESSAGES,
        "model messages",
        {"messages": _OBJECTS, "tools": _OBJECTS, "system": {"anyOf": [_STRING, _OBJECTS]}},
    ),
)
