"""Ray nodes of tests: each with a home of its own, on one machine, run by the command line as people run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from corral.cluster.ray.command import ray_folder
from tests.ports import free_block
from tests.waiting import PATIENCE_S, wait_until

ADDRESS = "127.0.0.1"
_SPAN = 30
_TRIES = 10


class RayNode:
    """One node, with ports that no other test has."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.home = Path(tempfile.mkdtemp(prefix="corral-ray-"))
        self.port, self.head_port, self.first, *_ = free_block()
        self.env = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("OLLAMA_", "CORRAL_", "RAY_"))
            },
            "HOME": str(self.home),
            "OLLAMA_HOST": f"{ADDRESS}:{self.port}",
            "OLLAMA_MODELS": str(self.home / "models"),
            "OLLAMA_CLOUD_BASE_URL": "http://127.0.0.1:9",
            "CORRAL_SPARE_ENGINE": "0",
        }

    @property
    def ports(self) -> range:
        return range(self.first, self.first + _SPAN)

    @property
    def folder(self) -> Path:
        return self.home / ".corral" / "cluster"

    def cluster(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `corral cluster`. Ray gives itself 30 s to start; where a machine is too busy for that, try again."""
        for _ in range(_TRIES):
            done = self.run("cluster", *words)
            if "Ray did not start within its 30 s" not in done.stderr:
                break
        return done

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `corral`."""
        return subprocess.run(
            [sys.executable, "-m", "corral.cli.main", *words],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def start(self) -> subprocess.CompletedProcess[str]:
        return self.cluster("start", "--head", f"--port={self.head_port}", *self._place())

    def join(self, head: RayNode) -> subprocess.CompletedProcess[str]:
        return self.cluster("join", f"{ADDRESS}:{head.head_port}", *self._place())

    def _place(self) -> list[str]:
        return [
            f"--ports={self.first}-{self.first + _SPAN - 1}",
            f"--address={ADDRESS}",
            f"--name={self.name}",
        ]

    def take_key_of(self, other: RayNode) -> None:
        folder = self.home / ".corral"
        folder.mkdir(exist_ok=True)
        shutil.copy(other.home / ".corral" / "cluster.key", folder)

    def rows(self) -> dict[str, dict[str, Any]]:
        """The table, as the server of this node reads it."""
        with suppress(OSError, ValueError):
            return {row["name"]: row for row in json.loads((self.folder / "nodes.json").read_text())["nodes"]}
        return {}

    def row(self, name: str) -> dict[str, Any]:
        """A server that serves, as this node sees it."""
        wait_until(
            lambda: self.rows().get(name, {}).get("phase") == "serving",
            f"{name} does not serve: {self.logs()}",
        )
        return self.rows()[name]

    def version(self) -> str:
        with urllib.request.urlopen(f"http://{ADDRESS}:{self.port}/api/version", timeout=30) as answer:
            found: str = json.load(answer)["version"]
            return found

    def ask(self, prompt: str) -> str:
        """Have a few words generated, and the name of the node that did. Raises for everything but an answer."""
        body = {"model": "corral-tiny", "prompt": prompt, "stream": False, "options": {"num_predict": 4}}
        request = urllib.request.Request(
            f"http://{ADDRESS}:{self.port}/api/generate",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            assert json.load(answer)["done"]
            name: str = answer.headers["X-Corral-Node"]
            return name.partition(";")[0]

    def epochs(self) -> dict[str, str]:
        """The servers that serve, as this node sees them: which start of each it is."""
        return {name: row["epoch"] for name, row in self.rows().items() if row["phase"] == "serving"}

    def models(self) -> int:
        """How many models this node says that it has."""
        return next(int(node["models"]) for node in self._nodes() if node["standing"] == "self")

    def models_of(self, other: RayNode) -> int:
        """How many models requests to this node can find on the other; 0 while that one is not heard."""
        heard = [node for node in self._nodes() if node["health"] == "alive"]
        return sum(int(node["models"]) for node in heard if node.get("name") == other.name)

    def _nodes(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(
            f"http://{ADDRESS}:{self.port}/api/cluster", timeout=PATIENCE_S
        ) as answer:
            nodes: list[dict[str, Any]] = json.load(answer)["nodes"]
        return nodes

    def processes(self, mark: str = "") -> list[int]:
        """Of this node, by what their command lines have in them: each names a folder, but for Ray's workers."""
        folders = (str(self.folder), str(ray_folder(self.folder)))
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if any(folder in words for folder in folders) and mark in words:
                    found.append(int(path.parent.name))
        return found

    def children(self, parent: int) -> dict[int, str]:
        """Names of processes by their ids."""
        done = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True, check=False
        )
        lines = (line.strip().partition(" ") for line in done.stdout.splitlines())
        return {int(pid): words for pid, _, words in lines}

    def logs(self) -> str:
        texts = [path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.log")]
        return "\n".join(texts)

    def close(self) -> None:
        """End it by force, if it has not ended."""
        self.cluster("leave")
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        shutil.rmtree(ray_folder(self.folder).parent, ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)
