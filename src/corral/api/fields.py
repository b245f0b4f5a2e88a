"""Decoders of members that only the compatible surfaces have: numbers with fractions, and objects inside objects."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from corral.api.decode import Decode, Decoding, decode_members, members_of
from corral.api.jsonread import JSONObject

__all__ = ["number", "structure", "structures"]


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


def structure(struct: str, go_type: str, fields: Mapping[str, Decode]) -> Decode:
    """An object with members of its own; `struct` names them in errors, `go_type` the object."""

    def decode(decoding: Decoding, value: Any, path: str, _text: str) -> dict[str, Any] | None:
        if not isinstance(value, JSONObject):
            decoding.mismatch(value, path, go_type)
            return None
        inner = Decoding(struct)
        values = decode_members(inner, members_of(value), fields, path + ".")
        decoding.soft_error = decoding.soft_error or inner.soft_error
        return values

    return decode


def structures(struct: str, go_type: str, fields: Mapping[str, Decode]) -> Callable[..., Any]:
    """A list of such objects; null counts as one without members."""
    one = structure(struct, go_type, fields)

    def decode(decoding: Decoding, value: Any, path: str, text: str) -> list[dict[str, Any]] | None:
        if not isinstance(value, list) or isinstance(value, JSONObject):
            decoding.mismatch(value, path, "[]" + go_type)
            return None
        return [{} if element is None else one(decoding, element, path, text) or {} for element in value]

    return decode
