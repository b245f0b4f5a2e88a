"""The files of a model by name: configuration, weights (one file or several), tokenizer and other files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corral.errors import ConversionError
from corral.weights.convert.config import Config
from corral.weights.convert.jsonfile import parse_json, parse_object, read_bytes
from corral.weights.convert.safetensors import StoredTensor, read_header

_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_INDEX = "model.safetensors.index.json"


class Checkpoint:
    """Names are only keys: no other files than the given ones are opened."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files

    def path(self, name: str) -> Path | None:
        return self._files.get(name)

    def json(self, name: str) -> Any:
        """The value in a JSON file; None if the file is missing.

        Raises:
            ConversionError
        """
        path = self._files.get(name)
        return None if path is None else parse_json(read_bytes(path, name), name)

    def object(self, name: str) -> dict[str, Any]:
        """The JSON object in a file; empty if the file is missing.

        Raises:
            ConversionError
        """
        path = self._files.get(name)
        return {} if path is None else parse_object(read_bytes(path, name), name)

    def text(self, name: str) -> str | None:
        path = self._files.get(name)
        return None if path is None else read_bytes(path, name).decode("utf-8", "replace")

    def config(self) -> Config:
        """The model's configuration.

        Raises:
            ConversionError: it is missing.
        """
        if "config.json" not in self._files:
            raise ConversionError("config.json is missing: the model's whole folder is needed")
        return Config(self.object("config.json"))

    def tensors(self, *, is_adapter: bool = False) -> dict[str, StoredTensor]:
        """All weights of the model, or of the adapter.

        Raises:
            ConversionError: there are none, a file of the index is missing, or a file is invalid.
        """
        found: dict[str, StoredTensor] = {}
        for name in self._adapter_files() if is_adapter else self._weight_files():
            for tensor, stored in read_header(self._files[name], name).items():
                if tensor in found:
                    raise ConversionError(f"duplicate tensor name '{tensor}' was found for this model")
                found[tensor] = stored
        if not found:
            raise ConversionError("the safetensors files hold no tensors")
        return found

    def _adapter_files(self) -> list[str]:
        names = sorted(n for n in self._files if n.endswith(".safetensors") and "/" not in n)
        # MLX keeps the adapters of earlier steps next to the last one.
        preferred = [n for n in names if n in ("adapter_model.safetensors", "adapters.safetensors")]
        if not names:
            raise ConversionError("the adapter has no safetensors file; other formats are not supported")
        return preferred[:1] or names

    def _weight_files(self) -> list[str]:
        if _INDEX in self._files:
            return self._indexed()
        top = sorted(n for n in self._files if n.endswith(".safetensors") and "/" not in n)
        names = [n for n in top if not n.startswith(("consolidated", "adapter_"))]
        if names:
            return names
        if top:
            raise ConversionError(
                f"{top[0]}: weights in this layout cannot be converted; use the files named model*.safetensors"
            )
        if any(name.endswith(_PICKLED) for name in self._files):
            raise ConversionError(
                "PyTorch pickle files are not read, because they can run code; convert them to safetensors first"
            )
        raise ConversionError("unknown tensor format: there is no safetensors file")

    def _indexed(self) -> list[str]:
        weight_map = self.object(_INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(n, str) for n in weight_map.values()):
            raise ConversionError(f"{_INDEX}: weight_map is missing")
        names = sorted(set(weight_map.values()))
        for name in names:
            if name not in self._files:
                raise ConversionError(f"{_INDEX} names {name[:200]!r}, which is missing")
        return names
