"""`list`, `ps`, `cp`, `rm`, `stop`, `pull`, `push`: one call each, and how its answer is printed."""

from __future__ import annotations

import datetime
import sys
from typing import Any

from corral.cli.client import APIError, Client
from corral.cli.flags import PROGRAM, Arguments
from corral.cli.human import format_age, format_bytes, format_table, parse_time
from corral.cli.progress import Progress, show_events

__all__ = ["copy", "list_models", "ps", "pull", "push", "remove", "stop"]


def list_models(client: Client, arguments: Arguments) -> None:
    prefix = arguments.words[0].lower() if arguments.words else ""
    rows = []
    for model in client.call("GET", "/api/tags")["models"] or ():
        if model["name"].lower().startswith(prefix):
            size = "-" if model.get("remote_model") else format_bytes(model["size"])
            age = format_age(parse_time(model["modified_at"]))
            rows.append((model["name"], model["digest"][:12], size, age))
    sys.stdout.write(format_table(rows, header=("NAME", "ID", "SIZE", "MODIFIED")))


def ps(client: Client, arguments: Arguments) -> None:
    prefix = arguments.words[0] if arguments.words else ""
    now = datetime.datetime.now(datetime.UTC)
    rows = []
    for model in client.call("GET", "/api/ps")["models"] or ():
        if not model["name"].startswith(prefix):
            continue
        expires = parse_time(model["expires_at"])
        until = "Stopping..." if expires is not None and expires <= now else format_age(expires, now)
        row = (model["name"], model["digest"][:12], format_bytes(model["size"]), _processor(model))
        rows.append((*row, str(model["context_length"]), until))
    header = ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL")
    sys.stdout.write(format_table(rows, header=header))


def _processor(model: dict[str, Any]) -> str:
    size, vram = model["size"], model["size_vram"]
    if vram == 0:
        return "100% CPU"
    if vram == size:
        return "100% GPU"
    if vram > size or size == 0:
        return "Unknown"
    share = round((size - vram) / size * 100)
    return f"{share}%/{100 - share}% CPU/GPU"


def copy(client: Client, arguments: Arguments) -> None:
    source, destination = arguments.words
    client.call("POST", "/api/copy", {"source": source, "destination": destination})
    print(f"copied '{source}' to '{destination}'")


def remove(client: Client, arguments: Arguments) -> None:
    for name in arguments.words:
        try:
            _unload(client, name)
        except APIError as error:
            if error.status != 404:
                print(f"Warning: unable to stop model '{name}'", file=sys.stderr)
        client.call("DELETE", "/api/delete", {"model": name})
        print(f"deleted '{name}'")


def stop(client: Client, arguments: Arguments) -> None:
    name = arguments.words[0]
    try:
        _unload(client, name)
    except APIError as error:
        if error.status == 404:
            raise APIError(f'couldn\'t find model "{name}" to stop') from None
        raise


def _unload(client: Client, name: str) -> None:
    client.call("POST", "/api/generate", {"model": name, "keep_alive": 0, "stream": False})


def pull(client: Client, arguments: Arguments) -> None:
    body = {"model": arguments.words[0], "insecure": arguments.has("insecure")}
    with Progress() as progress:
        show_events(progress, client.stream("/api/pull", body))


def push(client: Client, arguments: Arguments) -> None:
    name = arguments.words[0]
    body = {"model": name, "insecure": arguments.has("insecure")}
    try:
        with Progress() as progress:
            show_events(progress, client.stream("/api/push", body))
    except APIError as error:
        if "access denied" in str(error) or "unauthorized" in str(error):
            raise APIError(
                "you are not authorized to push to this namespace, create the model under a namespace you own"
            ) from None
        raise
    print(f"\npushed '{name}'; see `{PROGRAM} pull {name}` on another machine")
