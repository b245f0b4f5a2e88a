"""Uploaded files and what they are: each GGUF checked before anything refers to it, split ones joined in groups.

Ollama: server/create.go convertModelFromFiles, ggufLayers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from corral.create.projector import lacks_projector_type
from corral.digest import Digest
from corral.errors import CorralError, GGUFError, InvalidDigestError, InvalidRequestError, StoreError
from corral.gguf import GGUFFile, check_loadable
from corral.quantize import group_splits
from corral.store.blobs import BlobStore

__all__ = [
    "GGUFGroup",
    "MissingBlobError",
    "blob_path",
    "group_files",
    "kind_of_files",
    "layer_media_type",
    "open_gguf",
    "sorted_files",
]

_ZIP_MAGIC = b"PK\x03\x04"
_EMBEDDED_PREFIXES = ("a.", "mm.", "mtp.", "s.", "v.")

Kind = Literal["model", "projector", "adapter", "draft"]


def layer_media_type(kind: str) -> str:
    return f"application/vnd.ollama.image.{kind}"


class MissingBlobError(StoreError):
    """A create names a blob that is not in the store."""


@dataclass(frozen=True, slots=True)
class GGUFGroup:
    """One layer to be: a file, or the parts of a split one in order. `gguf` is the header of the first.

    `is_untouched`: the reference would store it byte for byte too.
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
    """What a set of files is, by the first that tells.

    Raises:
        InvalidRequestError: nothing tells.
        StoreError: a blob is not there.
    """
    for name, digest in files.items():
        if name.endswith(".safetensors"):
            return "safetensors"
        if name.endswith(".gguf"):
            return "gguf"
        with blob_path(blobs, digest).open("rb") as file:
            magic = file.read(4)
        if magic == b"GGUF":
            return "gguf"
        if magic == _ZIP_MAGIC:
            raise InvalidRequestError(
                f"{name} has weights in PyTorch's own format, which can hide programs: save them as safetensors first"
            )
    raise InvalidRequestError("unknown type")


def sorted_files(files: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(files.items())


def blob_path(blobs: BlobStore, digest: str) -> Path:
    """The file of an uploaded blob.

    Raises:
        StoreError: no digest, or it was never uploaded, or the file that it stands for has gone or changed.
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


def open_gguf(path: Path) -> GGUFFile:
    """The header of a file that somebody says is a model.

    Raises:
        InvalidRequestError: it is no GGUF file.
        CorralError: it is not a sound one; the text says why.
    """
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise InvalidRequestError("supplied file was not in GGUF format")
    try:
        return GGUFFile.open(path)
    except GGUFError as exc:
        raise CorralError(str(exc)) from exc


def group_files(files: list[tuple[str, str, Path, GGUFFile]], *, as_draft: bool = False) -> list[GGUFGroup]:
    """Files (name, digest, path, header) as layers to be, in the order of their first parts.

    Raises:
        CorralError: parts that do not fit, or a model that the engine would not load.
    """
    by_path = {header.path: (name, digest) for name, digest, _, header in files}
    groups = []
    for parts in group_splits([(name, header) for name, _, _, header in files]):
        first_name, gguf = parts[0]
        named = [by_path[header.path] for _, header in parts]
        kind = "draft" if as_draft else _kind(gguf)
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
    return groups


def check_model(gguf: GGUFFile, name: str) -> None:
    """Raises CorralError: the engine would not load it."""
    try:
        check_loadable(gguf)
    except GGUFError as exc:
        raise CorralError(f"failed to validate GGUF {name}: {exc}") from exc


def _kind(gguf: GGUFFile) -> Kind:
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
