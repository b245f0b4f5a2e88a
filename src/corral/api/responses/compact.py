"""`POST /v1/responses/compact`: a conversation as a shorter list of items that takes its place."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from corral.api.openai.encode import id_digits
from corral.api.responses import objects
from corral.api.responses.compaction import compaction_item
from corral.inference.compaction import Summary

Item = dict[str, Any]

# The user's messages stay word for word, the newest first, up to this length.
_MAX_KEPT_CHARS = 32_000
_KEPT_ROLES = ("user", "system", "developer")


def kept_items(items: Sequence[Any]) -> list[Item]:
    """The messages of a conversation that stay as they are."""
    kept: list[Item] = []
    left = _MAX_KEPT_CHARS
    for item in reversed(items):
        if not isinstance(item, dict) or item.get("role") not in _KEPT_ROLES:
            continue
        left -= len(str(item.get("content")))
        if left < 0 and kept:
            break
        kept.append(item)
    return kept[::-1]


def compacted(kept: Sequence[Item], summary: Summary) -> Item:
    """The answer: its `output` is the input of the next request."""
    return {
        "id": f"resp_{id_digits()}",
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": [*kept, compaction_item(summary.text)],
        "usage": objects.usage_object(summary.metrics, has_details=True),
    }
