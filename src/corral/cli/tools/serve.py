"""`corral serve`."""

from __future__ import annotations

from corral.cli.frame.flags import Arguments
from corral.config import Settings
from corral.server import serve as run_server


def serve(_arguments: Arguments) -> None:
    """Raises CorralError."""
    run_server(Settings.load())
