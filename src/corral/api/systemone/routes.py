"""The table of the SystemOne API, which has one route."""

from __future__ import annotations

from corral.api.http.routing import Route, Surface
from corral.api.native.answers import ERROR
from corral.api.reading.schema import INTEGER, MODEL, NUMBER, OBJECT, STRING, Answer, json_body, object_of
from corral.api.systemone.handlers import DecisionHandlers
from corral.api.systemone.protocol import MAX_QUESTIONS, SYSTEMONE
from corral.inference.pipeline import Inference

_MAX_BODY_BYTES = 32 << 20
_CONTENT = {"type": ["string", "object", "array"]}
_QUESTIONS = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": MAX_QUESTIONS,
    "additionalProperties": object_of(
        "type instructions",
        type={"enum": ["choice", "noul", "score"]},
        instructions=_CONTENT,
        criteria={"type": ["object", "array", "null"]},
    ),
}
_DECISION = object_of(
    "type",
    type=STRING,
    choice=STRING,
    noul=NUMBER,
    score=NUMBER,
    legend=OBJECT,
    probabilities={"type": "object", "additionalProperties": NUMBER},
    confidence=NUMBER,
)
_DECISIONS = Answer(
    "Decisions",
    object_of(
        "model answers usage",
        model=STRING,
        answers={"type": "object", "additionalProperties": _DECISION},
        usage=object_of("input_tokens output_tokens", input_tokens=INTEGER, output_tokens=INTEGER),
        prompt_eval_cached_count=INTEGER,
    ),
)
_EXAMPLE = {
    "model": MODEL,
    "state": "The customer writes: my parcel has not arrived.",
    "questions": {"angry": {"type": "noul", "instructions": "Is the customer angry?"}},
}


def systemone_surface(service: Inference) -> Surface:
    """Its errors have the native form, as in Ollama."""
    route = Route(
        "POST",
        "/v1/systemone",
        DecisionHandlers(service).decide,
        "Answer typed questions with probabilities",
        scope="infer",
        reads=json_body(SYSTEMONE, "model state questions", _EXAMPLE, state=_CONTENT, questions=_QUESTIONS),
        answers=_DECISIONS,
        limit_bytes=_MAX_BODY_BYTES,
    )
    return Surface("systemone", "Decisions", (route,), ERROR)
