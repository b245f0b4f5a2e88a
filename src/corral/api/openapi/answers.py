"""JSON schemas of what the routes answer. Members that come only sometimes are not required."""

from __future__ import annotations

from typing import Any

from corral.api.openapi.schema import array_of, object_of, ref

_STRING: dict[str, Any] = {"type": "string"}
_INTEGER: dict[str, Any] = {"type": "integer"}
_NUMBER: dict[str, Any] = {"type": "number"}
_BOOLEAN: dict[str, Any] = {"type": "boolean"}
_OBJECT: dict[str, Any] = {"type": "object"}
_MAYBE_STRING: dict[str, Any] = {"type": ["string", "null"]}
_DURATIONS = {
    name: {"type": "integer", "description": "nanoseconds" if "duration" in name else "tokens"}
    for name in (
        "total_duration",
        "load_duration",
        "prompt_eval_count",
        "prompt_eval_cached_count",
        "prompt_eval_duration",
        "eval_count",
        "eval_duration",
    )
}
_USAGE = object_of(
    "prompt_tokens total_tokens",
    prompt_tokens=_INTEGER,
    completion_tokens=_INTEGER,
    total_tokens=_INTEGER,
    prompt_tokens_details=object_of(cached_tokens=_INTEGER),
)
_CALL = object_of(
    "id index type function",
    id=_STRING,
    index=_INTEGER,
    type=_STRING,
    function=object_of("name arguments", name=_STRING, arguments=_STRING),
)
_CHAT_MESSAGE = object_of(
    "role content",
    role=_STRING,
    content=_STRING,
    reasoning=_STRING,
    reasoning_content=_STRING,
    tool_calls=array_of(_CALL),
)
_MODEL_ENTRY = object_of(
    "name model modified_at size digest details",
    name=_STRING,
    model=_STRING,
    modified_at=_STRING,
    size=_INTEGER,
    digest=_STRING,
    details=_OBJECT,
    capabilities=array_of(_STRING),
)
_OPENAI_MODEL = object_of(
    "id object created owned_by", id=_STRING, object=_STRING, created=_INTEGER, owned_by=_STRING
)


def _completion_of(choice: dict[str, Any]) -> dict[str, Any]:
    return object_of(
        "id object created model choices usage",
        id=_STRING,
        object=_STRING,
        created=_INTEGER,
        model=_STRING,
        system_fingerprint=_STRING,
        choices=array_of(choice),
        usage=_USAGE,
    )


ANSWERS: dict[str, dict[str, Any]] = {
    "NativeError": object_of("error", error=_STRING, hint=_STRING),
    "OpenAIError": object_of(
        "error",
        error=object_of(
            "message type",
            message=_STRING,
            type=_STRING,
            param=_MAYBE_STRING,
            code=_MAYBE_STRING,
            hint=_STRING,
        ),
    ),
    "AnthropicError": object_of(
        "type error",
        type=_STRING,
        error=object_of("type message", type=_STRING, message=_STRING, hint=_STRING),
        request_id=_STRING,
    ),
    "Version": object_of("version", version=_STRING, corral_version=_STRING),
    "Generated": object_of(
        "model created_at response done",
        model=_STRING,
        created_at=_STRING,
        response=_STRING,
        thinking=_STRING,
        done=_BOOLEAN,
        done_reason=_STRING,
        context=array_of(_INTEGER),
        logprobs=array_of(_OBJECT),
        **_DURATIONS,
    ),
    "Chatted": object_of(
        "model created_at message done",
        model=_STRING,
        created_at=_STRING,
        message=ref("Message"),
        done=_BOOLEAN,
        done_reason=_STRING,
        logprobs=array_of(_OBJECT),
        **_DURATIONS,
    ),
    "Embedded": object_of(
        "model embeddings", model=_STRING, embeddings=array_of(array_of(_NUMBER)), **_DURATIONS
    ),
    "Embedding": object_of("embedding", embedding=array_of(_NUMBER)),
    "Tags": object_of("models", models=array_of(_MODEL_ENTRY)),
    "Loaded": object_of("models", models=array_of(_OBJECT)),
    "Shown": object_of(
        "details model_info modified_at",
        license=_STRING,
        modelfile=_STRING,
        parameters=_STRING,
        template=_STRING,
        system=_STRING,
        details=_OBJECT,
        model_info=_OBJECT,
        capabilities=array_of(_STRING),
        thinking=_OBJECT,
        modified_at=_STRING,
    ),
    "Progress": object_of(
        status=_STRING, digest=_STRING, total=_INTEGER, completed=_INTEGER, error=_STRING, hint=_STRING
    ),
    "Tokens": object_of(
        "model tokens",
        model=_STRING,
        tokens=array_of(_INTEGER),
        pieces=array_of({"anyOf": [_STRING, array_of(_INTEGER)]}),
        **_DURATIONS,
    ),
    "Text": object_of("model content", model=_STRING, content=_STRING, **_DURATIONS),
    "Ranking": object_of(
        "model results usage",
        model=_STRING,
        object=_STRING,
        results=array_of(
            object_of("index relevance_score", index=_INTEGER, relevance_score=_NUMBER, document=_OBJECT)
        ),
        usage=_USAGE,
        **_DURATIONS,
    ),
    "ChatCompletion": _completion_of(
        object_of(
            "index message finish_reason",
            index=_INTEGER,
            message=_CHAT_MESSAGE,
            finish_reason=_MAYBE_STRING,
            logprobs=_OBJECT,
        )
    ),
    "Completion": _completion_of(
        object_of(
            "text index finish_reason",
            text=_STRING,
            index=_INTEGER,
            finish_reason=_MAYBE_STRING,
            logprobs=_OBJECT,
        )
    ),
    "EmbeddingList": object_of(
        "object data model usage",
        object=_STRING,
        data=array_of(
            object_of(
                "object embedding index",
                object=_STRING,
                embedding={"anyOf": [_STRING, array_of(_NUMBER)]},
                index=_INTEGER,
            )
        ),
        model=_STRING,
        usage=_USAGE,
    ),
    "OpenAIModel": _OPENAI_MODEL,
    "OpenAIModels": object_of(
        "object data", object=_STRING, data={"type": ["array", "null"], "items": _OPENAI_MODEL}
    ),
    "Transcript": object_of("text", text=_STRING),
    "Response": object_of(
        "id object status model output", id=_STRING, object=_STRING, status=_STRING, model=_STRING, output={}
    ),
    "Decisions": object_of(
        "model answers usage",
        model=_STRING,
        answers={
            "type": "object",
            "additionalProperties": object_of(
                "type",
                type=_STRING,
                choice=_STRING,
                noul=_NUMBER,
                score=_NUMBER,
                legend=_OBJECT,
                probabilities={"type": "object", "additionalProperties": _NUMBER},
                confidence=_NUMBER,
            ),
        },
        usage=object_of("input_tokens output_tokens", input_tokens=_INTEGER, output_tokens=_INTEGER),
        prompt_eval_cached_count=_INTEGER,
    ),
    "Compaction": object_of(
        "id object created_at output usage",
        id=_STRING,
        object=_STRING,
        created_at=_INTEGER,
        output=array_of(_OBJECT),
        usage=_OBJECT,
    ),
    "DeletedResponse": object_of("id object deleted", id=_STRING, object=_STRING, deleted=_BOOLEAN),
    "InputItems": object_of("object data", object=_STRING, data=array_of(_OBJECT)),
    "AnthropicMessage": object_of(
        "id type role model content usage",
        id=_STRING,
        type=_STRING,
        role=_STRING,
        model=_STRING,
        content=array_of(_OBJECT),
        stop_reason=_MAYBE_STRING,
        stop_sequence=_MAYBE_STRING,
        usage=object_of("input_tokens output_tokens", input_tokens=_INTEGER, output_tokens=_INTEGER),
    ),
    "TokenCount": object_of("input_tokens", input_tokens=_INTEGER),
    "Anything": {},
}
