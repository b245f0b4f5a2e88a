"""Where Corral keeps what is not a model: `~/.corral`, or `CORRAL_HOME`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def home_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Where Corral keeps what is not a model."""
    return Path(env.get("CORRAL_HOME") or Path.home() / ".corral")
