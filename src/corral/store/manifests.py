"""Manifests: which layers a model has. Read tolerantly, written exactly.

Ollama: manifest/manifest.go.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from corral.digest import Digest
from corral.errors import CorruptManifestError, InvalidDigestError
from corral.golang.json import encode

MANIFEST_MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
LIST_MEDIA_TYPE = "application/vnd.ollama.manifest.list.v2+json"
CONFIG_MEDIA_TYPE = "application/vnd.docker.container.image.v1+json"
MAX_MANIFEST_BYTES = 4 << 20
_MAX_LAYERS = 65_536
# The range of Go's integers, and so of what clients can read.
_MAX_SIZE_BYTES = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Layer:
    """A blob of a model and what it is. `from_` is where it came from, `name` its file (tensor models)."""

    media_type: str
    digest: Digest
    size_bytes: int
    from_: str = ""
    name: str = ""

    @property
    def kind(self) -> str:
        """The last word of an Ollama media type: `model`, `template`, ..."""
        return self.media_type.removeprefix("application/vnd.ollama.image.")

    def to_json(self) -> dict[str, Any]:
        members: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size_bytes,
        }
        if self.from_:
            members["from"] = self.from_
        if self.name:
            members["name"] = self.name
        return members


@dataclass(frozen=True, slots=True)
class Manifest:
    """A config blob and layers in order. `runner` and `format` tell variants of a list apart; mostly empty."""

    config: Layer
    layers: tuple[Layer, ...]
    runner: str = ""
    format: str = ""

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read manifest bytes.

        Raises:
            CorruptManifestError: not a manifest; the text names what is wrong.
        """
        return cls.from_json(read_object(data))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Manifest:
        """Raises CorruptManifestError."""
        layers = value.get("layers") or []
        if not isinstance(layers, list) or len(layers) > _MAX_LAYERS:
            raise CorruptManifestError("manifest has no valid list of layers")
        runner, form = value.get("runner") or "", value.get("format") or ""
        if not isinstance(runner, str) or not isinstance(form, str):
            raise CorruptManifestError("manifest has members of wrong types")
        return cls(
            _parse_layer(value.get("config")), tuple(map(_parse_layer, layers)), runner.lower(), form.lower()
        )

    def encode(self) -> bytes:
        """The bytes as Ollama writes them."""
        members: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_MEDIA_TYPE,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        variant = {"runner": self.runner, "format": self.format}
        return encode(members | {name: text for name, text in variant.items() if text}) + b"\n"

    @property
    def size_bytes(self) -> int:
        """Config and all layers; duplicates as often as they are listed."""
        total = self.config.size_bytes + sum(layer.size_bytes for layer in self.layers)
        return min(total, _MAX_SIZE_BYTES)

    def digests(self) -> set[Digest]:
        return {self.config.digest, *(layer.digest for layer in self.layers)}


def read_object(data: bytes) -> dict[str, Any]:
    """The JSON object of a manifest.

    Raises:
        CorruptManifestError: it is none.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise CorruptManifestError("EOF" if not data.strip() else f"manifest is not JSON: {exc}") from None
    if not isinstance(value, dict):
        raise CorruptManifestError("manifest is not a JSON object")
    return value


def _parse_layer(value: Any) -> Layer:
    if not isinstance(value, dict):
        raise CorruptManifestError("a layer is not a JSON object")
    texts = [value.get(name) or "" for name in ("mediaType", "from", "name")]
    size = value.get("size", 0)
    is_sound = isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= _MAX_SIZE_BYTES
    if any(not isinstance(text, str) for text in texts) or not is_sound:
        raise CorruptManifestError("a layer has members of wrong types")
    try:
        digest = Digest.parse(str(value.get("digest", "")))
    except InvalidDigestError:
        raise CorruptManifestError(f"a layer has no valid digest: {value.get('digest')!r}") from None
    return Layer(texts[0], digest, size, texts[1], texts[2])
