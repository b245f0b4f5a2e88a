"""Bandwidth limits as users write them."""

from __future__ import annotations

import re

from corral.errors import InvalidRequestError

_RATE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]?)(i?)b?(?:ps|/s)?", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_rate(value: object) -> int:
    """Bytes per second from a number or a text such as `10MB`, `1.5MiB/s` or `500k`; 0 means no limit.

    Raises:
        InvalidRequestError
    """
    if isinstance(value, bool) or value is None:
        raise InvalidRequestError(f"invalid rate limit: {value!r}")
    if isinstance(value, int | float):
        if not 0 <= value < 1e18:
            raise InvalidRequestError(f"invalid rate limit: {value!r}")
        return int(value)
    text = str(value).strip()
    match = _RATE.fullmatch(text)
    if match is None:
        raise InvalidRequestError(
            f"invalid rate limit: {text!r}", hint='use bytes per second, such as "10MB" or "500KiB"'
        )
    unit = 1024 if match[3] else 1000
    return int(float(match[1]) * unit ** _POWERS[match[2].lower()])
