"""The OpenAPI document, made from the tables of routes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from corral import __version__
from corral.api.http.exchange import JSON
from corral.api.http.routing import Route, Surface
from corral.api.reading.schema import ANYTHING, COMPONENTS, ref

_PARAMETER = re.compile(r":(\w+)")


def make_document(surfaces: Sequence[Surface]) -> dict[str, Any]:
    """The description of the surfaces' routes, OpenAPI 3.1.

    Errors of the first surface stand beside each surface's own: they are those of refusals before a surface is known,
    as of a body that does not unpack.
    """
    general = surfaces[0]
    surfaces = [surface for surface in surfaces if surface.title]
    paths: dict[str, dict[str, Any]] = {}
    for surface in surfaces:
        for route in surface.routes:
            described = paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})
            described[_method(route).lower()] = _describe(route, surface, general)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Corral",
            "version": __version__,
            "description": "Ollama's native API, and APIs compatible with OpenAI's and Anthropic's.",
        },
        "tags": [{"name": surface.name, "description": surface.title} for surface in surfaces],
        "paths": paths,
        "components": {"schemas": COMPONENTS | _schemas(surfaces)},
    }


def _schemas(surfaces: Sequence[Surface]) -> dict[str, Any]:
    """What the routes answer, by name."""
    answers = [ANYTHING, *(surface.error for surface in surfaces)]
    answers += [
        route.answers for surface in surfaces for route in surface.routes if route.answers is not None
    ]
    schemas: dict[str, Any] = {}
    for answer in answers:
        if schemas.setdefault(answer.name, answer.schema) != answer.schema:
            raise ValueError(f"two schemas have the name {answer.name}")
    return schemas


def _method(route: Route) -> str:
    """The one to describe: what GET answers HEAD answers with the headers alone."""
    return route.methods.partition(" ")[0]


def _describe(route: Route, surface: Surface, general: Surface) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": route.summary,
        "operationId": "_".join([_method(route).lower(), *re.findall(r"[A-Za-z0-9]+", route.path)]),
        "tags": [surface.name],
        "x-corral-scope": route.scope,
    }
    if names := _PARAMETER.findall(route.path):
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if (body := route.reads) is not None:
        content = {"schema": body.schema} | ({} if body.example is None else {"example": body.example})
        described["requestBody"] = {"required": True, "content": {body.media_type: content}}
    errors = [ref(name) for name in dict.fromkeys((surface.error.name, general.error.name))]
    described["responses"] = _successes(route) | {
        "default": {
            "description": "Error",
            "content": {JSON: {"schema": errors[0] if len(errors) == 1 else {"anyOf": errors}}},
        }
    }
    return described


def _successes(route: Route) -> dict[str, Any]:
    first: dict[str, Any] = {"description": "OK"}
    if route.answers == ANYTHING:
        first["content"] = {"*/*": {"schema": {}}}
    elif route.answers is not None:
        first["content"] = {JSON: {"schema": ref(route.answers.name)}}
        if route.streams:
            first["content"][route.streams] = {"schema": {"type": "string"}}
    return {
        str(status): first if status == route.statuses[0] else {"description": "OK"}
        for status in route.statuses
    }
