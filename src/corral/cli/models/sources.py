"""Finds the local files of a FROM, ADAPTER or DRAFT line. Ollama: parser/parser.go, filesForModel; cmd/cmd.go."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from corral.cli.models.examine import check_companion, check_weights
from corral.cli.terminal.screen import safe
from corral.modelfile import ModelfileError

# The first pattern that matches a file decides which files of a folder are the weights.
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
_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})(\.gguf)", re.IGNORECASE)


def local_path(value: str, folder: Path) -> Path:
    """A value as a path, relative to the Modelfile's folder.

    Raises:
        ModelfileError: the home folder of a user that does not exist.
    """
    if value.startswith("~"):
        expanded = os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises another error
        if expanded == value:
            raise ModelfileError(f"failed to find user '{value[1:].partition('/')[0]}': unknown user")
        return Path(expanded)
    return (folder / value).absolute()


def existing_path(value: str, folder: Path) -> Path:
    """Raises ModelfileError: the path does not exist."""
    path = local_path(value, folder)
    if not path.exists():
        raise ModelfileError(f"stat {os.path.normpath(path)}: no such file or directory")
    return path


def find_sources(value: str, folder: Path) -> dict[str, Path]:
    """The files of a FROM line by the names that are sent to the server; empty if it names a model.

    A file, a folder, a pattern (`./part-*.gguf`), or one part of a split model, which means all of them.

    Raises:
        ModelfileError
    """
    path = local_path(value, folder)
    if path.exists():
        return named_files(path)
    if glob.has_magic(value):
        matches = [Path(match) for match in sorted(glob.glob(str(path)))]  # noqa: PTH207 - patterns may be absolute
        return _checked([match for match in matches if match.is_file()])
    return {}


def named_files(path: Path) -> dict[str, Path]:
    """A file, with all other parts if it is part of a split model, or the model files of a folder.

    Raises:
        ModelfileError: there is no model, or it is not clear which of several is meant.
    """
    if path.is_dir():
        return _named(_files_of(path))
    shard = _SHARD.fullmatch(path.name)
    if shard is None:
        return _checked([path])
    others = [path.with_name(f"{shard[1]}-{i + 1:05d}-of-{shard[2]}{shard[3]}") for i in range(int(shard[2]))]
    return _checked([part for part in others if part.is_file()])


def named_together(several: Iterable[dict[str, Path]]) -> dict[str, Path]:
    """The files of several FROM lines, which together make one model.

    Raises:
        ModelfileError: there are several where one is needed.
    """
    files = list(dict.fromkeys(path for named in several for path in named.values()))
    check_weights([file for file in files if file.suffix.lower() == ".gguf" or not file.suffix])
    return _named(files)


def _checked(weights: list[Path]) -> dict[str, Path]:
    check_weights(weights)
    return _named(weights)


def _named(files: list[Path]) -> dict[str, Path]:
    """Files by their path below the deepest folder that contains all of them."""
    if not files:
        return {}
    root = Path(os.path.commonpath([file.parent for file in files]))
    return {file.relative_to(root).as_posix(): file for file in files}


def _files_of(folder: Path) -> list[Path]:
    root = folder.absolute()
    present = _list_files(root)
    for patterns in _WEIGHT_PATTERNS:
        if weights := _matching(present, patterns):
            break
    else:
        raise ModelfileError("no Modelfile or safetensors files found")
    for file in weights:
        _check_inside(file, root)
    check_weights(weights)
    if weights[0].suffix.lower() == ".gguf":
        return weights
    _warn_of_others(weights, _matching(present, ("*.gguf",)))
    tokenizers = [file for file in present.values() if file.name == "tokenizer.model"]
    companions = _matching(present, _COMPANIONS) + tokenizers[:1]
    for file in companions:
        _check_inside(file, root)
        check_companion(file)
    return list(dict.fromkeys(weights + companions))


def _list_files(root: Path) -> dict[str, Path]:
    """Regular files of a folder and of its direct subfolders, by relative path; hidden ones are left out."""
    near = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    found = {path.name: path for path in near if path.is_file()}
    for folder in near:
        if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK):
            inner = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
            found |= {f"{folder.name}/{path.name}": path for path in inner if path.is_file()}
    return found


def _matching(present: dict[str, Path], patterns: Iterable[str]) -> list[Path]:
    """Files that match any of the patterns, ignoring case, in the order of the patterns."""
    return list(
        dict.fromkeys(
            path
            for pattern in patterns
            for name, path in present.items()
            if name.count("/") == pattern.count("/") and fnmatchcase(name.lower(), pattern)
        )
    )


def _warn_of_others(weights: list[Path], others: list[Path]) -> None:
    if others:
        print(
            safe(
                f"{weights[0].parent} has weights in two formats: using {weights[0].name}, ignoring "
                f"{others[0].name}; to use the other one, name the file in FROM"
            ),
            file=sys.stderr,
        )


def _check_inside(file: Path, root: Path) -> None:
    """Refuse links that leave the folder, except into the blobs of a Hugging Face download cache.

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
