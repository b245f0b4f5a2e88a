"""Blobs that a client uploaded or named recently: they are kept although no manifest refers to them (any more).

    <models>/corral/kept/<64 hex>       empty; its time is that of the last use

A client uploads a file once and may create models from it several times, and delete them again. So what it uploaded
is kept until the next start of a server, and at least for an hour after the last use.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from corral.digest import Digest

_KEPT_S = 3600.0


class KeptBlobs:
    """The marks of one models folder."""

    def __init__(self, models: Path) -> None:
        self._folder = models / "corral" / "kept"

    def note(self, digest: Digest) -> None:
        """Keep a blob from now on. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / digest.hex.lower()).touch()

    def forget(self, digest: Digest) -> None:
        """Let a blob be deleted with the last manifest that refers to it."""
        with contextlib.suppress(OSError):
            (self._folder / digest.hex.lower()).unlink()

    def hexes(self) -> frozenset[str]:
        """Lower-case digests of what is kept."""
        try:
            return frozenset(path.name for path in self._folder.iterdir())
        except OSError:
            return frozenset()

    def expire(self, now_s: float) -> None:
        """Remove the marks of what was not used for an hour; for the start of a server."""
        for name in self.hexes():
            mark = self._folder / name
            with contextlib.suppress(OSError):
                if now_s - mark.stat().st_mtime > _KEPT_S:
                    mark.unlink()
