"""Decoders of members that only the compatible surfaces have: numbers with fractions, and objects inside objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corral.api.reading.decode import Decode, Decoding, decode_members, members_of
from corral.api.reading.jsonread import JSONObject


def number(decoding: Decoding, value: Any, path: str, _text: str) -> float | None:
    """A number with or without a fraction."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            decoded = float(value)
        except OverflowError:
            decoded = math.inf
        if math.isfinite(decoded):
            return decoded
    decoding.mismatch(value, path, "float64")
    return None


@dataclass(frozen=True, slots=True)
class Structure:
    """An object with members of its own; `struct` names them in errors, `go_type` the object."""

    struct: str
    go_type: str
    fields: Mapping[str, Decode]

    def __call__(self, decoding: Decoding, value: Any, path: str, _text: str) -> dict[str, Any] | None:
        if not isinstance(value, JSONObject):
            decoding.mismatch(value, path, self.go_type)
            return None
        inner = Decoding(self.struct)
        values = decode_members(inner, members_of(value), self.fields, path + ".")
        decoding.soft_error = decoding.soft_error or inner.soft_error
        return values


@dataclass(frozen=True, slots=True)
class Structures:
    """A list of such objects; null counts as one without members."""

    one: Structure

    def __call__(self, decoding: Decoding, value: Any, path: str, text: str) -> list[dict[str, Any]] | None:
        if not isinstance(value, list) or isinstance(value, JSONObject):
            decoding.mismatch(value, path, "[]" + self.one.go_type)
            return None
        return [{} if element is None else self.one(decoding, element, path, text) or {} for element in value]
