"""Wheel and sdist of a commit, byte for byte the same wherever and whenever they are built."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from scripts.releasing.tools import Tools


def build_environment(epoch: int, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables for a build: the time that files get, and nothing that depends on the place."""
    return {**env, "SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}


def export(root: Path, commit: str, folder: Path) -> None:
    """Put the files of a commit into a folder: what is not committed is not released."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", commit], cwd=root, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")


def build(source: Path, destination: Path, epoch: int, tools: Tools) -> list[Path]:
    """Make the sdist, and the wheel from it.

    Raises:
        subprocess.CalledProcessError: the build failed; its output was shown.
    """
    command = [str(tools.python), "-m", "build", "--no-isolation", "--outdir", str(destination), str(source)]
    subprocess.run(command, check=True, env=build_environment(epoch), stdout=subprocess.DEVNULL)
    return sorted([*destination.glob("*.whl"), *destination.glob("*.tar.gz")])


def build_twice(root: Path, destination: Path, epoch: int, tools: Tools) -> list[Path]:
    """Build a commit in two folders of different names, and keep the first result.

    Raises:
        ValueError: the two differ.
    """
    with tempfile.TemporaryDirectory(prefix="corral-release-") as first:
        made = _build_in(root, Path(first) / "a", destination, epoch, tools)
    with tempfile.TemporaryDirectory(prefix="another-folder-") as second:
        again = _build_in(root, Path(second) / "b", Path(second) / "dist", epoch, tools)
        for one, other in zip(made, again, strict=True):
            if digest(one) != digest(other):
                raise ValueError(f"{one.name} differs between two builds of the same commit")
    return made


def _build_in(root: Path, folder: Path, destination: Path, epoch: int, tools: Tools) -> list[Path]:
    folder.mkdir()
    export(root, "HEAD", folder)
    return build(folder, destination, epoch, tools)


def digest(path: Path) -> str:
    """SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
