"""Headers about ranges and waiting, read strictly: they come from strangers."""

from __future__ import annotations

import email.utils
import re
import time
from dataclasses import dataclass

_RANGE = re.compile(r"bytes[ ]+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
_UPLOADED = re.compile(r"(?:bytes=)?0-(\d{1,18})", re.ASCII)
_DIGITS = re.compile(r"\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Bytes `start` up to but not including `stop`. `total` None: the server does not know."""

    start: int
    stop: int
    total: int | None


def parse_content_range(text: str) -> ContentRange | None:
    """None for anything that is not a valid `bytes a-b/n`."""
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        return None
    start, stop = int(match[1]), int(match[2]) + 1
    total = None if match[3] == "*" else int(match[3])
    if stop <= start or (total is not None and stop > total):
        return None
    return ContentRange(start, stop, total)


def parse_length(text: str | None) -> int | None:
    """A `Content-Length`; None if it is missing or invalid."""
    return int(text) if text is not None and _DIGITS.fullmatch(text.strip()) else None


def parse_upload_range(text: str) -> int | None:
    """How many bytes of an upload a registry has, from its `Range: 0-n`. `0-0` means none to registries."""
    match = _UPLOADED.fullmatch(text.strip())
    if match is None:
        return None
    last = int(match[1])
    return last + 1 if last else 0


def parse_retry_after_s(text: str | None, *, now_s: float | None = None) -> float | None:
    """Seconds to wait, from a number or a date; None if it is missing or invalid."""
    if text is None:
        return None
    text = text.strip()
    if _DIGITS.fullmatch(text):
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text)
        return max(when.timestamp() - (time.time() if now_s is None else now_s), 0.0)
    except (TypeError, ValueError, OverflowError, OSError, IndexError):
        return None
