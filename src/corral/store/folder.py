"""Whether the models folder can be used, checked once before the server starts."""

from __future__ import annotations

import os
from pathlib import Path

from corral.errors import StoreError


def check_models_folder(folder: Path) -> str:
    """A warning if the folder can only be read, else an empty text. A missing folder is made.

    Raises:
        StoreError: the folder can be neither read nor made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.scandir(folder).close()
    except OSError as exc:
        raise StoreError(
            f"models folder {folder}: {_reason(folder, exc)}", hint="correct OLLAMA_MODELS"
        ) from exc
    if _can_write(folder):
        return ""
    return f"models folder {folder} cannot be written: models are served, but none can be pulled, made or deleted"


def _reason(folder: Path, error: OSError) -> str:
    if folder.is_symlink() and not folder.exists():
        return f"a link to {folder.readlink()}, which does not exist"
    if folder.exists() and not folder.is_dir():
        return "not a folder"
    return (error.strerror or str(error)).lower()


def _can_write(folder: Path) -> bool:
    """By permissions and mount flags. Nothing is written to find out, since a full disk may get space again."""
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return False
    blobs = folder / "blobs"
    return os.access(folder, os.W_OK | os.X_OK) and (
        not blobs.is_dir() or os.access(blobs, os.W_OK | os.X_OK)
    )
