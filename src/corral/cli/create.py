"""`corral create`: a Modelfile and the files it names become a create request."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corral.cli.client import Client
from corral.cli.flags import Arguments
from corral.cli.progress import Progress, show_events
from corral.errors import InvalidModelNameError
from corral.modelfile import Directive, ModelfileError, parse_modelfile, parse_parameters
from corral.names import ModelName

__all__ = ["create"]

# The first pattern that matches anything decides which files of a folder are the weights.
_WEIGHT_PATTERNS = (
    ("model*.safetensors", "*/model*.safetensors"),
    ("consolidated*.safetensors",),
    ("pytorch_model*.bin",),
    ("consolidated*.pth",),
    ("*.gguf",),
    ("*.bin",),
)
_COMPANIONS = ("*.json", "*/*.json", "chat_template.jinja")
_CHUNK_BYTES = 1 << 20


@dataclass(slots=True)
class _Upload:
    """A request under construction, and the local files behind its digests."""

    request: dict[str, Any]
    files: dict[str, Path] = field(default_factory=dict)


def create(client: Client, arguments: Arguments) -> None:
    """Raises ModelfileError, InvalidModelNameError, APIError, OSError."""
    name = arguments.words[0]
    try:
        ModelName.parse(name)
    except InvalidModelNameError:
        raise InvalidModelNameError(name, f"invalid model name: {name}") from None
    path = Path(arguments.get("file", "Modelfile"))
    folder = path.parent if path.exists() else Path()
    directives = parse_modelfile(path.read_bytes()) if path.exists() else [Directive("from", ".")]
    with Progress() as progress:
        progress.status("gathering model components")
        upload = _gather(name, directives, folder)
        if level := arguments.get("quantize"):
            upload.request["quantize"] = level
        if level := arguments.get("draft-quantize"):
            upload.request["draft_quantize"] = level
        for digest, file in upload.files.items():
            _send(client, progress, digest, file)
        show_events(progress, client.stream("/api/create", upload.request))


def _gather(name: str, directives: list[Directive], folder: Path) -> _Upload:
    parameters, deprecated = parse_parameters(directives)
    for parameter in dict.fromkeys(deprecated):
        print(f"warning: parameter {parameter} is deprecated")
    upload = _Upload({"model": name})
    request = upload.request
    if parameters:
        request["parameters"] = parameters
    for directive in directives:
        value = directive.value
        match directive.name:
            case "from":
                _take_from(upload, value, folder)
            case "adapter":
                request["adapters"] = _digests(upload, _existing(value, folder))
            case "draft":
                request.setdefault("draft_files", {}).update(_digests(upload, _existing(value, folder)))
            case "license":
                request.setdefault("license", []).append(value)
            case "message":
                request.setdefault("messages", []).append({"role": directive.key, "content": value})
            case "requires":
                request["requires"] = value.removeprefix("v")
            case "template" | "system" | "renderer" | "parser":
                request[directive.name] = value
    return upload


def _take_from(upload: _Upload, value: str, folder: Path) -> None:
    path = _local_path(value, folder)
    if path.exists():
        upload.request.setdefault("files", {}).update(_digests(upload, path))
    else:
        upload.request["from"] = value


def _local_path(value: str, folder: Path) -> Path:
    if value.startswith("~"):
        expanded = os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises another error
        if expanded == value:
            raise ModelfileError(f"failed to find user '{value[1:].partition('/')[0]}': unknown user")
        return Path(expanded)
    return (folder / value).absolute()


def _existing(value: str, folder: Path) -> Path:
    path = _local_path(value, folder)
    if not path.exists():
        raise ModelfileError(f"stat {path}: no such file or directory")
    return path


def _digests(upload: _Upload, path: Path) -> dict[str, str]:
    """Relative names of a file, or of a folder's files, with their digests."""
    files = _files_of(path) if path.is_dir() else [path.resolve()]
    root = files[0].parent if len(files) == 1 else Path(os.path.commonpath([file.parent for file in files]))
    named = {}
    for file in files:
        digest = _hash(file)
        upload.files[digest] = file
        named[file.relative_to(root).as_posix()] = digest
    return named


def _files_of(folder: Path) -> list[Path]:
    root = folder.resolve()
    for patterns in _WEIGHT_PATTERNS:
        weights = [file for pattern in patterns for file in sorted(root.glob(pattern))]
        if weights:
            break
    else:
        raise ModelfileError("no Modelfile or safetensors files found")
    companions = [file for pattern in _COMPANIONS for file in sorted(root.glob(pattern))]
    companions += sorted(root.glob("tokenizer.model")) or sorted(root.glob("*/tokenizer.model"))
    if all(file.suffix == ".gguf" for file in weights):
        companions = []
    chosen = list(dict.fromkeys(weights + companions))
    for file in chosen:
        if not file.resolve().is_relative_to(root):
            hint = (
                "\n\nUse --local-dir <dir> when downloading model to disable caching"
                if ".cache" in file.resolve().parts
                else ""
            )
            raise ModelfileError(f"insecure path: {file.relative_to(root)}{hint}")
    return chosen


def _hash(file: Path) -> str:
    hasher = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return f"sha256:{hasher.hexdigest()}"


class _CountingFile:
    """A file that tells the progress display how much of it was read."""

    def __init__(self, file: Any, progress: Progress, label: str, size_bytes: int) -> None:
        self._file = file
        self._progress = progress
        self._label = label
        self._size_bytes = size_bytes
        self._read_bytes = 0

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(max(size, _CHUNK_BYTES) if size > 0 else size)
        self._read_bytes += len(data)
        share = 100 * self._read_bytes // max(self._size_bytes, 1)
        self._progress.status(f"{self._label} {share}%", replace=True)
        return data


def _send(client: Client, progress: Progress, digest: str, file: Path) -> None:
    if client.has_blob(digest):
        return
    label = f"copying file {digest}"
    progress.status(f"{label} 0%")
    size_bytes = file.stat().st_size
    with file.open("rb") as stream:
        counted: Any = _CountingFile(stream, progress, label, size_bytes)
        client.upload(digest, counted, size_bytes)
