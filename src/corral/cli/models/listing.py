"""`list`, `ps`, `cp`, `stop`: one call each, and the output of its result."""

from __future__ import annotations

import datetime
import sys

from corral.cli.frame.flags import Arguments, UsageError
from corral.cli.http.client import APIError, Client
from corral.cli.terminal.formatting import format_age, format_bytes, parse_time
from corral.cli.terminal.screen import safe
from corral.cli.terminal.tables import screen_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ORDERS = ("name", "size", "modified")


def list_models(client: Client, arguments: Arguments) -> None:
    order = arguments.get("sort")
    if order and order not in _ORDERS:
        raise UsageError(f'invalid argument "{order}" for "--sort" flag: name, size or modified')
    models = _models(client, arguments.words[0] if arguments.words else "")
    if order:
        models = _sorted(models, order)
    if arguments.has("json"):
        from corral.cli.terminal.json_output import print_json

        print_json({"models": models})
        return
    sys.stdout.write(_table(models))
    for model in models:
        if problem := model.get("problem"):
            print(safe(f"{model['name']}: {problem}"), file=sys.stderr)


def model_table(client: Client, prefix: str) -> str:
    """The table of the models whose names begin with a prefix, ignoring case."""
    return _table(_models(client, prefix))


def _models(client: Client, prefix: str) -> list[dict[str, Any]]:
    prefix = prefix.lower()
    answer = client.call("GET", "/api/tags")["models"] or ()
    return [model for model in answer if model["name"].lower().startswith(prefix)]


def _sorted(models: list[dict[str, Any]], order: str) -> list[dict[str, Any]]:
    """By name, or the largest or newest first; equal ones by name."""
    models = sorted(models, key=lambda model: model["name"].lower())
    if order == "size":
        models.sort(key=lambda model: -model["size"])
    elif order == "modified":
        models.sort(key=_modified_s, reverse=True)
    return models


def _modified_s(model: dict[str, Any]) -> float:
    moment = parse_time(model["modified_at"])
    return moment.timestamp() if moment else 0.0


def _table(models: list[dict[str, Any]]) -> str:
    rows = []
    for model in models:
        size = "-" if model.get("remote_model") else format_bytes(model["size"])
        age = format_age(parse_time(model["modified_at"]))
        rows.append((model["name"], model["digest"][:12], size, age))
    return screen_table(rows, header=("NAME", "ID", "SIZE", "MODIFIED"), dispensable=("ID",))


def ps(client: Client, arguments: Arguments) -> None:
    prefix = arguments.words[0] if arguments.words else ""
    if arguments.has("json"):
        from corral.cli.terminal.json_output import print_json

        print_json({"models": _loaded(client, prefix)})
    elif arguments.has("watch"):
        from corral.cli.models.watch import watch

        watch(client, lambda: loaded_table(_loaded(client, prefix)))
    else:
        sys.stdout.write(loaded_table(_loaded(client, prefix)))


def _loaded(client: Client, prefix: str) -> list[dict[str, Any]]:
    answer = client.call("GET", "/api/ps")["models"] or ()
    return [model for model in answer if model["name"].startswith(prefix)]


def loaded_table(models: list[dict[str, Any]]) -> str:
    """Loaded models, as `/api/ps` has them."""
    now = datetime.datetime.now(datetime.UTC)
    rows = []
    for model in models:
        expires = parse_time(model["expires_at"])
        until = "Stopping..." if expires is not None and expires <= now else format_age(expires, now)
        if model.get("pinned"):
            until = f"{until} (pinned)"
        row = (
            model["name"],
            model["digest"][:12],
            format_bytes(model["size"]),
            processor_of(model["size"], model["size_vram"]),
        )
        rows.append((*row, str(model.get("context_length", 0)), until))
    header = ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL")
    return screen_table(rows, header=header, dispensable=("ID", "CONTEXT", "PROCESSOR"))


def processor_of(size_bytes: int, vram_bytes: int) -> str:
    """Where a model is loaded: on the CPU, on GPUs, or in which proportion on both."""
    if vram_bytes == 0:
        return "100% CPU"
    if vram_bytes == size_bytes:
        return "100% GPU"
    if vram_bytes > size_bytes or size_bytes == 0:
        return "Unknown"
    share = int((size_bytes - vram_bytes) / size_bytes * 100 + 0.5)  # halves up, as Go rounds
    return f"{share}%/{100 - share}% CPU/GPU"


def copy(client: Client, arguments: Arguments) -> None:
    source, destination = arguments.words
    client.call("POST", "/api/copy", {"source": source, "destination": destination})
    print(f"copied '{source}' to '{destination}'")


def stop(client: Client, arguments: Arguments) -> None:
    name = arguments.words[0]
    try:
        unload(client, name)
    except APIError as error:
        if error.status == 404:
            raise APIError(f'couldn\'t find model "{name}" to stop') from None
        raise


def unload(client: Client, name: str) -> None:
    """Unload a model; it is not an error if it is not loaded.

    Raises:
        APIError, NoServerError
    """
    client.call("POST", "/api/generate", {"model": name, "keep_alive": 0, "stream": False})
