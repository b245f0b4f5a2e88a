"""What the audit log keeps of a request's body, if it is to keep any: its JSON, bounded, without secrets."""

from __future__ import annotations

import json
import re
from typing import Any

from corral.urlsecrets import without_userinfo

# Larger ones are not looked into.
MAX_BODY_BYTES = 256 << 10
_MAX_TEXT_CHARS = 500
_MAX_JSON_CHARS = 4000
_MAX_DEPTH = 20
_HIDDEN = "(hidden)"
# Members whose texts are secrets, whatever the letter case and the signs between words.
_SECRET_NAMES = re.compile(
    r"passw|passphrase|secret|token|apikey|privatekey|authoriz|credential|cookie|^key$|^auth$|^pwd$"
)
_KEY = re.compile(r"ck_[a-z0-9]{8}_[A-Za-z0-9]+|hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{8,}")


def recorded_body(data: bytes) -> Any:
    """The body as a value for a line of the log; None if there is nothing to keep.

    What is too large, or no JSON, is a text that says how long it is. May take milliseconds: not for the event loop.
    """
    if not data:
        return None
    size = f"({len(data)} bytes)"
    if len(data) > MAX_BODY_BYTES:
        return size
    try:
        value = _cleaned(json.loads(data), 0)
        text = json.dumps(value)
    except (ValueError, RecursionError):
        return size
    return value if len(text) <= _MAX_JSON_CHARS else f"{text[:_MAX_JSON_CHARS]}... {size}"


def _cleaned(value: Any, depth: int, *, is_secret: bool = False) -> Any:
    if depth > _MAX_DEPTH:
        return "..."
    if isinstance(value, dict):
        return {
            _text(name): _cleaned(part, depth + 1, is_secret=is_secret or _is_secret(name))
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_cleaned(part, depth + 1, is_secret=is_secret) for part in value]
    if isinstance(value, str):
        return _HIDDEN if is_secret and value else _text(value)
    return _HIDDEN if is_secret and isinstance(value, float | int) and abs(value) > 1 << 40 else value


def _is_secret(name: str) -> bool:
    return _SECRET_NAMES.search(re.sub("[^a-z]", "", name.lower())) is not None


def _text(text: str) -> str:
    """A text without what looks like a key, and of bounded length. Whole keys are looked for."""
    shown = _KEY.sub(_HIDDEN, without_userinfo(text[: 4 * _MAX_TEXT_CHARS]))
    return shown if len(shown) <= _MAX_TEXT_CHARS else f"{shown[:_MAX_TEXT_CHARS]}..."
