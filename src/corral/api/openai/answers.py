"""Schemas of what the OpenAI-compatible routes answer, for `/openapi.json`. Members that can be absent are not
required."""

from __future__ import annotations

from corral.api.reading.schema import (
    INTEGER,
    MAYBE_STRING,
    NUMBER,
    OBJECT,
    STRING,
    Answer,
    Schema,
    array_of,
    object_of,
)

ERROR = Answer(
    "OpenAIError",
    object_of(
        "error",
        error=object_of(
            "message type", message=STRING, type=STRING, param=MAYBE_STRING, code=MAYBE_STRING, hint=STRING
        ),
    ),
)
_USAGE = object_of(
    "prompt_tokens total_tokens",
    prompt_tokens=INTEGER,
    completion_tokens=INTEGER,
    total_tokens=INTEGER,
    prompt_tokens_details=object_of(cached_tokens=INTEGER),
)
_CALL = object_of(
    "id index type function",
    id=STRING,
    index=INTEGER,
    type=STRING,
    function=object_of("name arguments", name=STRING, arguments=STRING),
)
_MESSAGE = object_of(
    "role content",
    role=STRING,
    content=STRING,
    reasoning=STRING,
    reasoning_content=STRING,
    tool_calls=array_of(_CALL),
)
_MODEL = object_of("id object created owned_by", id=STRING, object=STRING, created=INTEGER, owned_by=STRING)


def _completion_of(choice: Schema) -> Schema:
    return object_of(
        "id object created model choices usage",
        id=STRING,
        object=STRING,
        created=INTEGER,
        model=STRING,
        system_fingerprint=STRING,
        choices=array_of(choice),
        usage=_USAGE,
    )


CHAT_COMPLETION = Answer(
    "ChatCompletion",
    _completion_of(
        object_of(
            "index message finish_reason",
            index=INTEGER,
            message=_MESSAGE,
            finish_reason=MAYBE_STRING,
            logprobs=OBJECT,
        )
    ),
)
COMPLETION = Answer(
    "Completion",
    _completion_of(
        object_of(
            "text index finish_reason",
            text=STRING,
            index=INTEGER,
            finish_reason=MAYBE_STRING,
            logprobs=OBJECT,
        )
    ),
)
EMBEDDING_LIST = Answer(
    "EmbeddingList",
    object_of(
        "object data model usage",
        object=STRING,
        data=array_of(
            object_of(
                "object embedding index",
                object=STRING,
                embedding={"anyOf": [STRING, array_of(NUMBER)]},
                index=INTEGER,
            )
        ),
        model=STRING,
        usage=_USAGE,
    ),
)
MODEL = Answer("OpenAIModel", _MODEL)
MODELS = Answer(
    "OpenAIModels",
    object_of("object data", object=STRING, data={"type": ["array", "null"], "items": _MODEL}),
)
TRANSCRIPT = Answer("Transcript", object_of("text", text=STRING))
