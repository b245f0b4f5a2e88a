"""`corral serve`."""

from __future__ import annotations

import os

from corral.cli.frame.flags import Arguments
from corral.config import Settings
from corral.server import serve as run_server


def serve(arguments: Arguments) -> int:
    """Raises CorralError."""
    if arguments.has("tls-self-signed"):
        os.environ["CORRAL_TLS_SELF_SIGNED"] = "1"
    return run_server(Settings.load())
