"""Checks local files before they are sent, so that a file that cannot be a model is reported at once."""

from __future__ import annotations

import filecmp
from pathlib import Path

from corral.errors import ConversionError, GGUFCutShortError, GGUFError, InvalidRequestError
from corral.library.create.files import check_one_of_each, kind_of
from corral.modelfile import ModelfileError
from corral.weights.gguf import GGUFFile
from corral.weights.gguf.foreign import explain_file, explain_stand_in
from corral.weights.quantize import group_splits

_SNIFF_BYTES = 512


def check_weights(files: list[Path]) -> None:
    """Raises ModelfileError: one of them is not a model file, or there are several where one is needed."""
    headers = []
    for file in files:
        if problem := explain_file(file):
            raise ModelfileError(f"{file.name} {problem}")
        if (header := _header(file)) is not None:
            headers.append((file.name, header))
        elif file.suffix == ".safetensors":
            _check_safetensors(file)
    if len(headers) > 1:
        _check_choice(headers)


def _header(file: Path) -> GGUFFile | None:
    """The header of a GGUF file. Faults in a complete file are left to the server to report."""
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            return None
    try:
        return GGUFFile.open(file)
    except GGUFCutShortError as error:
        raise ModelfileError(
            f"{file.name} is truncated, by a failed download or a full disk; download it again ({error})"
        ) from None
    except GGUFError:
        return None


def _check_safetensors(file: Path) -> None:
    """Raises ModelfileError: it begins like a safetensors file but is not a valid one."""
    from corral.weights.convert.safetensors import read_header

    with file.open("rb") as stream:
        if stream.read(9)[8:] != b"{":
            return
    try:
        read_header(file, file.name)
    except ConversionError as error:
        raise ModelfileError(str(error)) from None


def _check_choice(headers: list[tuple[str, GGUFFile]]) -> None:
    try:
        groups = [group[0] for group in group_splits(headers)]
    except GGUFError:
        return  # the server reports the missing part
    unlike: list[tuple[str, GGUFFile]] = []
    for name, header in groups:
        if not any(_is_same(header.path, other.path) for _, other in unlike):
            unlike.append((name, header))
    try:
        check_one_of_each((kind_of(header), name) for name, header in unlike)
    except InvalidRequestError as error:
        raise ModelfileError(str(error)) from None


def _is_same(first: Path, second: Path) -> bool:
    return first.samefile(second) or filecmp.cmp(first, second, shallow=False)


def check_companion(file: Path) -> None:
    """Raises ModelfileError: a text file with binary content, or a placeholder of a file that was not downloaded."""
    if problem := explain_stand_in(file, file.name):
        raise ModelfileError(f"{file.name} {problem}")
    with file.open("rb") as stream:
        head = stream.read(_SNIFF_BYTES)
    if file.suffix == ".json" and b"\0" in head:
        raise ModelfileError(f"invalid content type: expected application/octet-stream for {file.name}")
