"""Runs the replay double of tests/doubles, and reads what it was asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Replay"]

DOUBLE = Path(__file__).parent.parent / "doubles" / "replay_ollama.py"


class Replay:
    """A replay double with a home folder of its own."""

    def __init__(self, answers: Sequence[dict[str, Any]], folder: Path) -> None:
        self._log = folder / "requests.log"
        self._log.touch()
        path = folder / "answers.json"
        path.write_text(json.dumps(answers))
        self.home = folder / "home"
        self.home.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, str(DOUBLE), str(path), str(self._log)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        port = int(self._process.stdout.readline())
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "CORRAL_"))}
        self.env = {**clean, "HOME": str(self.home), "OLLAMA_HOST": f"127.0.0.1:{port}"}

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def bodies(self, path: str) -> list[Any]:
        """The JSON of the requests for a path, in their order."""
        return [entry["body"] for entry in self.requests if entry["path"] == path and "body" in entry]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
