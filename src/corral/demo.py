"""`python -m corral.demo`: starts a temporary server and shows what it does. `./dev demo` runs this.

It uses only HTTP and the built-in model, writes only to a temporary folder, and exits with 0 only if the answers are
right.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

_MODEL = "corral-tiny"
_VARIANT = "corral-tiny-embed"
_START_TIMEOUT_S = 30.0


def _call(base: str, path: str, body: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """The JSON objects of a response, as they arrive."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data=data)
    with urllib.request.urlopen(request, timeout=120) as response:
        for line in response:
            if line.strip():
                yield json.loads(line)


def _start_server(folder: str) -> tuple[subprocess.Popen[str], str]:
    """Start `corral serve` on a free port; returns the process and its address."""
    env = {**os.environ, "OLLAMA_HOST": "127.0.0.1:0", "OLLAMA_MODELS": folder}
    server = subprocess.Popen(
        [sys.executable, "-m", "corral.cli.main", "serve"], env=env, stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    for line in server.stderr:
        if "listening" in line and "http://" in line:
            return server, "http://" + line.partition("http://")[2].split()[0]
        if time.monotonic() > deadline_s:
            break
    server.kill()
    sys.exit("the server did not start")


def _tokens_per_s(final: dict[str, Any]) -> str:
    return f"{final['eval_count']} tokens, {final['eval_count'] / final['eval_duration'] * 1e9:,.0f} tokens/s"


def _show(base: str) -> bool:
    """Run the three requests; True if the capital was right."""
    print(f"pull {_MODEL} (from the package, no network)")
    for step in _call(base, "/api/pull", {"model": _MODEL}):
        if step.get("status") == "success":
            print("  success")

    print("\ngenerate: What is 7 + 5?")
    (answer,) = _call(base, "/api/generate", {"model": _MODEL, "prompt": "What is 7 + 5?", "stream": False})
    print(f"  {answer['response'].strip()}\n  ({_tokens_per_s(answer)})")

    question = "What is the capital of France?"
    print(f"\nchat, streamed: {question}\n  ", end="")
    request = {
        "model": _MODEL,
        "messages": [{"role": "user", "content": question}],
        "options": {"temperature": 0},
    }
    text = ""
    event: dict[str, Any] = {}
    for event in _call(base, "/api/chat", request):
        piece = event["message"]["content"]
        text += piece
        print(piece, end="", flush=True)
    print(f"\n  ({_tokens_per_s(event)})")

    print("\nembed: two texts in one request, on a variant of the model for embeddings")
    variant = {"model": _VARIANT, "from": _MODEL, "info": {"capabilities": ["embedding"]}, "stream": False}
    list(_call(base, "/api/create", variant))
    (result,) = _call(base, "/api/embed", {"model": _VARIANT, "input": ["hello", "good morning"]})
    for vector in result["embeddings"]:
        print(f"  {len(vector)} values: {', '.join(f'{value:+.4f}' for value in vector[:5])} ...")
    return "Paris" in text


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="corral-demo-") as folder:
        server, base = _start_server(folder)
        print(f"server on {base}\n")
        try:
            is_right = _show(base)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=15)
    print("\nserver stopped" if is_right else "\nthe chat gave a wrong answer")
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
