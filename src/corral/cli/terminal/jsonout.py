"""JSON for people and for programs: indented, and with nothing in it that a terminal would obey."""

from __future__ import annotations

import json
import sys

from corral.cli.terminal.screen import is_terminal, safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def print_json(value: Any) -> None:
    """One JSON text on standard output, its members in the order that they have."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    print(safe(text) if is_terminal(sys.stdout) else text)
