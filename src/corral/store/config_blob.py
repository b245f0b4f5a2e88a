"""The config blob of a model: JSON whose member order decides its digest. Ollama: types/model/config.go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from corral.errors import CorruptManifestError
from corral.golang.json import encode
from corral.store.texts import parse_json

_MAX_CHARS = 1000
_MAX_TEXTS = 100


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What a model is. `families` None is written as null; `parameter_size` and `file_type` are texts for people."""

    model_format: str = ""
    family: str = ""
    families: tuple[str, ...] | None = None
    parameter_size: str = ""
    file_type: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    remote_host: str = ""
    remote_model: str = ""
    capabilities: tuple[str, ...] = ()
    context_length: int = 0
    embedding_length: int = 0
    base_name: str = ""
    draft: dict[str, Any] | None = None

    @classmethod
    def parse(cls, data: bytes) -> ModelConfig:
        """Read a config; unknown members are ignored, wrong types and absurd lengths count as absent.

        Raises:
            CorruptManifestError: not a JSON object.
        """
        try:
            value = parse_json(data)
        except (ValueError, RecursionError) as exc:
            raise CorruptManifestError(f"config is not JSON: {exc}") from None
        if not isinstance(value, dict):
            raise CorruptManifestError("config is not a JSON object")

        def text(name: str) -> str:
            found = value.get(name)
            return found if isinstance(found, str) and len(found) <= _MAX_CHARS else ""

        def texts(name: str) -> tuple[str, ...] | None:
            found = value.get(name)
            if not isinstance(found, list):
                return None
            return tuple(t for t in found[:_MAX_TEXTS] if isinstance(t, str) and len(t) <= _MAX_CHARS)

        def number(name: str) -> int:
            found = value.get(name)
            if not isinstance(found, int) or isinstance(found, bool):
                return 0
            return found if 0 < found < 1 << 63 else 0

        return cls(
            model_format=text("model_format"),
            family=text("model_family"),
            families=texts("model_families"),
            parameter_size=text("model_type"),
            file_type=text("file_type"),
            renderer=text("renderer"),
            parser=text("parser"),
            requires=text("requires"),
            remote_host=text("remote_host"),
            remote_model=text("remote_model"),
            capabilities=texts("capabilities") or (),
            context_length=number("context_length"),
            embedding_length=number("embedding_length"),
            base_name=text("base_name"),
            draft=value.get("draft") if isinstance(value.get("draft"), dict) else None,
        )

    def encode(self) -> bytes:
        """The bytes as Ollama writes them."""
        always: dict[str, Any] = {
            "model_format": self.model_format,
            "model_family": self.family,
            "model_families": list(self.families) if self.families is not None else None,
            "model_type": self.parameter_size,
            "file_type": self.file_type,
        }
        optional: dict[str, Any] = {
            "renderer": self.renderer,
            "parser": self.parser,
            "requires": self.requires,
            "remote_host": self.remote_host,
            "remote_model": self.remote_model,
            "capabilities": list(self.capabilities),
            "context_length": self.context_length,
            "embedding_length": self.embedding_length,
            "base_name": self.base_name,
            "draft": self.draft,
        }
        fixed = {"architecture": "amd64", "os": "linux"}
        return encode(always | {name: value for name, value in optional.items() if value} | fixed) + b"\n"
