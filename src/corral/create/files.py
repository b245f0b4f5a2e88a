"""Uploaded files as layers: what each GGUF is, checked before anything refers to it.

Ollama: server/create.go convertModelFromFiles, ggufLayers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from corral.digest import Digest
from corral.errors import CorralError, GGUFError, InvalidDigestError, InvalidRequestError, StoreError
from corral.gguf import GGUFFile, check_loadable
from corral.store.manifests import Layer
from corral.store.models import ModelStore

__all__ = ["ImportedFile", "import_file", "kind_of_files", "layer_media_type", "sorted_files"]

_SPLIT_NAME = re.compile(r"(?P<prefix>.+)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf")
_EMBEDDED_PREFIXES = ("a.", "mm.", "mtp.", "s.", "v.")


def layer_media_type(kind: str) -> str:
    return f"application/vnd.ollama.image.{kind}"


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """A file that becomes a layer. `is_untouched`: the reference would store it byte for byte too."""

    layer: Layer
    gguf: GGUFFile
    is_untouched: bool


def kind_of_files(store: ModelStore, files: Mapping[str, str]) -> Literal["gguf", "safetensors"]:
    """What a set of files is, by the first that tells.

    Raises:
        InvalidRequestError: nothing tells.
    """
    for name, digest in files.items():
        if name.endswith(".safetensors"):
            return "safetensors"
        if name.endswith(".gguf"):
            return "gguf"
        path = blob_path(store, digest)
        with path.open("rb") as file:
            if file.read(4) == b"GGUF":
                return "gguf"
    raise InvalidRequestError("unknown type")


def sorted_files(files: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(files.items())


def blob_path(store: ModelStore, digest: str) -> Path:
    """The file of an uploaded blob.

    Raises:
        StoreError: no digest, or it was never uploaded.
    """
    try:
        path = store.blobs.path(Digest.parse(digest))
    except InvalidDigestError as exc:
        raise StoreError(str(exc)) from None
    if not path.is_file():
        raise MissingBlobError(f"open {path}: no such file or directory")
    return path


class MissingBlobError(StoreError):
    """A create names a blob that is not in the store."""


def import_file(store: ModelStore, name: str, digest: str, *, as_draft: bool = False) -> ImportedFile:
    """Check an uploaded GGUF and describe it as a layer.

    Raises:
        StoreError
        InvalidRequestError: the file is no GGUF, or not a sound one; the text says why.
    """
    path = blob_path(store, digest)
    parsed = Digest.parse(digest)
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise InvalidRequestError("supplied file was not in GGUF format")
    try:
        gguf = GGUFFile.open(path)
    except GGUFError as exc:
        raise CorralError(str(exc)) from exc
    kind = "draft" if as_draft else _kind(gguf)
    is_untouched = kind != "model" or _has_embedded_tensors(gguf)
    if kind == "model" and not is_untouched:
        _check_split(gguf, name)
        try:
            check_loadable(gguf)
        except GGUFError as exc:
            raise CorralError(f"failed to validate GGUF {name}: {exc}") from exc
    store.blobs.touch(parsed)
    layer = Layer(layer_media_type(kind), parsed, path.stat().st_size, name if is_untouched else "")
    return ImportedFile(layer, gguf, is_untouched)


def _kind(gguf: GGUFFile) -> str:
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


def _has_embedded_tensors(gguf: GGUFFile) -> bool:
    return any(tensor.name.startswith(_EMBEDDED_PREFIXES) for tensor in gguf.tensors)


def _check_split(gguf: GGUFFile, name: str) -> None:
    """A shard alone is no model.

    Raises:
        CorralError: with the reference's text.
    """
    count = gguf.metadata.get("split.count", gguf.get_arch("split.count"))
    if not isinstance(count, int) or count <= 1:
        return
    match = _SPLIT_NAME.fullmatch(name.rpartition("/")[2])
    if match is None:
        raise CorralError(f'split GGUF "{name}" must use llama.cpp split filename pattern')
    if int(match["count"]) != count:
        raise CorralError(
            f'split GGUF "{name}" filename count {int(match["count"])} does not match metadata count {count}'
        )
    raise CorralError(
        f'split GGUF "{name}" is one of {count} files; merge them with `llama-gguf-split --merge` first: '
        "this version does not load split files yet"
    )
