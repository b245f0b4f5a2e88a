"""Folders of engines: one that is made takes its place in one step, and what was there stays until then.

    ~/.corral/engines/NAME/          an engine
    ~/.corral/engines/.new-NAME/     one that is being made; worthless after a crash
    ~/.corral/engines/.build-NAME/   where one is compiled: see `buildtree.py`
    ~/.corral/engines/.old-NAME/     the one before, while the new one takes its place

Whoever makes or removes engines holds a lock; readers need none. A crash between the two renames leaves only
`.old-NAME`: readers use it, and the next holder of the lock puts it back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from corral.disk import make_folders, sync_file, sync_folder
from corral.errors import CorralError

NATIVE = "native"
# Engines with a folder, the best first.
NAMES = ("cuda", "rocm", "vulkan", NATIVE)
_ALIASES = {"cpu-native": NATIVE, "hip": "rocm"}


class EngineSetupError(CorralError):
    """An engine could not be made, proven or removed."""


class EnginesBusyError(EngineSetupError):
    """Another process makes or removes an engine at this moment."""


def known_name(text: str) -> str:
    """The name of an engine with a folder, or an empty string."""
    name = _ALIASES.get(text, text)
    return name if name in NAMES else ""


def engines_folder(home: Path) -> Path:
    return home / "engines"


def engine_folder(home: Path, name: str) -> Path:
    """Where an engine is, or would be; `name` is one of `NAMES`."""
    assert name in NAMES
    folder, old = engines_folder(home) / name, _old(home, name)
    return old if old.is_dir() and not folder.exists() else folder


def _old(home: Path, name: str) -> Path:
    return engines_folder(home) / f".old-{name}"


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the lock of the engines' folder, which is made if it is not there; mend what a crash has left.

    Raises:
        EnginesBusyError
        EngineSetupError: the folder cannot be written.
    """
    folder = engines_folder(home)
    try:
        make_folders(folder)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as exc:
        raise EngineSetupError(f"{folder} cannot be written: {exc.strerror}") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
            raise EnginesBusyError(
                f"another process ({holder or 'unknown'}) is installing or building an engine in {folder}",
                hint="try again when it has ended",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        _mend(home)
        yield
    finally:
        os.close(handle)


def _mend(home: Path) -> None:
    for name in NAMES:
        folder, old = engines_folder(home) / name, _old(home, name)
        if old.is_dir() and not folder.exists():
            old.rename(folder)
        discard(old)
    for left in engines_folder(home).glob(".new-*"):
        discard(left)


def discard(path: Path) -> None:
    """Remove a folder, whole or in parts, or a link to one."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def workplace(home: Path, name: str) -> Iterator[Path]:
    """An empty folder on the same disk, removed at the end. For the holder of the lock."""
    folder = engines_folder(home) / f".new-{name}"
    discard(folder)
    try:
        folder.mkdir()
        yield folder
    finally:
        discard(folder)


def put_in_place(home: Path, name: str, made: Path) -> Path:
    """Let a finished folder become the engine of a name. For the holder of the lock."""
    folder, old = engines_folder(home) / name, _old(home, name)
    _sync_files(made)
    discard(old)
    if os.path.lexists(folder):
        folder.rename(old)
        sync_folder(folder.parent)
    made.rename(folder)
    sync_folder(folder.parent)
    discard(old)
    return folder


def _sync_files(folder: Path) -> None:
    """Have all files on the disk before their folder gets its name: a crash must not leave empty ones in it."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_symlink():
                continue
            sync_file(path)
        sync_folder(Path(parent))


def remove_engine(home: Path, name: str) -> bool:
    """Remove an engine's folder; False if there is none. For the holder of the lock."""
    folder = engines_folder(home) / name
    if not os.path.lexists(folder):
        return False
    doomed = engines_folder(home) / f".new-{name}"
    discard(doomed)
    folder.rename(doomed)
    sync_folder(doomed.parent)  # else the name could come back with a part of its files
    discard(doomed)
    return True
