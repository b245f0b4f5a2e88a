"""What Ray's output means, for people."""

from __future__ import annotations

import re

from corral.cluster.ray.library import RayError

_VERSIONS = re.compile(r"Ray: ([\w.+-]+)\s+Python: ([\w.+-]+)")
_TOKEN = ("InvalidAuthToken", "AuthenticationError", "UnauthenticatedError", "Unauthenticated")
_AWAY = (
    "Failed to connect to GCS",
    "Timed out while waiting for GCS",
    "Could not find any running Ray instance",
)


class WrongTokenError(RayError):
    """The cluster has another token, so another key."""


class UnreachableError(RayError):
    """No Ray answers at the address of the head."""


class VersionError(RayError):
    """Ray or Python differ from those of the cluster."""


class SlowStartError(RayError):
    """Ray has given itself up after the 30 s that it has for its start."""


def explain(output: str, head: str) -> RayError | None:
    """The error that the output of a Ray that has ended stands for; None if it stands for none that is known."""
    if (found := explain_early(output, head)) is not None:
        return found
    if "already running at" in output or "Address already in use" in output:
        return RayError(
            "a port that Ray needs is taken: " + _last_line(output),
            hint="end the other Ray on this machine, or choose others with --port and --ports",
        )
    if "timed out during startup" in output:
        return SlowStartError(
            "Ray did not start within its 30 s", hint="is this machine very busy, or its memory full?"
        )
    if "GetTimeoutError" in output:
        return RayError(
            f"the Ray cluster at {head} has not done what was asked in time",
            hint="is it very busy? Try again",
        )
    if any(mark in output for mark in _AWAY):
        return unreachable(head)
    return None


def explain_early(output: str, head: str) -> RayError | None:
    """The same while Ray still runs: only what does not get better, though Ray tries for half a minute."""
    if any(mark in output for mark in _TOKEN):
        return WrongTokenError(
            f"the Ray cluster at {head} does not take the token of this machine",
            hint="copy ~/.corral/cluster.key from the machine that started the cluster",
        )
    if "ersion mismatch" in output:
        return _version_error(output)
    return None


def unreachable(head: str) -> UnreachableError:
    return UnreachableError(
        f"no Ray cluster answers at {head}",
        hint="is `corral cluster start --head` running there, and does the firewall let this machine through?",
    )


def unexplained(output: str) -> RayError:
    """For what nobody has foreseen: Ray's own last words."""
    return RayError(f"Ray did not start: {_last_line(output) or 'it said nothing'}")


def _version_error(output: str) -> VersionError:
    found = _VERSIONS.findall(output)
    if len(found) < 2:
        return VersionError("Ray or Python differ from those of the cluster: " + _last_line(output))
    (theirs, their_python), (ours, our_python) = found[:2]
    return VersionError(
        f"the cluster has Ray {theirs} with Python {their_python}, this machine Ray {ours} with Python {our_python}",
        hint="install the same versions on all machines",
    )


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""
