"""The small layers of a model, read up to a size that no valid model reaches."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from corral.errors import CorruptManifestError, InvalidRequestError
from corral.store.blobs import BlobStore
from corral.store.manifests import Layer

_CONFIG = "config"
# The largest layer of each kind that is used; a larger one is refused when a model is created or pulled.
_LIMITS = {
    _CONFIG: 1 << 20,
    "template": 4 << 20,
    "prompt": 4 << 20,
    "system": 4 << 20,
    "license": 1 << 20,
    "params": 1 << 20,
    "messages": 16 << 20,
}
_MAX_LICENSES = 64
_MAX_LICENSES_BYTES = 1 << 20
# Memory that values take, for each byte of their JSON.
_BYTES_EACH = 8


def check_text_size(kind: str, size_bytes: int) -> None:
    """Refuse a layer, or a `config`, that is too large to be read back; kinds that are not text may have any size.

    Raises:
        InvalidRequestError
    """
    limit = _LIMITS.get(kind)
    if limit is not None and size_bytes > limit:
        raise InvalidRequestError(f"the {kind} of the model has {size_bytes} bytes, more than {limit}")


def parse_json(data: bytes) -> Any:
    """A JSON value in which all numbers are finite. Raises ValueError, RecursionError."""
    return json.loads(data, parse_constant=_no_number, parse_float=_finite)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text[:40])


class TextReader:
    """Reads the texts of one model. Methods raise FileNotFoundError, and CorruptManifestError for invalid ones.

    `size_bytes` is roughly what they take in memory.
    """

    def __init__(self, blobs: BlobStore, by_kind: Mapping[str, Sequence[Layer]]) -> None:
        self._blobs = blobs
        self._by_kind = by_kind
        self.size_bytes = 0

    def config(self, layer: Layer) -> bytes:
        return self._read(_CONFIG, layer)

    def last(self, kind: str) -> str | None:
        """The text of the last layer of a kind; None if there is none."""
        layers = self._by_kind.get(kind)
        return self._read(kind, layers[-1]).decode("utf-8", "replace") if layers else None

    def json(self, kind: str, type_: type) -> Any:
        """The value of the last layer of a kind; None if there is none, or it is of another type."""
        layers = self._by_kind.get(kind)
        if not layers:
            return None
        data = self._read(kind, layers[-1])
        self.size_bytes += len(data) * _BYTES_EACH
        try:
            value = parse_json(data)
        except (ValueError, RecursionError) as exc:
            raise CorruptManifestError(f"its {kind} cannot be read: {exc}") from None
        return value if isinstance(value, type_) else None

    def licenses(self) -> tuple[str, ...]:
        """The licences in order, truncated if absurdly long: they must not prevent a model from being used."""
        texts = []
        left_bytes = _MAX_LICENSES_BYTES
        for layer in self._by_kind.get("license", ())[:_MAX_LICENSES]:
            with self._blobs.path(layer.digest).open("rb") as file:
                data = file.read(left_bytes + 1)
            is_cut = len(data) > left_bytes
            texts.append(data[:left_bytes].decode("utf-8", "replace") + ("\n[cut here]" if is_cut else ""))
            self.size_bytes += len(data)
            left_bytes -= len(data)
            if is_cut:
                break
        return tuple(texts)

    def _read(self, kind: str, layer: Layer) -> bytes:
        try:
            data = self._blobs.read(layer.digest, limit_bytes=_LIMITS[kind])
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise CorruptManifestError(f"its {kind} cannot be read: {exc.strerror or exc}") from exc
        self.size_bytes += len(data)
        return data
