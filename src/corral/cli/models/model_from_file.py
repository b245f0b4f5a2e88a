"""A file in place of a model name (`corral run ./model.gguf`): a model named after the file is created from it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from corral.cli.frame.flags import PROGRAM
from corral.cli.http.client import APIError, Client
from corral.cli.models.weblinks import name_of_link
from corral.cli.terminal.screen import safe
from corral.errors import InvalidRequestError
from corral.names import ModelName, looks_like_file

_SUFFIX = re.compile(r"(-\d{5}-of-\d{5})?\.(gguf|safetensors|bin)", re.IGNORECASE)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_MAX_NAME = 80


def model_named(client: Client, word: str) -> str:
    """The model that a word means: the word itself, the model of a link, or one that is created from a file.

    Raises:
        APIError: there is neither a file nor a model, or the file's name belongs to another model.
        ModelfileError, NoServerError, OSError
    """
    name = name_of_link(word)
    if name != word:
        print(safe(f"{word} means the model {name}"), file=sys.stderr)
        return name
    if not looks_like_file(word) or (_may_be_name(word) and shown(client, word) is not None):
        return word
    from corral.cli.models.sources import local_path

    path = local_path(word, Path())
    if not path.exists():
        other = f", and no model is named {word!r}" if _may_be_name(word) else ""
        raise APIError(f"{path} does not exist{other}")
    return _model_of(client, word, path)


def name_of_file(path: Path) -> str:
    """A model name made from a file name: without its extension, and with characters that names cannot have replaced.

    Raises:
        APIError: nothing of the name is left.
    """
    stem = path.name if path.is_dir() else _SUFFIX.sub("", path.name)
    name = _NOT_IN_NAMES.sub("-", stem).strip("-.")[:_MAX_NAME]
    if not name:
        raise APIError(
            f"{path}: this file name cannot become a model name; {_how_to_name('NAME', str(path))}"
        )
    return name


def advice_about(word: str) -> str:
    """A hint for a word that is a file where a model name is required; empty if it is not a file."""
    # Path would raise for a word that is too long for a file name, or for an unknown home folder.
    if looks_like_file(word) and os.path.exists(os.path.expanduser(word)):  # noqa: PTH110, PTH111
        return f"{word} is a file: `{PROGRAM} run {word}` creates a model from it, or {_how_to_name('NAME', word)}"
    return ""


def _how_to_name(name: str, path: str) -> str:
    return f"`echo FROM {path} | {PROGRAM} create {name} -f -` creates one with a name of your choice"


def _may_be_name(word: str) -> bool:
    try:
        ModelName.parse(word)
    except InvalidRequestError:
        return False
    return True


def shown(client: Client, name: str) -> dict[str, Any] | None:
    """The answer of show; None if the model does not exist. Raises APIError, NoServerError."""
    try:
        answer: dict[str, Any] = client.call("POST", "/api/show", {"model": name})
    except APIError as error:
        if error.status in (400, 404):
            return None
        raise
    return answer


def _model_of(client: Client, word: str, path: Path) -> str:
    from corral.cli.models.sources import named_files
    from corral.cli.models.upload import send_files
    from corral.cli.terminal.progress import Progress, show_events

    path = path.resolve()
    name = name_of_file(path)
    files = named_files(path)
    with Progress() as progress:
        progress.status(f"checking {path.name}")
        known = shown(client, name)
        if known is not None and len(files) > 1:
            # A model created from several files does not record them, so they cannot be compared.
            print(safe(f"using the existing model {name}"), file=sys.stderr)
            return name
        digests = send_files(client, progress, files)
        if known is None:
            show_events(progress, client.stream("/api/create", {"model": name, "files": digests}))
    if known is None:
        print(safe(f"created the model {name} from {word}"), file=sys.stderr)
    elif next(iter(digests.values())).replace(":", "-") not in known.get("modelfile", ""):
        raise APIError(
            f"a model {name} already exists and was not created from {word}: `{PROGRAM} run {name}` runs it; "
            + _how_to_name("NAME", word)
        )
    return name
