#!/usr/bin/env python3
"""A double of llama.cpp's server: command line, socket, progress lines, routes; behaviour by environment.

Named as `CORRAL_LLAMA_SERVER` it serves in place of the engine. Tokens are words: a run of visible
characters with the white space before it. Standard library only.

FAKE_TOKENS=n          every reply has n tokens (default 5)
FAKE_TEXT=text         what a token says (default "word "), every second one in capitals
FAKE_DELAY_S=x         pause before each token
FAKE_BATCH=n           tokens written to the socket at once (default 1)
FAKE_CRASH_AT=n        exit with code 9 before token n
FAKE_LAST_WORDS=text   what it says on stderr then
FAKE_HANG_AT=n         say nothing more from token n on, and answer no /slots either
FAKE_READS_ON=1        but say of later requests that their prompts were read
FAKE_LOAD_S=x          time that loading takes, with progress
FAKE_LOAD_HANGS=1      loading never ends and says nothing
FAKE_LOAD_FAILS=text   say text on stderr and exit with code 1
FAKE_MAX_SLOTS=n       run out of memory while loading with more slots
FAKE_DEVICES=A=n,B=m    it has these devices, with room for n and m of a model's two layers; more is the end, in the
                       words of CUDA
FAKE_LOST=path         while this file exists, it has no device, and one that uses a device dies at the next token
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
loaded_on: dict[str, int] = {}


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
        if body.get("return_progress") and (setting("READS_ON", 0) or not hung.is_set()):
            progress = {"total": prompt_count, "cache": 0, "processed": prompt_count, "time_ms": 1}
            event = {"index": 0, "content": "", "tokens": [], "stop": False, "prompt_progress": progress}
            self.chunk(b"data: " + json.dumps(event).encode() + b"\n\n")
        delay_s, batch = setting("DELAY_S", 0), int(setting("BATCH", 1))
        for i in range(0, count, batch):
            if i >= setting("CRASH_AT", 1e18):
                sys.stderr.write(f"GGML_ASSERT(fake) failed\n{os.environ.get('FAKE_LAST_WORDS', '')}\n")
                sys.stderr.flush()
                os._exit(9)
            if used_devices() != loaded_on:
                sys.stderr.write("CUDA error: the launch timed out and was terminated\n")
                sys.stderr.flush()
                os._exit(134)
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


LAYERS = 2  # as in `say`, with the output
MIB_OF_A_LAYER = 10


def devices() -> dict[str, int]:
    """The names of its devices, and how many layers each has room for."""
    if os.path.exists(os.environ.get("FAKE_LOST", "")):
        return {}
    entries = [entry.split("=") for entry in os.environ.get("FAKE_DEVICES", "").split(",") if entry]
    return {name: int(count) for name, count in entries}


def used_devices() -> dict[str, int]:
    found = devices()
    if "--split-mode" in sys.argv:
        main = int(argument("--main-gpu"))
        return dict(list(found.items())[main : main + 1]) if main >= 0 else {}
    if "--device" in sys.argv:
        return {name: found[name] for name in argument("--device").split(",")}
    return found


def load_layers() -> None:
    """Give layers to the devices, evenly, and report them as the engine does; without room for them, end."""
    found = used_devices()
    wanted = min(int(argument("-ngl")), LAYERS) if "-ngl" in sys.argv else LAYERS
    on_host = MIB_OF_A_LAYER * (LAYERS - (wanted if found else 0)) + 1
    lines = [
        "llama_model_loader: loaded meta data with 1 key-value pairs",
        f"load_tensors: offloaded {wanted}/{LAYERS} layers to GPU",
        f"load_tensors: CPU model buffer size = {on_host}.00 MiB",
    ]
    for place, (name, room) in enumerate(found.items()):
        count = wanted * (place + 1) // len(found) - wanted * place // len(found)
        if count > room:
            lines = [
                f"ggml_backend_cuda_buffer_type_alloc_buffer: allocating {count}.00 MiB on device {place}: cudaMalloc"
                " failed: out of memory",
                f"alloc_tensor_range: failed to allocate {name} buffer of size {count}",
                f"llama_model_load: error loading model: unable to allocate {name} buffer",
            ]
            sys.exit("\n".join(lines))
        if count:
            lines.append(f"load_tensors: {name} model buffer size = {MIB_OF_A_LAYER * count}.00 MiB")
            lines.append(f"llama_kv_cache: {name} KV buffer size = {count}.00 MiB")
    for line in (*lines, "llama_server: model loaded"):
        sys.stderr.write(f"0.00.000.001 I {line}\n")
    sys.stderr.flush()


def main() -> None:
    if "--list-devices" in sys.argv:
        print("Available devices:")
        for name in devices():
            print(f"  {name}: Card {name} (24564 MiB, 24000 MiB free)")
        return
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
    if os.environ.get("FAKE_DEVICES"):
        load_layers()
        loaded_on.update(used_devices())
    with Server(argument("--host"), Handler) as server:
        say("ready", {})
        server.serve_forever()


if __name__ == "__main__":
    main()
