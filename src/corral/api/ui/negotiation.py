"""What a request's `Accept-Encoding` and `If-None-Match` ask for (RFC 9110, 12.5.3 and 13.1.2)."""

from __future__ import annotations

from collections.abc import Container

# The best first: what is as welcome as another and shorter is sent.
_PACKED = ("br", "gzip")


def choose_coding(header: str, available: Container[str]) -> str:
    """The content coding to send, of those available. `identity` is sent even to a client that refuses it."""
    weights = _weights(header)
    best, most = "identity", weights.get("identity", 0.0)
    for coding in reversed(_PACKED):
        weight = weights.get(coding, weights.get("*", 0.0))
        if coding in available and weight > 0 and weight >= most:
            best, most = coding, weight
    return best


def _weights(header: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in header.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name:
            found["gzip" if name == "x-gzip" else name] = _quality(parameters)
    return found


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def is_known(header: str, etag: str) -> bool:
    """Whether the client has the form with this entity tag."""
    if header.strip() == "*":
        return True
    return etag in (part.strip().removeprefix("W/") for part in header.split(","))
