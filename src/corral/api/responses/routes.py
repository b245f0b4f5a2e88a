"""The table of the Responses API's routes."""

from __future__ import annotations

from corral.api.http.routing import Route, Surface
from corral.api.http.sse import EVENT_STREAM
from corral.api.openai.answers import ERROR
from corral.api.openai.errors import envelope
from corral.api.reading.schema import (
    BOOLEAN,
    INTEGER,
    MODEL,
    OBJECT,
    STRING,
    Answer,
    Body,
    array_of,
    json_body,
    object_of,
)
from corral.api.responses.handlers import ResponseHandlers
from corral.api.responses.protocol import RESPONSES
from corral.inference.pipeline import Inference
from corral.responses.store import ResponseArchive

_OBJECTS = array_of(OBJECT)
_RESPONSE = Answer(
    "Response",
    object_of(
        "id object status model output", id=STRING, object=STRING, status=STRING, model=STRING, output={}
    ),
)
_COMPACTION = Answer(
    "Compaction",
    object_of(
        "id object created_at output usage",
        id=STRING,
        object=STRING,
        created_at=INTEGER,
        output=_OBJECTS,
        usage=OBJECT,
    ),
)
_DELETED = Answer(
    "DeletedResponse", object_of("id object deleted", id=STRING, object=STRING, deleted=BOOLEAN)
)
_INPUT_ITEMS = Answer("InputItems", object_of("object data", object=STRING, data=_OBJECTS))


def responses_surface(service: Inference, archive: ResponseArchive) -> Surface:
    """`/v1/responses`: answers that the server stores, so that later requests can continue from them."""
    handlers = ResponseHandlers(service, archive)
    one = "/v1/responses/:id"
    routes = (
        Route(
            "POST",
            "/v1/responses",
            handlers.create,
            "Answer an input, and store the response",
            scope="infer",
            reads=_body("model"),
            answers=_RESPONSE,
            streams=EVENT_STREAM,
        ),
        Route(
            "POST",
            "/v1/responses/compact",
            handlers.compact,
            "Replace a conversation by a shorter list of items",
            scope="infer",
            reads=_body("model input"),
            answers=_COMPACTION,
        ),
        Route("GET", one, handlers.find, "A stored response", scope="infer", answers=_RESPONSE),
        Route("DELETE", one, handlers.delete, "Delete a stored response", scope="infer", answers=_DELETED),
        Route(
            "GET",
            f"{one}/input_items",
            handlers.input_items,
            "Input items of a stored response",
            scope="infer",
            answers=_INPUT_ITEMS,
        ),
    )
    return Surface("responses", "OpenAI's Responses API", routes, ERROR, envelope)


def _body(required: str) -> Body:
    return json_body(
        RESPONSES,
        required,
        {"model": MODEL, "input": "Why is the sky blue?"},
        input={"anyOf": [STRING, _OBJECTS]},
        tools=_OBJECTS,
        reasoning=object_of(effort=STRING, summary=STRING),
        tool_choice={"anyOf": [STRING, OBJECT]},
    )
