"""`corral serve`."""

from __future__ import annotations

import os
import sys

from corral.cli.frame.flags import Arguments
from corral.cli.terminal.screen import is_terminal
from corral.config import Settings
from corral.errors import CorralError
from corral.homefolder import home_folder
from corral.runner.engines.automatic import gpus_of, resolve_engine
from corral.runner.engines.choice import UnknownEngineError
from corral.runner.engines.folders import known_name
from corral.server import serve as run_server


def serve(arguments: Arguments) -> int:
    """Raises CorralError."""
    if arguments.has("tls-self-signed"):
        os.environ["CORRAL_TLS_SELF_SIGNED"] = "1"
    settings = Settings.load()
    may_ask = is_terminal(sys.stdin) and is_terminal(sys.stderr)
    if arguments.has("install-engine") or may_ask:
        _offer_engine(settings, is_wanted=arguments.has("install-engine"))
    return run_server(settings)


def _offer_engine(settings: Settings, *, is_wanted: bool) -> None:
    """Install an engine for a card that no installed one can use, if that is wanted, or if a person says so.

    Without an engine the server starts all the same; why there is none is said.
    """
    name = _missing_engine(settings)
    if not name or not (is_wanted or _is_agreed(name)):
        return
    from corral.cli.tools.engine import engine

    try:
        engine(Arguments(["install", name], {}))
    except CorralError as error:
        print(f"Warning: {error}" + (f"; {error.hint}" if error.hint else ""), file=sys.stderr)


def _missing_engine(settings: Settings) -> str:
    """The engine to install for a card that is not used; empty if there is none, or somebody has chosen an engine."""
    try:
        resolved = resolve_engine(settings, home_folder())
    except UnknownEngineError:
        return ""
    _, advice = gpus_of(settings, resolved).problem() if resolved.is_automatic else ("", "")
    before, found, rest = advice.partition("corral engine install ")
    return known_name(rest.split()[0].rstrip(",;")) if found and not before else ""


def _is_agreed(name: str) -> bool:
    print(
        f"There is a graphics card that no installed engine can use. Install the {name} engine now? Some hundred MB"
        " are downloaded. [y/N] ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    return sys.stdin.readline().strip().lower() in ("y", "yes")
