"""Texts that the system gives: files below /proc and /sys, and the output of tools that may hang in a driver."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from corral.childenv import child_environment

_TOOL_TIMEOUT_S = 5.0
# By the paths of the tools: processes that did not end in time.
_stuck: dict[str, subprocess.Popen[bytes]] = {}


def read_text(path: Path) -> str:
    """The stripped text of a file; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def parse_int(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def run_tool(command: Sequence[str]) -> str:
    """A tool's output, empty when it is missing, fails or takes too long (a driver that hangs).

    A process that hangs in a driver may survive SIGKILL. Nobody waits for it, and its tool is not run meanwhile.
    """
    path = shutil.which(command[0])
    if path is None or (path in _stuck and _stuck[path].poll() is None):
        return ""
    try:
        process = subprocess.Popen(
            [path, *command[1:]],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return ""
    assert process.stdout is not None
    with process.stdout:
        try:
            output, _ = process.communicate(timeout=_TOOL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            _stuck[path] = process
            return ""
    return output.decode("utf-8", "replace").strip() if process.returncode == 0 else ""
