#!/usr/bin/env python3
"""A double of llama.cpp's server: command line, socket, progress lines, routes; behaviour by environment.

Named as `CORRAL_LLAMA_SERVER` it serves in place of the engine. Tokens are words: a run of visible
characters with the white space before it. Standard library only.

FAKE_TOKENS=n          every reply has n tokens (default 5)
FAKE_TEXT=text         what a token says (default "word "), every second one in capitals
FAKE_DELAY_S=x         pause before each token
FAKE_BATCH=n           tokens written to the socket at once (default 1)
FAKE_CRASH_AT=n        exit with code 9 before token n
FAKE_HANG_AT=n         say nothing more from token n on, and answer no /slots either
FAKE_LOAD_S=x          time that loading takes, with progress
FAKE_LOAD_HANGS=1      loading never ends and says nothing
FAKE_LOAD_FAILS=text   say text on stderr and exit with code 1
FAKE_MAX_SLOTS=n       run out of memory while loading with more slots
FAKE_LOG=path          append a line for each request and each cancelled one
"""

from __future__ import annotations

import json
import os
import re
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

STATE = "cmd_child_to_router:state:"
hung = threading.Event()
vocabulary: dict[str, int] = {}
pieces: list[str] = []


def setting(name: str, default: float) -> float:
    return float(os.environ.get(f"FAKE_{name}", default))


def log(line: str) -> None:
    if path := os.environ.get("FAKE_LOG"):
        with open(path, "a") as file:
            file.write(line + "\n")


def tokenize(text: str) -> list[int]:
    ids = []
    for piece in re.findall(r"\s*\S+|\s+", text):
        if piece not in vocabulary:
            vocabulary[piece] = len(pieces)
            pieces.append(piece)
        ids.append(vocabulary[piece])
    return ids


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Keep stderr for the engine's own words."""

    def address_string(self) -> str:
        return "unix"

    def answer(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if hung.is_set() and self.path == "/slots":
            time.sleep(3600)
        n_ctx = int(argument("-c")) // int(argument("-np"))
        answers: dict[str, Any] = {
            "/health": {"status": "ok"},
            "/slots": [],
            "/props": {"default_generation_settings": {"n_ctx": n_ctx}, "bos_token": "", "eos_token": ""},
        }
        self.answer(answers.get(self.path, {}), 200 if self.path in answers else 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            content = body["content"]
            parts = content if isinstance(content, list) else [content]
            ids = [i for part in parts for i in ([part] if isinstance(part, int) else tokenize(part))]
            if body.get("with_pieces"):
                self.answer({"tokens": [{"id": i, "piece": pieces[i]} for i in ids]})
            else:
                self.answer({"tokens": ids})
        elif self.path == "/detokenize":
            self.answer({"content": "".join(pieces[i] for i in body["tokens"] if i < len(pieces))})
        elif self.path == "/completion":
            log("start")
            try:
                self.complete(body)
            except (BrokenPipeError, ConnectionResetError):
                log("cancelled")
        else:
            self.answer({"error": {"code": 404, "message": "no such route"}}, 404)

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def complete(self, body: dict[str, Any]) -> None:
        prompt = body["prompt"]
        prompt_count = len(tokenize(prompt)) if isinstance(prompt, str) else len(prompt)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        wanted = int(setting("TOKENS", 5))
        count = min(wanted, body["n_predict"])
        text = os.environ.get("FAKE_TEXT", "word ")
        # Two texts in turn, because a server stops a model that repeats itself.
        events = [
            {"index": 0, "content": word, "tokens": [1], "stop": False} for word in (text, text.upper())
        ]
        pair = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
        delay_s, batch = setting("DELAY_S", 0), int(setting("BATCH", 1))
        for i in range(0, count, batch):
            if i >= setting("CRASH_AT", 1e18):
                sys.stderr.write("GGML_ASSERT(fake) failed\n")
                sys.stderr.flush()
                os._exit(9)
            if hung.is_set() or i >= setting("HANG_AT", 1e18):
                hung.set()
                time.sleep(3600)
            if delay_s:
                time.sleep(delay_s)
            self.chunk(b"".join(pair[j % 2] for j in range(i, min(i + batch, count))))
        timings = {
            "cache_n": 0,
            "prompt_n": prompt_count,
            "prompt_ms": 1.0,
            "predicted_n": count,
            "predicted_ms": 1.0,
        }
        stop_type = "limit" if count < wanted else "eos"
        final = {
            "index": 0,
            "content": "",
            "tokens": [],
            "stop": True,
            "stop_type": stop_type,
            "timings": timings,
        }
        self.chunk(b"data: " + json.dumps(final).encode() + b"\n\n")
        self.wfile.write(b"0\r\n\r\n")
        log("done")


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def argument(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def say(state: str, payload: dict[str, Any]) -> None:
    print(STATE + json.dumps({"state": state, "payload": payload}), flush=True)


def end_with_parent() -> None:
    while os.read(0, 4096):
        continue
    os._exit(1)


def main() -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    if reason := os.environ.get("FAKE_LOAD_FAILS"):
        sys.exit(reason)
    if int(argument("-np")) > setting("MAX_SLOTS", 1e18):
        sys.exit("E ggml_aligned_malloc: insufficient memory")
    if os.environ.get("FAKE_LOAD_HANGS"):
        time.sleep(3600)
    load_s = setting("LOAD_S", 0)
    for i in range(10 if load_s else 0):
        say("loading", {"value": i / 10})
        time.sleep(load_s / 10)
    with Server(argument("--host"), Handler) as server:
        say("ready", {})
        server.serve_forever()


if __name__ == "__main__":
    main()
