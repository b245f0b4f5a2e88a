"""The library that stands before libc (`faults.c`): compiled once, preloaded, and told what to do."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
# In the order of the numbers in `faults.c`.
KINDS = ("record", "kill", "torn", "short", "full", "error")
_VARIABLE = "LD_PRELOAD"


def why_not() -> str:
    """Why faults cannot be planned on this machine; empty if they can."""
    if sys.platform != "linux":
        return "the calls of a process are seen with LD_PRELOAD, which Linux has"
    return "" if shutil.which("cc") else "a C compiler (cc) is needed"


def build(folder: Path) -> Path:
    """Compile the library into a folder."""
    library = folder / "faults.so"
    command = [
        "cc",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-shared",
        "-fPIC",
        "-o",
        str(library),
        str(SOURCE),
    ]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    return library


def environment(library: Path) -> dict[str, str]:
    """Of a process in which the library is loaded."""
    # What the workloads start or import reads its settings from the environment.
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("OLLAMA_", "CORRAL_"))}
    return {**kept, _VARIABLE: str(library), "PYTHONHASHSEED": "0"}


class Faults:
    """For one process, which runs with the library."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        assert hasattr(self._library, "crash_arm"), "start it with environment()"

    def arm(self, root: Path, kind: str, at: int = 0, log: int = -1) -> None:
        """Count the calls below a folder; the fault of a kind happens at one. `log`: a descriptor for records."""
        self._library.crash_arm(os.fsencode(root), KINDS.index(kind), ctypes.c_long(at), log)

    def disarm(self) -> None:
        self._library.crash_disarm()

    def note(self, text: str) -> None:
        """Record that something was acknowledged after the calls so far."""
        self._library.crash_note(text.encode())
