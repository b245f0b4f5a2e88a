"""Wheel and sdist come out the same byte for byte, wherever and whenever they are built."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.process, pytest.mark.slow]


def _checkout(folder: Path, mode: int, time: int) -> Path:
    """Most of the tracked files of this checkout, with other permissions and times."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name and not name.startswith(("tests/", "web/", "bench/")) and (ROOT / name).is_file():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, path)
            path.chmod(mode | (0o100 if os.access(ROOT / name, os.X_OK) else 0))
            os.utime(path, (time, time))
    return folder


def _build(source: Path, destination: Path, umask: int, zone: str) -> dict[str, str]:
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1764547200", "TZ": zone}
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(destination)]
    subprocess.run(command, cwd=source, env=env, check=True, capture_output=True, umask=umask, timeout=300)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in destination.iterdir()}


def test_two_builds_are_equal(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is in the dev extra: ./dev venv")
    one = _build(_checkout(tmp_path / "one", 0o644, 1_600_000_000), tmp_path / "a", 0o022, "Pacific/Auckland")
    other = _build(
        _checkout(tmp_path / "deep" / "another-name", 0o600, 1_750_000_000), tmp_path / "b", 0o077, "UTC"
    )
    assert one == other and {Path(name).suffix for name in one} == {".whl", ".gz"}
    (wheel,) = (tmp_path / "a").glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
    assert {"corral/assets/corral-tiny.gguf", "corral/py.typed"} <= names
    assert any(name.startswith("corral/web/dist/index-") for name in names)
    assert any(name.endswith(".data/data/share/man/man1/corral.1") for name in names)
    (sdist,) = (tmp_path / "a").glob("*.tar.gz")
    with tarfile.open(sdist) as files:
        members = files.getmembers()
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 1764547200)}
    assert {member.mode & 0o777 for member in members} <= {0o644, 0o755}
