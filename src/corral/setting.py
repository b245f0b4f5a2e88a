"""One setting: its variable, its place in the configuration file, and how its text is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable: the field it fills, how its text is read, and what it means.

    `path` is its `section.key` in the configuration file, `shown` the default as printed.
    The value of one that `is_secret` is never printed.
    """

    name: str
    path: str
    field: str
    read: Callable[[str], Any]
    shown: str
    meaning: str
    is_secret: bool = False
