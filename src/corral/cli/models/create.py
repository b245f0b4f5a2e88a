"""`corral create`: a Modelfile and the files it names become a create request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, BinaryIO

from corral.cli.frame.flags import Arguments
from corral.cli.http.client import Client
from corral.cli.models.model_from_file import model_named, shown
from corral.cli.models.sources import existing_path, find_sources, local_path, named_files, named_together
from corral.cli.models.upload import Uploader
from corral.cli.models.weblinks import name_of_link
from corral.cli.terminal.progress import Progress, show_events
from corral.errors import InvalidModelNameError, InvalidRequestError
from corral.modelfile import Directive, ModelfileError, ModelfileFields, fields_of, parse_modelfile
from corral.names import ModelName, looks_like_file, parse_ref

_MAX_MODELFILE_BYTES = 64 << 20


def create(client: Client, arguments: Arguments) -> None:
    """Raises ModelfileError, InvalidModelNameError, APIError, NoServerError, OSError."""
    name = arguments.words[0]
    if looks_like_file(name) and not arguments.get("file") and local_path(name, Path()).exists():
        model_named(client, name)
        return
    try:
        ModelName.parse(name)
    except InvalidModelNameError:
        raise InvalidModelNameError(name, f"invalid model name: {name}") from None
    fields, folder, files, names = _read(arguments)
    for parameter in fields.deprecated:
        print(f"warning: parameter {parameter} is deprecated")
    request = _request(name, fields, arguments)
    imatrix = _regular_file(arguments.get("imatrix"))
    with Progress() as progress:
        progress.status("gathering model components")
        if names:
            request["from"] = _base_name(client, names[-1], folder)
        uploader = Uploader(client, progress, by_reference=arguments.has("reference"))
        for member, named in files.items():
            request[member] = {path_name: uploader.digest_of(path) for path_name, path in named.items()}
        if imatrix:
            request["imatrix"] = uploader.digest_of(imatrix)
        show_events(progress, client.stream("/api/create", request))


def _request(name: str, fields: ModelfileFields, arguments: Arguments) -> dict[str, Any]:
    """The request that the Modelfile and the flags describe, without files. Raises ModelfileError."""
    request: dict[str, Any] = {"model": name, **fields.request}
    for flag, member in (("quantize", "quantize"), ("draft-quantize", "draft_quantize")):
        if level := arguments.get(flag):
            request[member] = level
    if "draft_quantize" in request and not fields.drafts:
        raise ModelfileError("--draft-quantize requires a DRAFT model")
    if arguments.has("experimental"):
        note = "--experimental has no effect: safetensors models are always converted to GGUF"
        print(note, file=sys.stderr)
    return request


def _regular_file(value: str) -> Path | None:
    """Raises ModelfileError."""
    if not value:
        return None
    path = existing_path(value, Path())
    if not path.is_file():
        raise ModelfileError(f"{path} is not a file")
    return path


def _base_name(client: Client, value: str, folder: Path) -> str:
    """The model that a FROM names, if it does not name a local file.

    Raises:
        ModelfileError: it is a file that does not exist, rather than a model.
        APIError: a link that is not to a model.
    """
    value = name_of_link(value)
    try:
        ModelName.parse(parse_ref(value).base)
    except InvalidRequestError:
        path = local_path(value, folder)
        raise ModelfileError(
            f"FROM {value}: {path} does not exist, and this is not a valid model name"
        ) from None
    if looks_like_file(value) and shown(client, value) is None:
        path = local_path(value, folder)
        raise ModelfileError(f"FROM {value}: {path} does not exist, and no model has this name")
    return value


def _read(arguments: Arguments) -> tuple[ModelfileFields, Path, dict[str, dict[str, Path]], list[str]]:
    """The Modelfile, the folder that its paths are relative to, its files by member of the request, and the models
    that its FROM lines name.

    Raises:
        ModelfileError: its place is printed first, in the format of compilers.
    """
    place = arguments.get("file", "Modelfile")
    path = Path(place)
    try:
        if place == "-":
            folder, directives = Path(), parse_modelfile(_bounded(sys.stdin.buffer, "standard input"))
        elif path.is_dir():
            raise ModelfileError(
                f"{place} is a folder, not a Modelfile; to create a model from it, write FROM {place} in a Modelfile"
            )
        elif path.exists():
            folder, directives = path.parent, _directives(path)
        else:
            folder, directives = Path(), [Directive("from", ".")]
        fields = fields_of(directives)
        files, names = _files(fields, folder)
    except ModelfileError as error:
        if error.line:
            print(f"{place}:{error.line}: {error.detail or error}", file=sys.stderr)
        raise
    if arguments.get("file") and place != "-" and not path.exists():
        raise ModelfileError(f"specified Modelfile wasn't found: {place}")
    return fields, folder, files, names


def _directives(path: Path) -> list[Directive]:
    """The directives of a Modelfile; a weights file is treated as a Modelfile that names it.

    Raises:
        ModelfileError
    """
    with path.open("rb") as file:
        if file.peek(4).startswith(b"GGUF"):
            return [Directive("from", path.name)]
        return parse_modelfile(_bounded(file, str(path)))


def _bounded(file: BinaryIO, what: str) -> bytes:
    """Raises ModelfileError: too large for a Modelfile."""
    data = file.read(_MAX_MODELFILE_BYTES + 1)
    if len(data) > _MAX_MODELFILE_BYTES:
        raise ModelfileError(
            f"{what} is larger than {_MAX_MODELFILE_BYTES >> 20} MiB, so it is not a Modelfile"
        )
    return data


def _files(fields: ModelfileFields, folder: Path) -> tuple[dict[str, dict[str, Path]], list[str]]:
    """Files by member of the request, and the models that the FROM lines name.

    Raises:
        ModelfileError
    """
    found = {value: find_sources(value, folder) for value in fields.sources}
    names = [value for value in fields.sources if not found[value]]
    files: dict[str, dict[str, Path]] = {}
    if sources := [named for named in found.values() if named]:
        files["files"] = sources[0] if len(sources) == 1 else named_together(sources)
    for value in fields.adapters:
        files["adapters"] = named_files(existing_path(value, folder))
    paths = {local_path(value, folder) for value in fields.sources}
    for value in fields.drafts:
        path = existing_path(value, folder)
        if path in paths:
            raise ModelfileError(f"DRAFT must not reference the same local path as FROM: {path}")
        files.setdefault("draft_files", {}).update(named_files(path))
    return files, names
