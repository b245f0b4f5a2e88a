"""The table of the Anthropic-compatible routes."""

from __future__ import annotations

from corral.api.anthropic.errors import envelope
from corral.api.anthropic.messages import MessageHandlers
from corral.api.anthropic.protocol import MESSAGES
from corral.api.http.routing import Route, Surface
from corral.api.http.sse import EVENT_STREAM
from corral.api.reading.schema import (
    INTEGER,
    MAYBE_STRING,
    MODEL,
    OBJECT,
    QUESTION,
    STRING,
    Answer,
    array_of,
    json_body,
    object_of,
)
from corral.inference.pipeline import Inference

_OBJECTS = array_of(OBJECT)
_SYSTEM = {"anyOf": [STRING, _OBJECTS]}
_ERROR = Answer(
    "AnthropicError",
    object_of(
        "type error",
        type=STRING,
        error=object_of("type message", type=STRING, message=STRING, hint=STRING),
        request_id=STRING,
    ),
)
_MESSAGE = Answer(
    "AnthropicMessage",
    object_of(
        "id type role model content usage",
        id=STRING,
        type=STRING,
        role=STRING,
        model=STRING,
        content=_OBJECTS,
        stop_reason=MAYBE_STRING,
        stop_sequence=MAYBE_STRING,
        usage=object_of("input_tokens output_tokens", input_tokens=INTEGER, output_tokens=INTEGER),
    ),
)
_COUNT = Answer("TokenCount", object_of("input_tokens", input_tokens=INTEGER))


def anthropic_surface(service: Inference) -> Surface:
    """What the `anthropic` packages call."""
    messages = MessageHandlers(service)
    routes = (
        Route(
            "POST",
            "/v1/messages",
            messages.messages,
            "Continue a conversation",
            scope="infer",
            reads=json_body(
                MESSAGES,
                "model max_tokens messages",
                {"model": MODEL, "max_tokens": 500, "messages": QUESTION, "stream": True},
                messages=_OBJECTS,
                tools=_OBJECTS,
                system=_SYSTEM,
            ),
            answers=_MESSAGE,
            streams=EVENT_STREAM,
        ),
        Route(
            "POST",
            "/v1/messages/count_tokens",
            messages.count_tokens,
            "The length of a conversation's prompt",
            scope="infer",
            reads=json_body(
                MESSAGES,
                "model messages",
                {"model": MODEL, "messages": QUESTION},
                messages=_OBJECTS,
                tools=_OBJECTS,
                system=_SYSTEM,
            ),
            answers=_COUNT,
        ),
    )
    return Surface("anthropic", "Anthropic's API", routes, _ERROR, envelope)
