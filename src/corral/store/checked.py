"""The results of the last comparison of each blob with its digest.

    <models>/corral/checked/<64 hex>      JSON: size and time of the file then, and whether it was valid
    <models>/corral/loadable/<64 hex>     JSON: size and time of weights whose header the engine can be given

A result holds as long as the file has the same size and time. So a damaged blob is not used again before it is
replaced, and a file that was changed later can be told from one that was not. The check of a header reads a whole
vocabulary, which the first request after a restart need not wait for.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Literal

from corral.digest import Digest

# Raise it whenever `weights/gguf/validate.py` refuses more.
_LOADABLE_CHECK = 1
# Never compared; valid; damaged; valid once, but the file was written to since.
State = Literal["unknown", "sound", "damaged", "changed"]


class CheckedBlobs:
    """The results of one models folder."""

    def __init__(self, models: Path) -> None:
        self._folder = models / "corral" / "checked"
        self._loadable_folder = models / "corral" / "loadable"
        # Counts the blobs that this process found damaged, so that caches can see it.
        self.generation = 0

    def note(self, digest: Digest, stamp: tuple[int, int], *, is_sound: bool) -> None:
        """Record a result; `stamp` is size and time of the file before it was read. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        place = self._path(digest)
        temporary = place.with_name(f".{place.name}.{os.getpid()}")
        temporary.write_text(json.dumps({"size": stamp[0], "modified_ns": stamp[1], "is_sound": is_sound}))
        temporary.replace(place)
        self.generation += not is_sound

    def state(self, digest: Digest, stamp: tuple[int, int]) -> State:
        """What is known of a blob whose file has this size and time."""
        try:
            value = json.loads(self._path(digest).read_bytes())
            was, is_sound = (value["size"], value["modified_ns"]), value["is_sound"] is True
        except (OSError, ValueError, KeyError, TypeError):
            return "unknown"
        if was == stamp:
            return "sound" if is_sound else "damaged"
        return "changed" if is_sound else "unknown"

    def is_loadable(self, digest: Digest, stamp: tuple[int, int]) -> bool:
        """Whether the header of weights with this size and time has passed the check of this version."""
        try:
            value = json.loads((self._loadable_folder / digest.hex.lower()).read_bytes())
            return bool(value == {"size": stamp[0], "modified_ns": stamp[1], "check": _LOADABLE_CHECK})
        except (OSError, ValueError):
            return False

    def note_loadable(self, digest: Digest, stamp: tuple[int, int]) -> None:
        """Record that. A folder that cannot be written to costs the time of another check."""
        place = self._loadable_folder / digest.hex.lower()
        temporary = place.with_name(f".{place.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._loadable_folder.mkdir(parents=True, exist_ok=True)
            value = {"size": stamp[0], "modified_ns": stamp[1], "check": _LOADABLE_CHECK}
            temporary.write_text(json.dumps(value))
            temporary.replace(place)

    def move(self, digest: Digest, old: tuple[int, int], new: tuple[int, int]) -> None:
        """Record that only the time of a file was set and its content is unchanged."""
        if (state := self.state(digest, old)) in ("sound", "damaged"):
            with contextlib.suppress(OSError):
                self.note(digest, new, is_sound=state == "sound")

    def delete(self, digest: Digest) -> None:
        for place in (self._path(digest), self._loadable_folder / digest.hex.lower()):
            with contextlib.suppress(OSError):
                place.unlink()

    def tidy(self, blobs: Path) -> None:
        """Remove results of blobs that no longer exist."""
        for folder in (self._folder, self._loadable_folder):
            with contextlib.suppress(OSError):
                for note in folder.iterdir():
                    if not (blobs / f"sha256-{note.name}").exists():
                        note.unlink()

    def _path(self, digest: Digest) -> Path:
        return self._folder / digest.hex.lower()
