"""What a request's `format` member says."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Literal

from corral.errors import FormatError

__all__ = ["format_schema"]


@lru_cache(maxsize=128)
def format_schema(text: str) -> dict[str, Any] | Literal["", "json"]:
    """A JSON schema, `json` for any object, or empty; from the member's own JSON text. Not to be changed.

    Raises:
        FormatError: a format of another kind.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None  # a number of thousands of digits, or lists in lists beyond all reason
    if isinstance(value, dict):
        return value
    if value == "":
        return ""
    if value == "json":
        return "json"
    quoted = json.dumps(text, ensure_ascii=False)
    raise FormatError(f'invalid format: {quoted}; expected "json" or a valid JSON Schema object')
