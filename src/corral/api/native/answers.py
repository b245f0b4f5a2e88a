"""Schemas of what the native routes answer, for `/openapi.json`. Members that can be absent are not required."""

from __future__ import annotations

from corral.api.reading.schema import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    Answer,
    Schema,
    array_of,
    object_of,
    ref,
)

_DURATIONS: dict[str, Schema] = {
    name: {"type": "integer", "description": "nanoseconds" if "duration" in name else "tokens"}
    for name in (
        "total_duration",
        "load_duration",
        "prompt_eval_count",
        "prompt_eval_cached_count",
        "prompt_eval_duration",
        "eval_count",
        "eval_duration",
        "draft_count",
        "draft_accepted_count",
    )
}
ERROR = Answer("NativeError", object_of("error", error=STRING, hint=STRING))
VERSION = Answer("Version", object_of("version", version=STRING, corral_version=STRING))
GENERATED = Answer(
    "Generated",
    object_of(
        "model created_at response done",
        model=STRING,
        created_at=STRING,
        response=STRING,
        thinking=STRING,
        done=BOOLEAN,
        done_reason=STRING,
        context=array_of(INTEGER),
        logprobs=array_of(OBJECT),
        **_DURATIONS,
    ),
)
CHATTED = Answer(
    "Chatted",
    object_of(
        "model created_at message done",
        model=STRING,
        created_at=STRING,
        message=ref("Message"),
        done=BOOLEAN,
        done_reason=STRING,
        logprobs=array_of(OBJECT),
        **_DURATIONS,
    ),
)
EMBEDDED = Answer(
    "Embedded",
    object_of("model embeddings", model=STRING, embeddings=array_of(array_of(NUMBER)), **_DURATIONS),
)
EMBEDDING = Answer("Embedding", object_of("embedding", embedding=array_of(NUMBER)))
TAGS = Answer(
    "Tags",
    object_of(
        "models",
        models=array_of(
            object_of(
                "name model modified_at size digest details",
                name=STRING,
                model=STRING,
                modified_at=STRING,
                size=INTEGER,
                digest=STRING,
                details=OBJECT,
                capabilities=array_of(STRING),
            )
        ),
    ),
)
LOADED = Answer("Loaded", object_of("models", models=array_of(OBJECT)))
SHOWN = Answer(
    "Shown",
    object_of(
        "details model_info modified_at",
        license=STRING,
        modelfile=STRING,
        parameters=STRING,
        template=STRING,
        system=STRING,
        details=OBJECT,
        model_info=OBJECT,
        capabilities=array_of(STRING),
        thinking=OBJECT,
        modified_at=STRING,
    ),
)
PROGRESS = Answer(
    "Progress",
    object_of(status=STRING, digest=STRING, total=INTEGER, completed=INTEGER, error=STRING, hint=STRING),
)
TOKENS = Answer(
    "Tokens",
    object_of(
        "model tokens",
        model=STRING,
        tokens=array_of(INTEGER),
        pieces=array_of({"anyOf": [STRING, array_of(INTEGER)]}),
        **_DURATIONS,
    ),
)
TEXT = Answer("Text", object_of("model content", model=STRING, content=STRING, **_DURATIONS))
RANKING = Answer(
    "Ranking",
    object_of(
        "model results usage",
        model=STRING,
        object=STRING,
        results=array_of(
            object_of("index relevance_score", index=INTEGER, relevance_score=NUMBER, document=OBJECT)
        ),
        usage=object_of(
            "prompt_tokens total_tokens",
            prompt_tokens=INTEGER,
            completion_tokens=INTEGER,
            total_tokens=INTEGER,
            prompt_tokens_details=object_of(cached_tokens=INTEGER),
        ),
        **_DURATIONS,
    ),
)
