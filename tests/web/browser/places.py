"""The pages that there are, as the source of the page lists them, so that a gate misses none."""

from __future__ import annotations

import re
from pathlib import Path

_WEB = Path(__file__).parents[3] / "web"
AXE = _WEB / "node_modules" / "axe-core" / "axe.min.js"


# What the pages show besides what they begin with.
_PARTS = (
    "models/tiny",
    "playground/embeddings",
    "playground/rerank",
    "playground/tokens",
    "admin/usage",
    "admin/log",
)


def addresses() -> list[str]:
    """Every page, and every part of one that has an address."""
    return [*places(), *_PARTS]


def places() -> list[str]:
    """First parts of the addresses, in the order of the navigation."""
    return re.findall(r'\{ *id: "(\w+)"', (_WEB / "src" / "pages" / "table.ts").read_text().replace("\n", ""))
