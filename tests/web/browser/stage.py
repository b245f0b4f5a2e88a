"""A front for a real server that plays scripted answers where a spec wants a certain one.

The page and everything without a script come from the server as they are, streams piece by piece.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.conftest import Server
from tests.waiting import PATIENCE_S

_OF_THE_CONNECTION = {"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"}


class Pause:
    """Stands between pieces: what follows is sent when the spec says so."""

    def __init__(self) -> None:
        self._gone_on = threading.Event()
        self._reached = threading.Event()

    def wait(self) -> None:
        self._reached.set()
        self._gone_on.wait(PATIENCE_S)

    def go_on(self) -> None:
        self._gone_on.set()

    @property
    def is_reached(self) -> bool:
        return self._reached.is_set()


@dataclass
class Script:
    """An answer: pieces are sent as they are; `breaks` ends the connection before the body is complete."""

    pieces: Iterable[bytes | Pause]
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/x-ndjson"})
    breaks: bool = False


@dataclass
class Asked:
    """A request of the page, as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def of_json(value: Any, status: int = 200, **headers: str) -> Script:
    """A whole answer; of the headers `_` stands for `-`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Script([json.dumps(value).encode()], status, {"Content-Type": "application/json", **named})


def lines(*objects: Any, breaks: bool = False) -> Script:
    """A stream of objects, one a line; between them there may be pauses."""
    pieces = [each if isinstance(each, Pause) else json.dumps(each).encode() + b"\n" for each in objects]
    return Script(pieces, breaks=breaks)


def chat_of(*texts: Any, thinking: str = "", model: str = "tiny", **last: Any) -> Script:
    """A reply in the pieces that are given; `last` are members of its last object."""
    head = [{"content": "", "thinking": thinking}] if thinking else []
    messages = [*head, *(each if isinstance(each, (Pause, dict)) else {"content": each} for each in texts)]
    stream = [
        each
        if isinstance(each, Pause)
        else {"model": model, "message": {"role": "assistant", **each}, "done": False}
        for each in messages
    ]
    figures = {"total_duration": 2 * 10**9, "eval_count": 20, "eval_duration": 10**9}
    end = {"done_reason": "stop", "prompt_eval_count": 7, "prompt_eval_duration": 10**8, **figures, **last}
    return lines(
        *stream, {"model": model, "message": {"role": "assistant", "content": ""}, "done": True, **end}
    )


def show_of(*capabilities: str) -> Script:
    """What a model can do besides completion."""
    details = {
        "format": "gguf",
        "family": "m",
        "families": ["m"],
        "parameter_size": "1M",
        "quantization_level": "F16",
    }
    return of_json({"capabilities": ["completion", *capabilities], "details": details, "model_info": {}})


Player = Script | Callable[[Asked], Script | None]


class Stage:
    """Scripts hold until `clear`; the path is without the query. A function may leave a request to the server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.asked: list[Asked] = []
        self._scripts: dict[tuple[str, str], Player] = {}
        self._pauses: list[Pause] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def play(self, path: str, player: Player, method: str = "POST") -> None:
        self._scripts[method, path] = player

    def pause(self) -> Pause:
        """A pause that `clear` ends at the latest."""
        self._pauses.append(Pause())
        return self._pauses[-1]

    def clear(self) -> None:
        self._scripts.clear()
        self.asked.clear()
        for each in self._pauses:
            each.go_on()
        self._pauses.clear()

    def bodies(self, path: str) -> list[Any]:
        """What was sent to a path, in order."""
        return [each.json for each in self.asked if each.path == path and each.body]

    def close(self) -> None:
        self.clear()
        self._http.shutdown()
        self._thread.join(PATIENCE_S)
        self._http.server_close()

    def script_for(self, asked: Asked) -> Script | None:
        player = self._scripts.get((asked.method, asked.path))
        return player(asked) if callable(player) else player

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stage = self

        class Handler(_Handler):
            pass

        Handler.stage = stage
        return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stage: Stage

    def log_message(self, *args: object) -> None:
        """A test's output is for what failed."""

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path.partition("?")[0], headers, self.rfile.read(size))
        self.stage.asked.append(asked)
        try:
            script = self.stage.script_for(asked)
            if script is None:
                self._forward(asked)
            else:
                self._perform(script)
        except (OSError, HTTPException):
            self.close_connection = True  # the page went away, or the server did

    do_GET = do_POST = do_DELETE = do_HEAD = do_PUT = do_PATCH = do_OPTIONS = _serve

    def _perform(self, script: Script) -> None:
        self.send_response(script.status)
        for name, value in script.headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in script.pieces:
            if isinstance(piece, Pause):
                piece.wait()
            elif piece:
                self._send(piece)
        if script.breaks:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _send(self, piece: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.flush()

    def _forward(self, asked: Asked) -> None:
        connection = HTTPConnection("127.0.0.1", self.stage.server.port, timeout=PATIENCE_S)
        try:
            headers = {name: value for name, value in asked.headers.items() if name != "connection"}
            connection.request(asked.method, self.path, asked.body or None, headers)
            self._pass_on(connection.getresponse(), asked.method == "HEAD")
        finally:
            connection.close()

    def _pass_on(self, response: HTTPResponse, is_head: bool) -> None:
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _OF_THE_CONNECTION:
                self.send_header(name, value)
        has_body = not is_head and response.status not in (204, 304)
        self.send_header(*(("Transfer-Encoding", "chunked") if has_body else ("Content-Length", "0")))
        self.end_headers()
        while has_body and (piece := response.read1(1 << 16)):
            self._send(piece)
        if has_body:
            self.wfile.write(b"0\r\n\r\n")
