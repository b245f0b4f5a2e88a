"""Which local files a FROM, ADAPTER or DRAFT line means. Ollama: parser/parser.go, filesForModel; cmd/cmd.go."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from corral.modelfile import ModelfileError

__all__ = ["existing_path", "find_sources", "local_path", "named_files"]

# The first pattern that matches anything decides which files of a folder are the weights.
_WEIGHT_PATTERNS = (
    ("model*.safetensors", "*/model*.safetensors"),
    ("consolidated*.safetensors",),
    ("adapter*.safetensors",),
    ("*.safetensors",),
    ("pytorch_model*.bin",),
    ("consolidated*.pth",),
    ("*.gguf",),
    ("*.bin",),
)
_COMPANIONS = ("*.json", "*/*.json", "chat_template.jinja")
_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})\.gguf")
_LFS_POINTER = b"version https://git-lfs"
_SNIFF_BYTES = 512


def local_path(value: str, folder: Path) -> Path:
    """What a value means as a path, seen from the Modelfile's folder.

    Raises:
        ModelfileError: the home of a user that there is not.
    """
    if value.startswith("~"):
        expanded = os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises another error
        if expanded == value:
            raise ModelfileError(f"failed to find user '{value[1:].partition('/')[0]}': unknown user")
        return Path(expanded)
    return (folder / value).absolute()


def existing_path(value: str, folder: Path) -> Path:
    """Raises ModelfileError: there is nothing at the path."""
    path = local_path(value, folder)
    if not path.exists():
        raise ModelfileError(f"stat {os.path.normpath(path)}: no such file or directory")
    return path


def find_sources(value: str, folder: Path) -> dict[str, Path]:
    """The files that a FROM line means, by the names that a server is told; none if it names a model.

    A file, a folder, a pattern (`./part-*.gguf`), or one part of a split model, which means all of them.

    Raises:
        ModelfileError
    """
    path = local_path(value, folder)
    if path.exists():
        return named_files(path)
    if glob.has_magic(value):
        matches = [Path(match) for match in sorted(glob.glob(str(path)))]  # noqa: PTH207 - patterns may be absolute
        return _named([match for match in matches if match.is_file()])
    return {}


def named_files(path: Path) -> dict[str, Path]:
    """A file, with the other parts if it is one of a split model, or the files of a folder that make a model.

    Raises:
        ModelfileError
    """
    if path.is_dir():
        return _named(_files_of(path))
    shard = _SHARD.fullmatch(path.name)
    if shard is None:
        return _named([path])
    others = [path.with_name(f"{shard[1]}-{i + 1:05d}-of-{shard[2]}.gguf") for i in range(int(shard[2]))]
    return _named([part for part in others if part.is_file()])


def _named(files: list[Path]) -> dict[str, Path]:
    """Base names, or paths from the deepest folder that has all of them."""
    if not files:
        return {}
    root = Path(os.path.commonpath([file.parent for file in files]))
    return {file.relative_to(root).as_posix(): file for file in files}


def _files_of(folder: Path) -> list[Path]:
    root = folder.absolute()
    for patterns in _WEIGHT_PATTERNS:
        weights = [file for pattern in patterns for file in sorted(root.glob(pattern)) if file.is_file()]
        if weights:
            break
    else:
        raise ModelfileError("no Modelfile or safetensors files found")
    companions = [file for pattern in _COMPANIONS for file in sorted(root.glob(pattern)) if file.is_file()]
    companions += sorted(root.glob("tokenizer.model")) or sorted(root.glob("*/tokenizer.model"))
    if all(file.suffix == ".gguf" for file in weights):
        companions = []
    chosen = list(dict.fromkeys(weights + companions))
    for file in chosen:
        _check_inside(file, root)
        _check_content(file)
    return chosen


def _check_inside(file: Path, root: Path) -> None:
    """A link out of the folder would take in what the person did not mean; a download cache's own blobs are meant.

    Raises:
        ModelfileError
    """
    target = file.resolve()
    real_root = root.resolve()
    if target.is_relative_to(real_root):
        return
    if real_root.parent.name == "snapshots" and target.is_relative_to(real_root.parent.parent / "blobs"):
        return
    hint = (
        "\n\nUse --local-dir <dir> when downloading model to disable caching"
        if ".cache" in target.parts
        else ""
    )
    raise ModelfileError(f"insecure path: {file.relative_to(root)}{hint}")


def _check_content(file: Path) -> None:
    """Raises ModelfileError: a text that is none, or a stand-in for a file that was not fetched."""
    with file.open("rb") as stream:
        head = stream.read(_SNIFF_BYTES)
    if head.startswith(_LFS_POINTER):
        raise ModelfileError(
            f"{file.name} is a Git LFS pointer, not the file itself: run `git lfs pull` first"
        )
    if file.suffix == ".json" and b"\0" in head:
        raise ModelfileError(f"invalid content type: expected application/octet-stream for {file.name}")
