"""The programs that build a release, in exact versions, in an environment that is kept between calls."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LIST = ROOT / "packaging" / "tools.txt"


@dataclass(frozen=True, slots=True)
class Tools:
    """An environment with what `packaging/tools.txt` lists."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def uv(self) -> Path:
        return self.folder / "bin" / "uv"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "corral-release"


def tools() -> Tools:
    """Make the environment, or take the one that is there for the same list and the same Python."""
    digest = hashlib.sha256(_LIST.read_bytes() + sys.version.encode()).hexdigest()[:12]
    found = Tools(_cache() / f"tools-{digest}")
    done = found.folder / "installed"
    if not done.exists():
        venv.create(found.folder, with_pip=True, clear=True)
        command = [str(found.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, "--requirement", str(_LIST)], check=True)
        done.touch()
    return found
