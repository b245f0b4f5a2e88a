"""Asks a build of the engine about itself, in a short-lived child: a driver may hang or end its process."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from corral.childenv import child_environment

_MAX_REASON_CHARS = 500


class SilentEngineError(Exception):
    """An engine could not be asked at all; the text says why."""


def package_environment(package_folder: Path | None, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child that imports the engine from a folder (None: the one that is installed here)."""
    variables = {**child_environment(), **(more or {})}
    if package_folder is not None:
        paths = [str(package_folder), *filter(None, [variables.get("PYTHONPATH")])]
        variables["PYTHONPATH"] = ":".join(paths)
    return variables


def ask(command: Sequence[str], env: Mapping[str, str], limit_s: float) -> subprocess.CompletedProcess[str]:
    """Run a child to its end, whatever its status, and return what it printed.

    Raises:
        SilentEngineError: it cannot be started, or did not end within `limit_s`.
    """
    try:
        return subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SilentEngineError(f"it did not answer within {limit_s:.0f} seconds") from None
    except OSError as exc:
        raise SilentEngineError(f"it cannot be started: {exc.strerror or exc}") from None


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Why a child failed, in its own words."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[-1][:_MAX_REASON_CHARS] if lines else f"exit status {done.returncode}"
