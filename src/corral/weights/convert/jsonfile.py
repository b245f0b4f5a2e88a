"""Reads untrusted JSON files, with limits of size, number of containers and depth."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from corral.errors import ConversionError

# The largest tokenizer.json in use has about 35 MB.
_MAX_FILE_BYTES = 128 * 2**20
# An empty list takes 56 bytes, so this many take a few hundred megabytes.
_MAX_CONTAINERS = 4_000_000
_MAX_VALUES = 16_000_000


def parse_json(data: bytes, name: str, *, max_containers: int = _MAX_CONTAINERS) -> Any:
    """Decode a JSON text; `NaN` and `Infinity`, which occur in config files, become 0 (ollama: convert/convert.go).

    Raises:
        ConversionError: not JSON, too deep, or too many values.
    """
    if data.count(b"[") + data.count(b"{") > max_containers or data.count(b",") > _MAX_VALUES:
        raise ConversionError(f"{name}: too many values")
    try:
        return json.loads(data, parse_constant=lambda _: 0)
    except (ValueError, RecursionError) as exc:
        raise ConversionError(f"parse {name}: {exc}") from exc


def parse_object(data: bytes, name: str, *, max_containers: int = _MAX_CONTAINERS) -> dict[str, Any]:
    """Decode a JSON text that must be an object.

    Raises:
        ConversionError
    """
    value = parse_json(data, name, max_containers=max_containers)
    if not isinstance(value, dict):
        raise ConversionError(f"parse {name}: expected a JSON object")
    return value


def read_bytes(path: Path, name: str) -> bytes:
    """The content of a file, up to a limit of size.

    Raises:
        ConversionError: it is too large.
        OSError
    """
    with path.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        if size_bytes > _MAX_FILE_BYTES:
            raise ConversionError(f"{name}: the file is larger than {_MAX_FILE_BYTES} bytes")
        file.seek(0)
        return file.read(size_bytes)


def read_object(path: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file; `name` is the file's name in errors.

    Raises:
        ConversionError
        OSError
    """
    return parse_object(read_bytes(path, name), name)
