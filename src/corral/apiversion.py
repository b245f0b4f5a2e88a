"""Compares versions that models ask for (`REQUIRES`) with the version of Ollama whose API is spoken here."""

from __future__ import annotations

import re

from corral import API_VERSION

_NUMBERS = re.compile(r"v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?")


def is_beyond_api(wanted: str) -> bool:
    """Whether a model asks for a later version than ours. A text that is not a version asks for nothing."""
    found, ours = _NUMBERS.match(wanted.strip()), _NUMBERS.match(API_VERSION)
    if found is None or ours is None:
        return False
    return [int(part or 0) for part in found.groups()] > [int(part or 0) for part in ours.groups()]
