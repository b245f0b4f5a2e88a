"""`load`: loads models before anybody asks them something."""

from __future__ import annotations

import sys

from corral.cli.conversation.spinner import Spinner
from corral.cli.frame.flags import PROGRAM, Arguments
from corral.cli.http.client import APIError, Client
from corral.cli.models.listing import processor_of
from corral.cli.terminal.formatting import format_bytes
from corral.cli.terminal.screen import safe
from corral.golang.time import parse_duration_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def load(client: Client, arguments: Arguments) -> int:
    """Exit status 1 if a model cannot be loaded; the others are loaded all the same."""
    keep_alive = arguments.get("keepalive")
    if keep_alive:
        parse_duration_ns(keep_alive)
    failed = 0
    for name in arguments.words:
        try:
            with Spinner(client, name):
                request_load(client, name, keep_alive)
        except APIError as error:
            if len(arguments.words) == 1:
                raise
            failed += 1
            hint = f" (to mend it: {error.hint})" if error.hint else ""
            print(safe(f"Error: {name}: {error}{hint}"), file=sys.stderr)
        else:
            print(safe(_loaded(client, name)))
    return 1 if failed else 0


def request_load(client: Client, name: str, keep_alive: str) -> None:
    """Have the server load a model, by the request that its kind of model answers; returns when it is loaded.

    Raises:
        APIError, NoServerError
    """
    info: dict[str, Any] = client.call("POST", "/api/show", {"model": name})
    path, body = _request(info.get("capabilities") or ())
    body["model"] = name
    if keep_alive:
        body["keep_alive"] = keep_alive
    client.call("POST", path, body)


def _request(capabilities: Sequence[str]) -> tuple[str, dict[str, Any]]:
    if "completion" in capabilities:
        return "/api/generate", {"stream": False}
    if "embedding" in capabilities and "rerank" not in capabilities:
        return "/api/embed", {"input": []}
    return "/api/tokenize", {"content": ""}  # every model has a vocabulary


def _loaded(client: Client, name: str) -> str:
    """What `ps` says about a model that has just been loaded."""
    full = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    for model in client.call("GET", "/api/ps")["models"] or ():
        if model["name"] == full:
            where = processor_of(model["size"], model["size_vram"])
            return (
                f"loaded '{name}': {format_bytes(model['size'])}, {where}, context {model['context_length']}"
            )
    return f"loaded '{name}'; `{PROGRAM} ps` lists what stays loaded"
