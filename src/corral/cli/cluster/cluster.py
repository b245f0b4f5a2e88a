"""`cluster`: shows and changes who answers together; starts and joins a Ray cluster, and leaves it."""

from __future__ import annotations

from corral.cli.frame.flags import PROGRAM, Arguments, UsageError

_USAGE = (
    f"usage: {PROGRAM} cluster [status | drain NODE | undrain NODE | remove NODE | key | start --head |"
    " start --ray-address ADDRESS | join ADDRESS | stop | leave]"
)


def cluster(arguments: Arguments) -> int | None:
    """Run one of the words; each has a module of its own, so that the others are not imported."""
    match arguments.words:
        case ["start"] | ["join"] | ["join", _]:
            from corral.cli.cluster.starting import start

            return start(arguments)
        case ["stop" | "leave"]:
            from corral.cli.cluster.leaving import leave

            return leave(arguments)
        case ["status"]:
            from corral.cli.cluster.members import status

            status(arguments)
        case ["drain" | "undrain" | "remove", _]:
            from corral.cli.cluster.members import act

            act(arguments)
        case ["key"]:
            from corral.cli.cluster.secret import make_key

            make_key()
        case _:
            raise UsageError(_USAGE)
    return None
