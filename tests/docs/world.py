"""The server, the folder and the standing objects that the examples of the docs are run with.

The models that the docs speak of are copies of corral-tiny under their names. The server is its own mirror, so that
they can be pulled. Addresses and keys in the examples become those of this server.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import corral.assets
from scripts.site.blocks import ROOT, Block
from tests.conftest import FIXTURES, Server
from tests.doubles.reranker import write_gguf

TINY = Path(corral.assets.__file__).parent / "corral-tiny.gguf"
# Names of models in the docs that corral-tiny stands for. A pattern like `test-*` needs models that match.
MODELS = ("llama3.2", "qwen3", "gemma3", "qwen3-coder", "nimble", "m", "MODEL", "test-one")
EMBEDDERS = ("nomic-embed-text", "all-minilm")
RERANKERS = ("bge-reranker-v2-m3", "my-reranker")
_HOSTS = ("localhost:11434", "127.0.0.1:11434", "server:11434", "lan-host:11434")
_FILES = {
    "report.txt": "The turnover of the second quarter was three million.\n",
    "sentences.txt": "The sky is blue.\nGrass is green.\n",
    "paragraphs.txt": "The panda's diet is bamboo.\nThe sky is blue.\n",
    "Modelfile": "FROM ./model.gguf\nSYSTEM Answer in one sentence.\n",
    "app.log": "2026-11-30 ERROR disk full\n2026-11-30 INFO retry\n",
}
EXAMPLES = ROOT / "examples"
_BIN = Path(__file__).parent / "bin"
_ATTEMPTS = 5


class World:
    """The server, and a folder of the page at hand."""

    def __init__(self, folder: Path) -> None:
        self.server = _own_mirror()
        self.folder = folder
        self.key = ""
        self._make_models()
        self.shims = folder / "bin"
        self.shims.mkdir()
        for program in _BIN.iterdir():
            shutil.copy(program, self.shims / program.name)
            (self.shims / program.name).chmod(stat.S_IRWXU)
        (self.shims / "corral-real").write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -m corral.cli.main "$@"\n'
        )
        (self.shims / "corral-real").chmod(stat.S_IRWXU)

    def _make_models(self) -> None:
        self.server.stream("/api/pull", {"model": "corral-tiny"})
        for name in MODELS:
            self.server.post("/api/copy", {"source": "corral-tiny", "destination": name})
        for name in EMBEDDERS:
            self.server.create(name, "embed")
        ranker = self.folder / "ranker.gguf"
        write_gguf(ranker)
        for name in RERANKERS:
            files = {"ranker.gguf": self.server.upload(ranker)}
            self.server.post("/api/create", {"model": name, "files": files, "stream": False})

    def close(self) -> None:
        self.server.close()

    def page_folder(self, block: Block) -> Path:
        """Where the examples of a page run, one after the other: with the files that the docs speak of."""
        example = block.page.parent
        is_example = EXAMPLES in example.parents
        folder = self.folder / (f"example-{example.name}" if is_example else block.page.stem)
        if not folder.exists():
            if is_example:
                shutil.copytree(example, folder)
                return folder
            folder.mkdir()
            for name, text in _FILES.items():
                (folder / name).write_text(text)
            # Only weights that are not quantised can be quantised.
            is_whole = block.page.stem == "quantize"
            shutil.copy(FIXTURES / "wide-f16.gguf" if is_whole else TINY, folder / "model.gguf")
        return folder

    def prepare(self, text: str) -> str:
        """An example with this server's addresses, after what it is about has been made again."""
        for written, here in self.replaced(text):
            text = text.replace(written, here)
        return text

    def replaced(self, text: str) -> list[tuple[str, str]]:
        """What stands in an example for something of this server, after that has been made again."""
        if "my-model" in text:
            self._again("my-model")
        if "ck_" in text and not self.key:
            self.key = self.server.post("/api/keys", {"name": "mine", "scopes": ["admin"]})["key"]
        here = f"127.0.0.1:{self.server.port}"
        pairs = [(name, here) for name in _HOSTS if name in text]
        pairs += [
            ("https://gpu.example", self.server.base),
            (".venv/bin/corral", "corral"),
            ("ck_...", self.key),
        ]
        if "RESPONSE_ID" in text:
            made = self.server.post("/v1/responses", {"model": "corral-tiny", "input": "Hello"})
            pairs.append(("RESPONSE_ID", made["id"]))
        if "KEY_ID" in text:
            pairs.append(("KEY_ID", self.server.post("/api/keys", {"name": "notebook"})["id"]))
        if "DIGEST" in text:
            pairs.append(("DIGEST", f"sha256:{hashlib.sha256(TINY.read_bytes()).hexdigest()}"))
        return pairs

    def _again(self, name: str) -> None:
        if self._lacks(name):
            self.server.post("/api/copy", {"source": "corral-tiny", "destination": name})

    def _lacks(self, name: str) -> bool:
        return self.server.request("POST", "/api/show", {"model": name})[0] == 404

    def environment(self) -> dict[str, str]:
        return {
            **self.server.env,
            "PATH": f"{self.shims}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "CORRAL_DOCS_PYTHON": sys.executable,
            "NO_COLOR": "1",
        }


def _own_mirror() -> Server:
    """A server that pulls from itself; its port has to be known before it starts, and may be taken meanwhile."""
    for attempt in range(_ATTEMPTS):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        base = f"http://127.0.0.1:{port}"
        with contextlib.suppress(AssertionError) if attempt < _ATTEMPTS - 1 else contextlib.nullcontext():
            return Server(
                OLLAMA_HOST=f"127.0.0.1:{port}",
                CORRAL_REGISTRY="push",
                CORRAL_REGISTRY_MIRRORS=base,
                CORRAL_REGISTRY_TRUSTED_HOSTS=f"127.0.0.1:{port}",
            )
    raise AssertionError("no port")


class Interpreter:
    """A process that runs the examples of one language, one after the other.

    It reads lines of JSON, `{"file", "folder"}`, and answers each with `{"error", "output"}`.
    """

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lock = threading.Lock()

    def run(self, file: Path, folder: Path) -> dict[str, str]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"file": str(file), "folder": str(folder)}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, str] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
