"""Unknown files in a models folder that may refer to blobs: as long as there are any, no blob is deleted.

Other programs, and later versions of Ollama, keep manifests in places and formats of their own. A blob that no known
manifest refers to may be one of theirs. So everything unknown is examined: a folder or file counts as a stranger if
it could name a blob, and in doubt it does. What cannot be read is a stranger, what is too large to search is one,
and so is every file that is neither text without a digest nor weights.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

_KNOWN = frozenset({"blobs", "manifests", "manifests-v2"})
# Kept by Corral and Ollama beside the manifests. None of it refers to blobs of other programs.
_OURS = re.compile(r"\.?corral(-.*)?")
_OLLAMA_TEMPORARY = re.compile(r"ollama-safetensors-?\d+")
# Files that desktops, servers and file systems leave in every folder.
_LITTER = frozenset(
    {
        ".ds_store",
        ".localized",
        ".directory",
        "thumbs.db",
        "desktop.ini",
        "lost+found",
        ".fseventsd",
        ".temporaryitems",
        ".spotlight-v100",
        ".documentrevisions-v100",
        "system volume information",
        "$recycle.bin",
        "@eadir",
        "#recycle",
        ".snapshots",
        ".stfolder",
        ".nomedia",
        "cachedir.tag",
    }
)
_LITTER_STARTS = ("._", ".trash", ".nfs", ".fuse_hidden", ".stversions")
_DIGEST = re.compile(rb"sha(256|512)|[0-9a-f]{40}", re.IGNORECASE)
_WEIGHTS = (b"GGUF",)
_HEAD_BYTES = 4096
_MAX_TEXT_BYTES = 1 << 20
# The most that is searched in one entry of the folder; a larger one counts as a stranger.
_MAX_BYTES = 32 << 20
_MAX_ENTRIES = 2_000
_MAX_DEPTH = 12


def strangers(models: Path) -> Iterator[str]:
    """Entries of a models folder that could refer to blobs in an unknown way, as paths within it."""
    try:
        entries = list(os.scandir(models))
    except FileNotFoundError:
        return
    except OSError as exc:
        yield f"{models} ({exc.strerror})"
        return
    for entry in entries:
        if entry.name in _KNOWN or _OURS.fullmatch(entry.name) or _OLLAMA_TEMPORARY.fullmatch(entry.name):
            continue
        if "manifest" in entry.name.lower() or could_refer(Path(entry.path)):
            yield entry.name


def is_litter(name: str) -> bool:
    """Whether a desktop or a file system leaves files with this name."""
    lowered = name.lower()
    return lowered in _LITTER or lowered.startswith(_LITTER_STARTS)


def could_refer(path: Path) -> bool:
    """Whether anything in a file or folder could be a reference to a blob."""
    return _Search().could_refer(path, _MAX_DEPTH)


class _Search:
    def __init__(self) -> None:
        self._left = _MAX_ENTRIES
        self._left_bytes = _MAX_BYTES

    def could_refer(self, path: Path, depth: int) -> bool:
        self._left -= 1
        if is_litter(path.name):
            return False
        if self._left < 0 or depth == 0:
            return True
        try:
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                return any(self.could_refer(inner, depth - 1) for inner in path.iterdir())
            return stat.S_ISREG(mode) and self._could_file_refer(path)
        except OSError:  # a link to a disk that is not mounted, another user's folder
            return True

    def _could_file_refer(self, path: Path) -> bool:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if not head or head.startswith(_WEIGHTS):
                return False
            if b"\0" in head:
                return True
            data = head + file.read(_MAX_TEXT_BYTES)
        self._left_bytes -= len(data)
        is_searched = len(data) <= _MAX_TEXT_BYTES and self._left_bytes >= 0 and b"\0" not in data
        return not is_searched or _DIGEST.search(data) is not None
