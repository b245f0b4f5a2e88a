"""What chat completions and responses read alike: reasoning effort, and pictures in data URLs."""

from __future__ import annotations

from typing import Any, cast

from corral.api.decode import decode_base64
from corral.api.http import Exchange
from corral.errors import InvalidRequestError
from corral.types import Think

__all__ = ["go_type", "image_bytes", "is_sdk", "think_of_effort"]

_THINK: dict[str, Think] = {
    "": None,
    "none": False,
    "minimal": "low",
    "xhigh": "max",
    "ultra": "max",
    **{level: cast("Think", level) for level in ("low", "medium", "high", "max")},
}
_IMAGE_PREFIXES = (
    "data:image/jpeg;base64,",
    "data:image/jpg;base64,",
    "data:image/png;base64,",
    "data:image/webp;base64,",
    "data:;base64,",
)


def think_of_effort(effort: str) -> Think:
    """What a reasoning effort asks of the model; None when it says nothing.

    Raises:
        InvalidRequestError: no such effort.
    """
    if effort not in _THINK:
        allowed = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'
        raise InvalidRequestError(f'invalid reasoning value: "{effort}" (must be {allowed})')
    return _THINK[effort]


def image_bytes(url: str) -> bytes:
    """The picture in a data URL.

    Raises:
        InvalidRequestError: another kind of URL, or data that does not decode.
    """
    if url.startswith(("http://", "https://")):
        raise InvalidRequestError(
            "image URLs are not currently supported, please use base64 encoded data instead"
        )
    prefix = next((prefix for prefix in _IMAGE_PREFIXES if url.startswith(prefix)), None)
    if prefix is None:
        raise InvalidRequestError("invalid image input")
    try:
        return decode_base64(url[len(prefix) :])
    except InvalidRequestError:
        raise InvalidRequestError("invalid image input") from None


def go_type(value: Any) -> str:
    """The name that Go gives to the type of a decoded value."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "float64"
    if isinstance(value, str):
        return "string"
    return "[]interface {}" if isinstance(value, list) else "map[string]interface {}"


def is_sdk(exchange: Exchange) -> bool:
    """Whether one of OpenAI's own packages asks: they have members for what the original does not say."""
    return b"x-stainless-lang" in exchange.headers
