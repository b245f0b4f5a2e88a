"""Uploaded files and their kinds: each GGUF is checked before anything refers to it, split ones are grouped.

Ollama: server/create.go convertModelFromFiles, ggufLayers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Literal

from corral.digest import Digest
from corral.errors import CorralError, GGUFError, InvalidDigestError, InvalidRequestError, StoreError
from corral.library.create.projector import lacks_projector_type
from corral.store.blobs import BlobStore
from corral.weights.gguf import GGUFFile, check_loadable
from corral.weights.gguf.foreign import explain_file, explain_stand_in
from corral.weights.quantize import group_splits

_EMBEDDED_PREFIXES = ("a.", "mm.", "mtp.", "s.", "v.")

Kind = Literal["model", "projector", "adapter", "draft"]
# Kinds of which a model has at most one.
_SINGLE: dict[Kind, str] = {"model": "models", "projector": "projectors", "draft": "draft models"}


def layer_media_type(kind: str) -> str:
    return f"application/vnd.ollama.image.{kind}"


class MissingBlobError(StoreError):
    """A create refers to a blob that is not in the store."""


@dataclass(frozen=True, slots=True)
class GGUFGroup:
    """The files of one future layer: one file, or the parts of a split one in order. `gguf` is the first header.

    `is_untouched`: Ollama would store it byte for byte too.
    """

    kind: Kind
    names: tuple[str, ...]
    digests: tuple[Digest, ...]
    gguf: GGUFFile
    paths: tuple[Path, ...]

    @property
    def is_split(self) -> bool:
        return len(self.paths) > 1

    @property
    def needs_projector_type(self) -> bool:
        return self.kind == "projector" and lacks_projector_type(self.gguf)

    @property
    def is_untouched(self) -> bool:
        return not self.is_split and (self.kind != "model" or has_embedded_tensors(self.gguf))


def kind_of_files(blobs: BlobStore, files: Mapping[str, str]) -> Literal["gguf", "safetensors"]:
    """The kind of a set of files, by their names or else by their contents.

    Raises:
        InvalidRequestError: the kind is unknown, or the files are of two kinds.
        StoreError: a blob is missing.
    """
    named: dict[str, str] = {}
    for name in files:
        if (suffix := PurePath(name).suffix.lower()) in (".gguf", ".safetensors"):
            named.setdefault(suffix, name)
    if len(named) == 2:
        raise InvalidRequestError(
            f"two kinds of weights, {named['.gguf']} and {named['.safetensors']}: send only one of them"
        )
    if named:
        return "gguf" if ".gguf" in named else "safetensors"
    problem = ""
    for name, digest in files.items():
        path = blob_path(blobs, digest)
        if read_head(path, 4) == b"GGUF":
            return "gguf"
        problem = problem or (f"{name} {found}" if (found := explain_file(path)) else "")
    raise InvalidRequestError(problem or "unknown type")


def read_head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def check_content(path: Path, name: str) -> None:
    """Raises InvalidRequestError: weights that are something else, or a placeholder of a file."""
    explain = explain_file if name.endswith(".safetensors") else partial(explain_stand_in, name=name)
    if problem := explain(path):
        raise InvalidRequestError(f"{name} {problem}")


def sorted_files(files: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(files.items())


def blob_path(blobs: BlobStore, digest: str) -> Path:
    """The file of an uploaded blob.

    Raises:
        StoreError: an invalid digest, a blob that was never uploaded, or a linked file that is gone or changed.
    """
    try:
        path = blobs.path(Digest.parse(digest))
    except InvalidDigestError as exc:
        raise StoreError(str(exc)) from None
    if problem := blobs.links.problem(path):
        raise StoreError(problem)
    if not path.is_file():
        raise MissingBlobError(f"open {path}: no such file or directory")
    return path


def open_gguf(path: Path, name: str = "") -> GGUFFile:
    """The header of a file that should be a model; `name` is the client's name for it.

    Raises:
        InvalidRequestError: it is not a GGUF file.
        CorralError: it is invalid; the text says why.
    """
    if read_head(path, 4) != b"GGUF":
        problem = explain_file(path)
        detail = f": {name} {problem}" if problem and name else ""
        raise InvalidRequestError(f"supplied file was not in GGUF format{detail}")
    try:
        return GGUFFile.open(path)
    except GGUFError as exc:
        raise CorralError(str(exc)) from exc


def group_files(files: list[tuple[str, str, Path, GGUFFile]], *, as_draft: bool = False) -> list[GGUFGroup]:
    """Files (name, digest, path, header) grouped by future layer, in the order of their first parts.

    Raises:
        CorralError: parts that do not fit together, or a model that the engine would not load.
    """
    by_path = {header.path: (name, digest) for name, digest, _, header in files}
    groups = []
    for parts in group_splits([(name, header) for name, _, _, header in files]):
        first_name, gguf = parts[0]
        named = [by_path[header.path] for _, header in parts]
        kind: Kind = "draft" if as_draft else kind_of(gguf)
        group = GGUFGroup(
            kind,
            tuple(name for name, _ in parts),
            tuple(Digest.parse(digest) for _, digest in named),
            gguf,
            tuple(header.path for _, header in parts),
        )
        if kind == "model" and not group.is_split and not group.is_untouched:
            check_model(gguf, first_name)
        groups.append(group)
    groups = list({group.digests: group for group in reversed(groups)}.values())[::-1]
    check_one_of_each((group.kind, group.names[0]) for group in groups)
    return groups


def check_one_of_each(files: Iterable[tuple[Kind, str]]) -> None:
    """Refuse several files of a kind of which the engine takes one.

    Raises:
        InvalidRequestError: the text names all of them.
    """
    by_kind: dict[Kind, list[str]] = {}
    for kind, name in files:
        by_kind.setdefault(kind, []).append(name)
    for kind, what in _SINGLE.items():
        names = by_kind.get(kind, [])
        if len(names) > 1:
            listed = f"{', '.join(names[:-1])} and {names[-1]}"
            raise InvalidRequestError(
                f"{len(names)} {what} where one is expected: {listed}; choose one of them"
            )


def check_model(gguf: GGUFFile, name: str) -> None:
    """Raises CorralError: the engine would not load it."""
    try:
        check_loadable(gguf)
    except GGUFError as exc:
        raise CorralError(f"failed to validate GGUF {name}: {exc}") from exc


def kind_of(gguf: GGUFFile) -> Kind:
    """The role of a file in a model."""
    general = gguf.metadata.get("general.type")
    if general == "adapter":
        return "adapter"
    if general in ("projector", "mmproj"):
        return "projector"
    has_blocks = bool(gguf.get_arch("block_count"))
    if not has_blocks and gguf.get_arch("vision.block_count"):
        return "projector"
    encoders = ("clip.has_vision_encoder", "clip.has_audio_encoder")
    if (
        gguf.architecture == "clip"
        and not has_blocks
        and any(gguf.metadata.get(key) is True for key in encoders)
    ):
        return "projector"
    return "model"


def has_embedded_tensors(gguf: GGUFFile) -> bool:
    return any(tensor.name.startswith(_EMBEDDED_PREFIXES) for tensor in gguf.tensors)
