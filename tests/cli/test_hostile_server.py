"""What a server says reaches the terminal as text: no command passes on its control sequences."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pexpect
import pytest

EVIL = "\x1b]0;owned\x07\x1b[31mred\x9b2Jx"
MODEL = {
    "name": f"a{EVIL}",
    "model": f"a{EVIL}",
    "modified_at": "2026-01-01T00:00:00Z",
    "size": 5,
    "size_vram": 0,
    "digest": f"{EVIL}0123456789ab",
    "expires_at": "2036-01-01T00:00:00Z",
}
SHOWN = {
    "license": EVIL,
    "modelfile": EVIL,
    "parameters": f"stop {EVIL}",
    "system": EVIL,
    "template": EVIL,
    "details": {"family": EVIL, "quantization_level": EVIL},
    "model_info": {"general.architecture": EVIL},
    "capabilities": [EVIL],
}
ANSWERS: dict[str, Any] = {
    "/api/version": {"version": f"1.0{EVIL}"},
    "/api/tags": {"models": [MODEL]},
    "/api/ps": {"models": [MODEL]},
    "/api/show": SHOWN,
    "/api/top": {
        "version": EVIL,
        "started_at": "2026-01-01T00:00:00Z",
        "memory": {"total": 2, "free": 1, "devices": [{"name": EVIL, "total": 2, "free": 1}]},
        "models": [
            {**MODEL, "state": EVIL, "context_length": 1, "slots": 1, "running": 1, "waiting": 0},
            {"name": EVIL, "state": "loading"},
        ],
        "requests": [{"id": EVIL, "model": EVIL, "state": EVIL, "path": EVIL, "key": EVIL, "tokens": 1}],
        "recent": [
            {
                "id": EVIL,
                "model": EVIL,
                "status": 500,
                "error": EVIL,
                "path": EVIL,
                "ms": 1,
                "tokens": 1,
                "prompt_tokens": 1,
                "ended_at": EVIL,
            }
        ],
    },
    "/api/me": {"name": EVIL},
    "/api/pull": {"status": f"pulling {EVIL}"},
    "/api/push": {"error": f"no {EVIL}"},
    "/api/generate": {"response": EVIL, "thinking": EVIL, "done": True},
    "/api/chat": {"message": {"role": "assistant", "content": EVIL, "thinking": EVIL}, "done": True},
    "/api/tokenize": {"tokens": [1], "pieces": [EVIL]},
    "/api/rerank": {"results": [{"index": 0, "relevance_score": 0.5, "document": {"text": EVIL}}]},
}


class Hostile(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = ANSWERS.get(self.path)
        body = json.dumps(answer if answer is not None else {"error": EVIL}).encode()
        self.send_response(200 if answer is not None or self.path == "/" else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_POST = do_DELETE = do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.process
@pytest.mark.parametrize(
    "words",
    [
        "--version",
        "list",
        "list --json",
        "ps",
        "ps --json",
        "top --once",
        "top --json",
        "show a",
        "show a --verbose",
        "show a --license",
        "show a --modelfile",
        "show a --parameters",
        "show a --system",
        "show a --template",
        "show a --json",
        "cp a b",
        "stop a",
        "pull a",
        "push a",
        "rm a",
        "rm a*",
        "signin",
        "signout",
        "run a hello",
        "run a hello --verbose",
        "tokenize a hello",
        "rerank a query text",
    ],
)
def test_control_sequences_do_not_pass(address: str, words: str) -> None:
    """On a terminal; what Corral itself draws with stays."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "CORRAL_"))}
    child = pexpect.spawn(
        sys.executable,
        ["-m", "corral.cli.main", *words.split()],
        env={**clean, "OLLAMA_HOST": address, "TERM": "xterm"},
        timeout=60,
        dimensions=(50, 300),
    )
    child.sendline("y")
    child.expect(pexpect.EOF)
    child.close()
    text: bytes = child.before
    assert b"\x1b]0;" not in text
    assert b"\x07" not in text
    assert b"\x1b[31m" not in text
    assert "\x9b".encode() not in text
