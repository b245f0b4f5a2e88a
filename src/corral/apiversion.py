"""Compares the version that a model requires (`REQUIRES`) with the Ollama version whose API is implemented."""

from __future__ import annotations

import re

from corral import API_VERSION

_NUMBERS = re.compile(r"v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?")


def is_beyond_api(wanted: str) -> bool:
    """Whether a model requires a later version than ours. A text that is not a version requires nothing."""
    found, ours = _NUMBERS.match(wanted.strip()), _NUMBERS.match(API_VERSION)
    if found is None or ours is None:
        return False
    return [int(part or 0) for part in found.groups()] > [int(part or 0) for part in ours.groups()]
