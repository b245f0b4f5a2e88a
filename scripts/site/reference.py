"""Writes docs/reference/: every route of the route tables, with an example in four languages.

`python -m scripts.site.reference`
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from corral.api.http.routing import Route, Surface
from corral.api.operations.routes import operations_surface
from corral.api.reading.schema import ANYTHING
from corral.server import _surfaces
from scripts.site import snippets
from scripts.site.blocks import DOCS
from scripts.site.calls import BODIES, CALLS, HEADERS, NO_EXAMPLE, NOT_RUN, PARAMETERS
from scripts.site.fieldtexts import BY_ROUTE, FIELDS

FOLDER = DOCS / "reference"
MARK = "<!-- Generated from the route tables by `python -m scripts.site.reference`. -->\n"
# The files, their titles, the surfaces in them, and what a reader has to know first.
PAGES = (
    (
        "native",
        "Ollama's API",
        ("native",),
        "The routes under `/api` are Ollama's, and a few more that only Corral has. Answers stream as lines of JSON "
        'unless `"stream": false` is set. What differs from Ollama is in [Differences](../differences.md).',
    ),
    (
        "openai",
        "OpenAI's API",
        ("openai", "responses"),
        "What each field does is described in [OpenAI's API](../openai.md) and [the Responses API](../responses.md). "
        '`"stream": true` gives server-sent events.',
    ),
    (
        "anthropic",
        "Anthropic's API",
        ("anthropic",),
        "What each field does is described in [Anthropic's API](../anthropic.md).",
    ),
    (
        "more",
        "Typed questions, keys, operation",
        ("systemone", "keys", "operations", "health", "description"),
        "Routes that only Corral has. [Typed questions](../systemone.md), [Security](../security.md) and "
        "[Operating a server](../operations.md) explain them.",
    ),
)
_DESCRIBED = ("native", "systemone", "keys")
_SCOPES = {
    "open": "open to everybody",
    "key": "any API key",
    "account": "a program on this machine, or a key with the scope `admin`",
}
_BLOB = {
    "POST /api/blobs/:digest": (
        f"curl --data-binary @model.gguf {snippets.BASE}/api/blobs/DIGEST\n",
        'import ollama\n\ndigest = ollama.Client().create_blob("model.gguf")\nprint(digest)\n',
        'import { readFile } from "node:fs/promises";\n\n'
        f'const response = await fetch("{snippets.BASE}/api/blobs/DIGEST", {{\n'
        '  method: "POST",\n  body: await readFile("model.gguf"),\n});\nconsole.log(response.status);\n',
        'package main\n\nimport (\n\t"log"\n\t"net/http"\n\t"os"\n)\n\nfunc main() {\n'
        '\tfile, err := os.Open("model.gguf")\n\tif err != nil {\n\t\tlog.Fatal(err)\n\t}\n'
        f'\tresponse, err := http.Post("{snippets.BASE}/api/blobs/DIGEST", "application/octet-stream", file)\n'
        "\tif err != nil {\n\t\tlog.Fatal(err)\n\t}\n\tdefer response.Body.Close()\n"
        "\tlog.Print(response.Status)\n}\n",
    ),
}
_TRANSCRIBE = (
    "<!-- not run: needs an audio model -->\n```sh\n"
    f"curl {snippets.BASE}/v1/audio/transcriptions -F model=gemma3n -F file=@speech.wav\n```\n"
)


def surfaces() -> list[Surface]:
    """The tables of routes of all APIs."""
    operations = operations_surface(Mock(), Mock(), Mock(), Mock(), Mock())
    return _surfaces(Mock(cloud_source="config"), Mock(), Mock(), operations)


def written() -> dict[Path, str]:
    """The files of the reference, with what they should hold."""
    known = {surface.name: surface for surface in surfaces()}
    pages = {}
    for file, title, names, lead in PAGES:
        parts = [f"# {title}\n\n{MARK}", f"{lead}\n"]
        for name in names:
            if len(names) > 1:
                parts.append(f"## {known[name].title}\n")
            parts += [_section(route, known[name], len(names) > 1) for route in known[name].routes]
        pages[FOLDER / f"{file}.md"] = "\n".join(parts)
    return pages


def key_of(route: Route) -> str:
    """How the tables of `calls.py` name a route."""
    return f"{_method(route)} {route.path}"


def _method(route: Route) -> str:
    return route.methods.partition(" ")[0]


def _section(route: Route, surface: Surface, nested: bool) -> str:
    key = key_of(route)
    path = re.sub(r":(\w+)", r"{\1}", route.path)
    parts = [f"{'###' if nested else '##'} {_method(route)} {path}\n", f"{route.summary}. {_needs(route)}\n"]
    if key in NO_EXAMPLE:
        return "\n".join([*parts, f"{NO_EXAMPLE[key]}\n"])
    if fields := _fields(route, surface):
        parts.append(fields)
    if members := _members(route):
        parts.append(members)
    if route.path == "/v1/audio/transcriptions":
        return "\n".join([*parts, _TRANSCRIBE])
    return "\n".join([*parts, _tabs(route)])


def _needs(route: Route) -> str:
    """Who may ask, where [keys](security.md) are asked for."""
    return (
        f"Needs {_SCOPES[route.scope]}."
        if route.scope in ("key", "account")
        else ("Open to everybody." if route.scope == "open" else f"With a key: the scope `{route.scope}`.")
    )


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind is None and "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(each) for each in schema["anyOf"]))
    if kind is None:
        return "string" if "enum" in schema else "object" if "$ref" in schema else "any"
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}s".replace("anys", "values")
    return str(kind)


def _fields(route: Route, surface: Surface) -> str:
    if route.reads is None or not (members := route.reads.schema.get("properties")):
        return ""
    required = route.reads.schema.get("required", [])
    if surface.name not in _DESCRIBED:
        rest = [f"`{name}`" for name in members if name not in required]
        must = ", ".join(f"`{name}` ({_type(members[name])})" for name in required)
        return f"Required: {must or 'nothing'}. Also read: {', '.join(rest)}.\n"
    own = BY_ROUTE.get(key_of(route), {})
    rows = [
        f"| `{name}`{', required' if name in required else ''} "
        f"| {_type(schema)} | {own.get(name) or FIELDS[name]} |\n"
        for name, schema in members.items()
    ]
    return "| field | type | |\n|---|---|---|\n" + "".join(rows)


def _members(route: Route) -> str:
    if route.answers is None or not (members := route.answers.schema.get("properties")):
        return ""
    return f"Members of the answer: {', '.join(f'`{name}`' for name in members)}.\n"


def _tabs(route: Route) -> str:
    key = key_of(route)
    if key in _BLOB:
        texts = _BLOB[key]
    else:
        request, call = _request(route), CALLS.get(key)
        texts = (
            snippets.curl(request),
            snippets.python(request, call),
            snippets.node(request, call),
            snippets.go(request),
        )
    mark = f"<!-- not run: {NOT_RUN[key]} -->\n" if key in NOT_RUN else ""
    blocks = [
        f"{mark}```{language}\n{text}```\n"
        for language, text in zip(("sh", "python", "js", "go"), texts, strict=True)
    ]
    return "<!-- tabs -->\n\n" + "\n".join(blocks) + "\n<!-- /tabs -->\n"


def _request(route: Route) -> snippets.Request:
    key = key_of(route)
    path = re.sub(r":\w+", PARAMETERS.get(route.path, ""), route.path)
    body = BODIES.get(key, route.reads.example if route.reads is not None else None)
    return snippets.Request(
        _method(route),
        path,
        body,
        HEADERS.get(key),
        route.streams == "application/x-ndjson",
        "status" if route.answers is None else "text" if route.answers == ANYTHING else "json",
    )


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
        print(f"{path}: {text.count(chr(10) + '```')} fences", file=sys.stderr)


if __name__ == "__main__":
    main()
