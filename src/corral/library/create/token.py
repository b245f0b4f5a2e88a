"""The token that a server shares with programs on its machine through a file (see `local.py`)."""

from __future__ import annotations

import re

TOKEN_FILE_NAME = "corral-local-token"
TOKEN_PREFIX = "corral-local-"
_TOKEN = re.compile(TOKEN_PREFIX + "[0-9a-f]{64}")


def is_token(text: str) -> bool:
    """Whether a text has the form of a token; clients check this before they send the content of a file."""
    return _TOKEN.fullmatch(text) is not None
