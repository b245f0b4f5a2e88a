"""The server that gets the load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

from bench.soak.processes import Look, look_at
from bench.soak.run import Run

_FIXTURES = Path(__file__).parent.parent.parent / "tests" / "fixtures"
_TEMPLATE = "{{ if .System }}{{ .System }}|{{ end }}{{ .Prompt }}{{ .Response }}"
_MODELS = {"talk": "tiny", "say": "say", "embed": "embed"}
# Bounds of what the server keeps, so low that the warm-up fills them.
RESPONSES_BYTES = 64 << 10
_CACHE_RAM_MIB = 4


class Server:
    """`corral serve` with a folder of its own; its log is read as JSON."""

    def __init__(self, folder: Path, run: Run) -> None:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "CORRAL_"))
        }
        self.folder = folder
        self.env = {
            **clean,
            "HOME": str(folder),
            "OLLAMA_MODELS": str(folder / "models"),
            "OLLAMA_HOST": "127.0.0.1:0",
            "CORRAL_LOG_FORMAT": "json",
            "CORRAL_METRICS_VLLM": "1",
            "CORRAL_OFFLINE": "1",
            "CORRAL_RESPONSES_MAX_BYTES": str(RESPONSES_BYTES),
            "CORRAL_CACHE_RAM": str(_CACHE_RAM_MIB),
        }
        words = [sys.executable, "-m", "corral.cli.main"]
        self.process = subprocess.Popen([*words, "serve"], env=self.env, stderr=subprocess.PIPE, text=True)
        self.port = 0
        self._run = run
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._ready.wait(120)
        self.keys = ["", *(self._make_key(words, name) for name in ("alice", "bob"))]
        for name, fixture in _MODELS.items():
            self._create(name, fixture)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("logger") == "corral.http" and "status" in entry:
                self._run.log[str(entry["request"])] = entry
                continue
            message = str(entry.get("message", ""))
            if entry.get("level") not in ("INFO", "DEBUG"):
                self._run.other_lines[f"{entry.get('level')} {message[:120]}"] += 1
            if "listening" in message and not self.port:
                self.port = int(message.partition("http://")[2].split()[0].rpartition(":")[2])
                self._ready.set()

    def _make_key(self, words: list[str], name: str) -> str:
        env = {**self.env, "OLLAMA_HOST": f"127.0.0.1:{self.port}"}
        done = subprocess.run(
            [*words, "key", "create", name], env=env, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def _create(self, name: str, fixture: str) -> None:
        import hashlib

        data = (_FIXTURES / f"{fixture}.gguf").read_bytes()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.ask(f"/api/blobs/{digest}", data)
        body = {"model": name, "files": {f"{fixture}.gguf": digest}, "stream": False, "template": _TEMPLATE}
        self.ask("/api/create", json.dumps(body).encode())

    def ask(self, path: str, data: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data, timeout=600) as response:
            answer: bytes = response.read()
            return answer

    def event_count(self) -> int:
        """How many decisions the scheduler has made so far."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/events", headers={"Accept": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as response:
            events = json.load(response)["events"]
        return int(events[-1]["id"]) if events else 0

    def look(self) -> Look:
        return look_at(self.process.pid)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(120)
        self._reader.join(60)
        return status
