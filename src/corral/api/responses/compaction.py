"""Compacted conversations: the item that stands for what was said before, made and read back.

OpenAI seals such an item. This server has no secrets from the machine it runs on: the item holds the summary that the
model wrote, packed so that no client takes it for its own text.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from typing import Any

_KINDS = ("compaction", "compaction_summary", "context_compaction")
_MARK = "corral-summary-1."
_HEADING = "Summary of the conversation so far:\n\n"


def compaction_item(summary: str) -> dict[str, Any]:
    """The item for a summary."""
    packed = base64.urlsafe_b64encode(summary.encode("utf-8", "replace")).decode("ascii")
    return {
        "id": f"cmp_{secrets.token_hex(16)}",
        "type": "compaction",
        "encrypted_content": _MARK + packed,
    }


def summary_of(item: Mapping[str, Any]) -> str | None:
    """What an item of a compacted conversation means to a model; None for items of other kinds.

    One that another server sealed is empty.
    """
    if item.get("type") not in _KINDS:
        return None
    content = item.get("encrypted_content")
    if not isinstance(content, str) or not content.startswith(_MARK):
        return ""
    try:
        summary = base64.b64decode(content.removeprefix(_MARK), altchars=b"-_", validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return _HEADING + summary
