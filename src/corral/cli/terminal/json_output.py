"""JSON on standard output: indented, and without control characters on a terminal."""

from __future__ import annotations

import json
import sys

from corral.cli.terminal.screen import is_terminal, safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def print_json(value: Any) -> None:
    """Print one JSON text; members keep their order."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    print(safe(text) if is_terminal(sys.stdout) else text)
