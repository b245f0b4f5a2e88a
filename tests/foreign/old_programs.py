"""What versions of Ollama make of a models folder: which models they find whole, and what their start deletes.

Written from the documented formats, without our code: the judge of whether one can go back to an old version.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_OLD_HOST, _NEW_HOST = "registry.ollama.ai", "ollama.com"
_LIST = "application/vnd.ollama.manifest.list.v2+json"
_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")
_HOUR_S = 3600


class OldProgram:
    """A version: with colons in the names of blobs (before 0.1.30), with the second tree (from 0.40 on)."""

    def __init__(self, models: Path, version: str) -> None:
        self._models = models
        self._mark = ":" if version == "0.1" else "-"
        self._reads_lists = version.startswith("0.40")

    def whole(self) -> set[str]:
        """Models that it can use: each blob is there under the name that it looks for, with the right content."""
        return {name for name, path in self._entries() if self._is_whole(json.loads(path.read_bytes()))}

    def start(self) -> set[str]:
        """Delete what this version takes for garbage, as documented; the names of the files that went."""
        used = set()
        for _, path in self._entries():
            used |= self._named_by(path.read_bytes())
        gone = set()
        for path in (self._models / "blobs").iterdir():
            if time.time() - path.stat().st_mtime < _HOUR_S or not path.is_file():
                continue
            match = _DIGEST.fullmatch(path.name)
            if match is None or match[1] not in used:
                path.unlink()
                gone.add(path.name)
        return gone

    def _entries(self) -> Iterator[tuple[str, Path]]:
        seen = set()
        trees = [("manifests-v2", _NEW_HOST)] if self._reads_lists else []
        for tree, host in (*trees, ("manifests", _OLD_HOST)):
            for path in sorted((self._models / tree).glob("*/*/*/*")):
                shown = "/".join(path.relative_to(self._models / tree).parts).replace(
                    f"{host}/library/", "", 1
                )
                name = ":".join(shown.rsplit("/", 1))
                if name not in seen and path.exists():
                    seen.add(name)
                    yield name, path

    def _is_whole(self, value: dict[str, Any]) -> bool:
        if value.get("mediaType") == _LIST:
            inner = [self._blob(entry["digest"]) for entry in value["manifests"]]
            return all(data is not None and self._is_whole(json.loads(data)) for data in inner)
        return all(self._blob(layer["digest"]) is not None for layer in (value["config"], *value["layers"]))

    def _named_by(self, data: bytes) -> set[str]:
        """Digests of what a manifest names, and its own: from 0.40 on it is a blob too."""
        value, found = json.loads(data), {hashlib.sha256(data).hexdigest()}
        if value.get("mediaType") != _LIST:
            return found | {layer["digest"][7:] for layer in (value["config"], *value["layers"])}
        for entry in value["manifests"]:
            found.add(entry["digest"][7:])
            if (inner := self._blob(entry["digest"])) is not None:
                found |= self._named_by(inner)
        return found

    def _blob(self, digest: str) -> bytes | None:
        path = self._models / "blobs" / f"sha256{self._mark}{digest[7:]}"
        data = path.read_bytes() if path.is_file() else None
        return data if data is not None and hashlib.sha256(data).hexdigest() == digest[7:] else None
