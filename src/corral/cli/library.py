"""`list`, `ps`, `cp`, `rm`, `stop`: one call each, and how its answer is printed."""

from __future__ import annotations

import datetime
import sys

from corral.cli.client import APIError, Client
from corral.cli.flags import Arguments
from corral.cli.human import format_age, format_bytes, format_table, parse_time

__all__ = ["copy", "list_models", "model_table", "processor_of", "ps", "remove", "stop"]


def list_models(client: Client, arguments: Arguments) -> None:
    sys.stdout.write(model_table(client, arguments.words[0] if arguments.words else ""))


def model_table(client: Client, prefix: str) -> str:
    """The table of the models whose names begin with a prefix, in any case."""
    prefix = prefix.lower()
    rows = []
    for model in client.call("GET", "/api/tags")["models"] or ():
        if model["name"].lower().startswith(prefix):
            size = "-" if model.get("remote_model") else format_bytes(model["size"])
            age = format_age(parse_time(model["modified_at"]))
            rows.append((model["name"], model["digest"][:12], size, age))
    return format_table(rows, header=("NAME", "ID", "SIZE", "MODIFIED"))


def ps(client: Client, arguments: Arguments) -> None:
    prefix = arguments.words[0] if arguments.words else ""
    now = datetime.datetime.now(datetime.UTC)
    rows = []
    for model in client.call("GET", "/api/ps")["models"] or ():
        if not model["name"].startswith(prefix):
            continue
        expires = parse_time(model["expires_at"])
        until = "Stopping..." if expires is not None and expires <= now else format_age(expires, now)
        row = (
            model["name"],
            model["digest"][:12],
            format_bytes(model["size"]),
            processor_of(model["size"], model["size_vram"]),
        )
        rows.append((*row, str(model.get("context_length", 0)), until))
    header = ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL")
    sys.stdout.write(format_table(rows, header=header))


def processor_of(size_bytes: int, vram_bytes: int) -> str:
    """Where a model is: on the CPU, on GPUs, or in what shares on both."""
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
