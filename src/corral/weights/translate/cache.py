"""Translated files (views): `corral-views/<digest>-v<version>-<part>.gguf` in the models folder; Ollama ignores them.

A view is complete or does not exist. It is deleted with its blob, and replaced by a new version of the translations.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

from corral.digest import Digest
from corral.errors import DiskFullError, GGUFError, StoreError
from corral.weights.gguf import GGUFFile, check_loadable
from corral.weights.translate.known import VERSION, projector_view, text_view
from corral.weights.translate.translated_file import TranslatedFile
from corral.weights.translate.writing import TEMPORARY_MARK, write_view

Part = Literal["text", "projector"]

_log = logging.getLogger("corral.translate")
FOLDER_NAME = "corral-views"
_NAME = re.compile(r"(?P<hex>[0-9a-f]{64})-v(?P<version>\d+)-(text|projector)\.gguf")
# Another process may be writing such a file; then it is recent.
_ABANDONED_S = 3600.0
_MAKERS: dict[Part, Callable[[GGUFFile], TranslatedFile | None]] = {
    "text": text_view,
    "projector": projector_view,
}


class TranslatedFiles:
    """The views of one models folder. Blocks on the disk; thread-safe."""

    def __init__(self, models_folder: Path) -> None:
        self.folder = models_folder / FOLDER_NAME
        self._lock = threading.Lock()

    def path(self, digest: Digest, part: Part) -> Path:
        return self.folder / f"{digest.hex.lower()}-v{VERSION}-{part}.gguf"

    def ensure(self, digest: Digest, gguf: GGUFFile, part: Part) -> Path | None:
        """The file of a view, which is written if it does not exist; None if the original needs no translation.

        Raises:
            GGUFError: the original is not a valid file of its family.
            StoreError: not enough space, or the folder is not writable.
        """
        path = self.path(digest, part)
        with self._lock:
            if self._is_complete(path):
                return path
            view = _MAKERS[part](gguf)
            if view is None:
                return None
            started = time.monotonic()
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_view(view, path)
            except OSError as exc:
                text = f"cannot write the translated model {path.name}: {exc.strerror or exc}"
                if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise DiskFullError(text) from exc
                hint = f"let the server write to {FOLDER_NAME} in the folder of the models"
                raise StoreError(text, hint=hint) from exc
            try:
                if part == "text":
                    check_loadable(GGUFFile.open(path))
            except GGUFError:
                path.unlink(missing_ok=True)
                raise
            elapsed = time.monotonic() - started
            _log.info(
                "translated model=%s part=%s bytes=%d seconds=%.1f",
                digest,
                part,
                path.stat().st_size,
                elapsed,
            )
            return path

    def _is_complete(self, path: Path) -> bool:
        """Whether a file exists and has the length given by its header."""
        if not path.is_file():
            return False
        try:
            GGUFFile.open(path)
        except (GGUFError, OSError) as exc:
            _log.warning("translated model is damaged, writing it again path=%s reason=%s", path, exc)
            return False
        return True

    def delete(self, digest: Digest) -> None:
        """Delete the views of a blob, of all versions."""
        for path in self._files():
            if path.name.startswith(f"{digest.hex.lower()}-v"):
                path.unlink(missing_ok=True)

    def sweep(self, used: Collection[Digest], *, now_s: float | None = None) -> None:
        """Delete views of unused blobs, of other versions, and incomplete ones."""
        now_s = time.time() if now_s is None else now_s
        hexes = {digest.hex.lower() for digest in used}
        for path in self._files():
            match = _NAME.fullmatch(path.name)
            with contextlib.suppress(OSError):
                if TEMPORARY_MARK in path.name:
                    is_garbage = now_s - path.stat().st_mtime > _ABANDONED_S
                else:
                    is_garbage = match is not None and (
                        match["hex"] not in hexes or int(match["version"]) != VERSION
                    )
                if is_garbage:
                    path.unlink()
                    _log.info("removed view=%s", path.name)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        try:
            return list(self.folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
