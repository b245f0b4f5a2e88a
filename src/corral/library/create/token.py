"""The token that a server and programs on its machine share through a file (see `local.py`)."""

from __future__ import annotations

import re

TOKEN_FILE_NAME = "corral-local-token"
TOKEN_PREFIX = "corral-local-"
_TOKEN = re.compile(TOKEN_PREFIX + "[0-9a-f]{64}")


def is_token(text: str) -> bool:
    """Whether a text is such a token: a client checks before it sends what it found in a file."""
    return _TOKEN.fullmatch(text) is not None
