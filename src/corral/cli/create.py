"""`corral create`: a Modelfile and the files it names become a create request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from corral.cli.client import Client
from corral.cli.flags import Arguments
from corral.cli.progress import Progress, show_events
from corral.cli.sources import existing_path, find_sources, local_path, named_files
from corral.cli.upload import Uploader
from corral.errors import InvalidModelNameError, InvalidRequestError
from corral.modelfile import Directive, ModelfileError, ModelfileFields, fields_of, parse_modelfile
from corral.names import ModelName, parse_ref

__all__ = ["create"]


def create(client: Client, arguments: Arguments) -> None:
    """Raises ModelfileError, InvalidModelNameError, APIError, NoServerError, OSError."""
    name = arguments.words[0]
    try:
        ModelName.parse(name)
    except InvalidModelNameError:
        raise InvalidModelNameError(name, f"invalid model name: {name}") from None
    fields, folder, files = _read(arguments)
    for parameter in fields.deprecated:
        print(f"warning: parameter {parameter} is deprecated")
    request: dict[str, Any] = {"model": name, **fields.request}
    for flag, member in (("quantize", "quantize"), ("draft-quantize", "draft_quantize")):
        if level := arguments.get(flag):
            request[member] = level
    with Progress() as progress:
        progress.status("gathering model components")
        uploader = Uploader(client, progress, by_reference=arguments.has("reference"))
        for member, named in files.items():
            request[member] = {path_name: uploader.digest_of(path) for path_name, path in named.items()}
        names = [value for value in fields.sources if not find_sources(value, folder)]
        if names:
            request["from"] = names[-1]
            _warn_of_missing_file(names[-1], folder)
        if imatrix := arguments.get("imatrix"):
            request["imatrix"] = uploader.digest_of(existing_path(imatrix, Path()))
        show_events(progress, client.stream("/api/create", request))


def _warn_of_missing_file(value: str, folder: Path) -> None:
    """The server will only say that the value is no name, when what is wrong is that the file is not there."""
    try:
        ModelName.parse(parse_ref(value).base)
    except InvalidRequestError:
        path = local_path(value, folder)
        print(f"FROM {value}: {path} does not exist, and no model can have this name", file=sys.stderr)


def _read(arguments: Arguments) -> tuple[ModelfileFields, Path, dict[str, dict[str, Path]]]:
    """The Modelfile, the folder that its paths start from, and its files by the member of the request.

    Raises:
        ModelfileError: after a line that says where, like a compiler's.
    """
    place = arguments.get("file", "Modelfile")
    path = Path(place)
    try:
        if place == "-":
            folder, directives = Path(), parse_modelfile(sys.stdin.buffer.read())
        elif path.exists() and not path.is_dir():
            folder, directives = path.parent, parse_modelfile(path.read_bytes())
        else:
            folder, directives = Path(), [Directive("from", ".")]
        fields = fields_of(directives)
        files = _files(fields, folder)
    except ModelfileError as error:
        if error.line:
            print(f"{place}:{error.line}: {error.detail or error}", file=sys.stderr)
        raise
    if arguments.get("file") and place != "-" and not path.exists():
        raise ModelfileError(f"specified Modelfile wasn't found: {place}")
    return fields, folder, files


def _files(fields: ModelfileFields, folder: Path) -> dict[str, dict[str, Path]]:
    files: dict[str, dict[str, Path]] = {}
    for value in fields.sources:
        if found := find_sources(value, folder):
            files.setdefault("files", {}).update(found)
    for value in fields.adapters:
        files["adapters"] = named_files(existing_path(value, folder))
    sources = {local_path(value, folder) for value in fields.sources}
    for value in fields.drafts:
        path = existing_path(value, folder)
        if path in sources:
            raise ModelfileError(f"DRAFT must not reference the same local path as FROM: {path}")
        files.setdefault("draft_files", {}).update(named_files(path))
    return files
