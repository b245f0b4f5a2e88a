"""How an example calls a route: with a package where one has a function for it, otherwise with plain HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """Functions of the packages `package` of PyPI and npm, and what of their result `response` is printed.

    `arguments` takes the place of the body's members, where a function does not take them by name. JavaScript's
    packages take one object, unless `node_arguments` says otherwise.
    """

    package: str
    python: str
    shows: str
    node: str
    node_shows: str
    arguments: str = ""
    node_arguments: str = ""


def _ollama(name: str, shows: str, node_shows: str = "", **more: str) -> Call:
    return Call("ollama", f"ollama.{name}", shows, f"ollama.{name}", node_shows or shows, **more)


def _openai(name: str, shows: str, **more: str) -> Call:
    node_shows = more.pop("node_shows", shows)
    return Call("openai", f"client.{name}", shows, f"client.{name}", node_shows, **more)


CALLS: dict[str, Call] = {
    "GET /api/tags": _ollama(
        "list", "[model.model for model in response.models]", "response.models.map((each) => each.model)"
    ),
    "GET /api/ps": _ollama(
        "ps", "[model.model for model in response.models]", "response.models.map((each) => each.model)"
    ),
    "POST /api/show": _ollama(
        "show", "response.capabilities", arguments='"corral-tiny"', node_arguments="body"
    ),
    "POST /api/copy": _ollama(
        "copy", "response.status", arguments='"corral-tiny", "my-model"', node_arguments="body"
    ),
    "DELETE /api/delete": _ollama("delete", "response.status", arguments='"my-model"', node_arguments="body"),
    "POST /api/generate": _ollama("generate", "response.response"),
    "POST /api/chat": _ollama("chat", "response.message.content"),
    "POST /api/embed": _ollama("embed", "len(response.embeddings)", "response.embeddings.length"),
    "POST /api/embeddings": _ollama("embeddings", "len(response.embedding)", "response.embedding.length"),
    "POST /api/pull": _ollama("pull", "response.status"),
    "POST /api/push": _ollama("push", "response.status"),
    "POST /api/create": Call(
        "ollama", "ollama.create", "response.status", "ollama.create", "response.status", "", ""
    ),
    "POST /v1/chat/completions": _openai("chat.completions.create", "response.choices[0].message.content"),
    "POST /v1/completions": _openai("completions.create", "response.choices[0].text"),
    "POST /v1/embeddings": _openai(
        "embeddings.create", "len(response.data[0].embedding)", node_shows="response.data[0].embedding.length"
    ),
    "GET /v1/models": _openai(
        "models.list", "[model.id for model in response]", node_shows="response.data.map((each) => each.id)"
    ),
    "GET /v1/models/:model": _openai(
        "models.retrieve", "response.id", arguments='"corral-tiny"', node_arguments='"corral-tiny"'
    ),
    "POST /v1/responses": _openai("responses.create", "response.output_text"),
    "POST /v1/responses/compact": _openai(
        "responses.compact", "len(response.output)", node_shows="response.output.length"
    ),
    "GET /v1/responses/:id": _openai(
        "responses.retrieve",
        "response.output_text",
        arguments='"RESPONSE_ID"',
        node_arguments='"RESPONSE_ID"',
    ),
    "DELETE /v1/responses/:id": _openai(
        "responses.delete", "response", arguments='"RESPONSE_ID"', node_arguments='"RESPONSE_ID"'
    ),
    "GET /v1/responses/:id/input_items": _openai(
        "responses.input_items.list",
        "[item.type for item in response]",
        node_shows="response.data.map((each) => each.type)",
        arguments='"RESPONSE_ID"',
        node_arguments='"RESPONSE_ID"',
    ),
    "POST /v1/messages": Call(
        "anthropic",
        "client.messages.create",
        'next(block.text for block in response.content if block.type == "text")',
        "",
        "",
    ),
    "POST /v1/messages/count_tokens": Call(
        "anthropic", "client.messages.count_tokens", "response.input_tokens", "", ""
    ),
}
# npm's function has another name.
NODE_NAMES = {"responses.input_items.list": "responses.inputItems.list"}
# Bodies that say more to a reader than those of the description.
BODIES: dict[str, Any] = {
    "POST /api/embed": {"model": "all-minilm", "input": ["one text", "another text"]},
    "POST /api/embeddings": {"model": "all-minilm", "prompt": "one text"},
    "POST /v1/embeddings": {"model": "all-minilm", "input": "one text"},
    "POST /v1/chat/completions": {
        "model": "corral-tiny",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    },
    "POST /v1/messages": {
        "model": "corral-tiny",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    },
    "POST /v1/responses": {"model": "corral-tiny", "input": "What is the capital of France?"},
    "POST /v1/responses/compact": {
        "model": "corral-tiny",
        "input": [{"role": "user", "content": "My name is Anna."}],
    },
    "POST /api/generate": {"model": "corral-tiny", "prompt": "What is the capital of France?"},
    "POST /api/chat": {
        "model": "corral-tiny",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    },
}
# What stands for the parameter of a path.
PARAMETERS = {
    "/v1/models/:model": "corral-tiny",
    "/api/blobs/:digest": "DIGEST",
    "/api/requests/:id": "REQUEST_ID",
    "/api/keys/:id": "KEY_ID",
    "/api/keys/:id/rotate": "KEY_ID",
    "/v1/responses/:id": "RESPONSE_ID",
    "/v1/responses/:id/input_items": "RESPONSE_ID",
}
HEADERS = {
    "GET /api/events": ("Accept", "application/json"),
    "GET /api/keys/me": ("Authorization", "Bearer ck_..."),
}
# Why an example is not run.
NOT_RUN = {
    "POST /api/push": "needs an account at a registry",
    "DELETE /api/requests/:id": "tested in tests/operations/test_cancel.py",
}
_NO_SERVICE = "Corral has no hosted service and never asks one, so the answer is an error."
# Routes without an example, and what a reader should know instead.
NO_EXAMPLE = {
    "GET /api/status": "Always says that the hosted service is off.",
    "POST /api/local-blobs": "For the command line: a file of this machine becomes a blob without being sent.",
    "GET /api/local-blobs": "For the command line.",
    "POST /api/me": "Asks ollama.com about this machine's key. Without an account the answer is 401.",
    "POST /api/signout": "Asks ollama.com to forget this machine's key.",
    "DELETE /api/user/keys/:key": "The older form of `/api/signout`.",
    "POST /api/experimental/web_search": _NO_SERVICE,
    "POST /api/experimental/web_fetch": _NO_SERVICE,
    "GET /openapi.json": "See [the HTTP interface](../http.md).",
}
