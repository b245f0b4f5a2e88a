"""The OpenAPI document, made from the table of operations."""

from __future__ import annotations

import re
from typing import Any

from corral import __version__
from corral.api.http.exchange import JSON, JSON_UTF8, Exchange
from corral.api.http.routing import Router
from corral.api.openapi.answers import ANSWERS
from corral.api.openapi.schema import COMPONENTS, body_schema, object_of, ref
from corral.api.openapi.table import OPERATIONS, Operation
from corral.golang.json import encode

_BINARY = {"type": "string", "format": "binary"}
_FORM = object_of(
    "model file",
    model={"type": "string"},
    file=_BINARY,
    response_format={"type": "string"},
    language={"type": "string"},
    prompt={"type": "string"},
    stream={"type": "string"},
)


def make_document() -> dict[str, Any]:
    """The description of the server's routes, OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Corral",
            "version": __version__,
            "description": "Ollama's native API, and APIs compatible with OpenAI's and Anthropic's.",
        },
        "paths": paths,
        "components": {"schemas": {**COMPONENTS, **ANSWERS}},
    }


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _operation_id(operation),
        "tags": [operation.tag],
    }
    names = re.findall(r"\{(\w+)\}", operation.path)
    if names:
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if (content := _body(operation)) is not None:
        described["requestBody"] = {"required": True, "content": content}
    described["responses"] = _responses(operation)
    return described


def _operation_id(operation: Operation) -> str:
    return "_".join([operation.method.lower(), *re.findall(r"[A-Za-z0-9]+", operation.path)])


def _body(operation: Operation) -> dict[str, Any] | None:
    if operation.fields is not None:
        return {JSON: {"schema": body_schema(operation.fields, operation.required, operation.special)}}
    contents: dict[str, dict[str, Any]] = {
        "binary": {"application/octet-stream": {"schema": _BINARY}},
        "form": {"multipart/form-data": {"schema": _FORM}},
        "any": {JSON: {"schema": {}}},
    }
    return contents.get(operation.body)


def _responses(operation: Operation) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "done"}
    if operation.answer == "Anything":
        success["content"] = {"*/*": {"schema": {}}}
    elif operation.answer:
        success["content"] = {JSON: {"schema": ref(operation.answer)}}
        if operation.stream:
            success["content"][operation.stream] = {"schema": {"type": "string"}}
    responses: dict[str, Any] = {"200": success}
    responses |= {str(status): {"description": "done"} for status in operation.other_statuses}
    # The native form stands for refusals that no surface sees: a packed body, a model elsewhere.
    errors = [ref(name) for name in dict.fromkeys((operation.error, "NativeError"))]
    responses["default"] = {
        "description": "an error; the status says of which kind",
        "content": {JSON: {"schema": errors[0] if len(errors) == 1 else {"anyOf": errors}}},
    }
    return responses


def add_openapi_route(router: Router) -> None:
    """Publish the document at `/openapi.json`; it is made when it is first asked for."""
    made: list[bytes] = []

    async def openapi(exchange: Exchange) -> None:
        if not made:
            made.append(encode(make_document()))
        await exchange.respond(200, made[0], JSON_UTF8)

    router.add("GET HEAD", "/openapi.json", openapi)
