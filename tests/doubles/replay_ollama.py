#!/usr/bin/env python3
"""A double of an Ollama server that answers from a file, as Go's web server would send it. Standard library only.

    replay_ollama.py ANSWERS.json LOG

Prints its port, then serves. ANSWERS is a list of {"method", "path", "json", "status", "ctype", "kind", "body"}: an
answer fits a request whose JSON has at least the members of "json"; the one with the most members wins, of equals
the first that is left. "kind" is json, text, empty or ndjson (one object of the list "body" a line). More members:
"once" (used up by one request), "pause_s" (before each line), "wait_s" (before the head), "cut" (the connection
breaks after so many lines). A POST to /api/blobs and a HEAD of one get along without. Each request is appended to LOG
as a line of JSON, with "cancelled": true instead of a body where the client left before the end.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SMALL_BYTES = 2048  # Go sends a length up to here, chunks beyond
REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}

answers: list[dict[str, Any]] = json.loads(Path(sys.argv[1]).read_text())
lock = threading.Lock()


def log(entry: dict[str, Any]) -> None:
    with lock, Path(sys.argv[2]).open("a") as file:
        file.write(json.dumps(entry) + "\n")


def choose(method: str, path: str, body: Any) -> dict[str, Any] | None:
    with lock:
        fitting = [
            answer
            for answer in answers
            if (answer["method"], answer["path"]) == (method, path)
            and all(isinstance(body, dict) and body.get(k) == v for k, v in (answer["json"] or {}).items())
        ]
        if not fitting:
            return None
        chosen = max(fitting, key=lambda answer: len(answer["json"] or {}))
        if chosen.get("once"):
            answers.remove(chosen)
        return chosen


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """LOG has more."""

    def handle_any(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_blob = self.path.startswith("/api/blobs/")
        body = json.loads(data) if data and not is_blob else None
        log({"method": self.command, "path": self.path, "body": body, "headers": dict(self.headers)})
        answer = choose(self.command, self.path, body)
        if answer is None and is_blob:
            answer = {"status": 404 if self.command == "HEAD" else 201, "ctype": "", "kind": "empty"}
        if answer is None:
            answer = {"status": 404, "ctype": "text/plain", "kind": "text", "body": "404 page not found"}
        time.sleep(answer.get("wait_s", 0))
        try:
            self.answer(answer)
        except (BrokenPipeError, ConnectionResetError):
            log({"method": self.command, "path": self.path, "cancelled": True})
            self.close_connection = True

    def answer(self, answer: dict[str, Any]) -> None:
        kind, body = answer["kind"], answer.get("body")
        data = {"json": json.dumps(body, ensure_ascii=False), "text": body}.get(kind) or ""
        content = data.encode()
        self.send_response(answer["status"], REASONS.get(answer["status"]))
        if answer["ctype"]:
            self.send_header("Content-Type", answer["ctype"])
        is_chunked = kind == "ndjson" or len(content) > SMALL_BYTES
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if kind == "ndjson":
            for number, event in enumerate(body or ()):
                if number == answer.get("cut"):
                    self.close_connection = True
                    return
                time.sleep(answer.get("pause_s", 0))
                self.chunk(json.dumps(event, ensure_ascii=False).encode() + b"\n")
            self.wfile.write(b"0\r\n\r\n")
        elif is_chunked:
            for start in range(0, len(content), 1000):
                self.chunk(content[start : start + 1000])
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(content)

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    do_GET = do_HEAD = do_POST = do_DELETE = handle_any


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
