"""The command line as client of a real Ollama server: its recorded answers, served by a double."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cli.http import short_http
from tests.cli.replay import Replay
from tests.conftest import FIXTURES

Run = Callable[..., subprocess.CompletedProcess[str]]


def run(double: Replay, *words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corral.cli.main", *words],
        input=stdin,
        env={**double.env, **env},
        cwd=double.home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def recorded(replay: Callable[..., Replay]) -> Replay:
    return replay()


def test_tables(recorded: Replay) -> None:
    """list, ps and show print what the recorded answers say."""
    models = run(recorded, "list").stdout.splitlines()
    assert models[0].split() == ["NAME", "ID", "SIZE", "MODIFIED"]
    assert {line.split()[0] for line in models[1:]} == {"one:latest", "two:latest", "team/three:v1"}
    running = run(recorded, "ps").stdout.splitlines()
    assert running[0].split() == ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]
    assert running[1].startswith("emb:latest")
    shown = run(recorded, "show", "one")
    assert shown.returncode == 0
    assert shown.stdout.startswith("  Model\n    architecture        llama")
    verbose = run(recorded, "show", "-v", "one").stdout
    assert "  Metadata\n" in verbose
    assert run(recorded, "--version").stdout.startswith(
        "ollama version is 0.0.0\nWarning: the server at http"
    )


def test_answers(recorded: Replay) -> None:
    """run in one shot: text, thinking, a vector."""
    assert run(recorded, "run", "v-t", "now", "A").stdout == "Alpha beta gamma delta epsilon.\n\n"
    assert run(recorded, "run", "v-t").stdout == ""
    thought = run(recorded, "run", "v-th", "now D").stdout
    assert thought == "Thinking...\nDeep thought here.\n...done thinking.\n\nDone.\n\n"
    assert recorded.bodies("/api/generate")[-1]["think"] is True
    assert run(recorded, "run", "v-th", "--hidethinking", "now D").stdout == "Done.\n\n"
    vector = json.loads(run(recorded, "run", "emb", "the sky is blue").stdout)
    assert vector[0] == 0.078541614


def test_changes(recorded: Replay) -> None:
    """cp, rm, stop and create send what the server wants to have."""
    assert run(recorded, "cp", "src", "dst").stdout == "copied 'src' to 'dst'\n"
    assert run(recorded, "rm", "dst").stdout == "deleted 'dst'\n"
    assert run(recorded, "stop", "say").returncode == 0
    (recorded.home / "Modelfile").write_text("FROM ./tiny.gguf\n")
    weights = (FIXTURES / "tiny.gguf").read_bytes()
    (recorded.home / "tiny.gguf").write_bytes(weights)
    created = run(recorded, "create", "imp")
    assert (created.returncode, created.stdout) == (0, ""), created.stderr
    assert created.stderr.splitlines()[-1] == "success"
    uploads = [r for r in recorded.requests if r["method"] == "POST" and r["path"].startswith("/api/blobs/")]
    assert uploads[0]["headers"]["Content-Length"] == str(len(weights))


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["show", "nope"], "model 'nope:latest' not found"),
        (["cp", "nope", "dst"], 'model "nope" not found'),
        (["rm", "nope"], "model 'nope' not found"),
        (["pull", "127.0.0.1:1/a/b"], 'pull model manifest: Get "https://127.0.0.1:1/v2/a/b/manifests/latest": '
                                     "dial tcp 127.0.0.1:1: connect: connection refused"),
        (["push", "nope"], "open <store>/manifests/registry.ollama.ai/library/nope/latest: "
                           "no such file or directory"),
        (["stop", "v-absent"], 'couldn\'t find model "v-absent" to stop'),
    ],
)  # fmt: skip
def test_errors(recorded: Replay, words: list[str], error: str) -> None:
    """The server's words, on stderr, with status 1."""
    result = run(recorded, *words)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == f"Error: {error}"


def answer(method: str, path: str, body: Any, **more: Any) -> dict[str, Any]:
    kind = "ndjson" if isinstance(body, list) else "json"
    return {"method": method, "path": path, "json": None, "status": 200, "ctype": "application/json",
            "kind": kind, "body": body, **more}  # fmt: skip


def test_accounts(replay: Callable[..., Replay]) -> None:
    """Who is signed in, who has to, and that a push does not begin without."""
    url = "http://127.0.0.1:9/connect?name=here&key=abc"
    unsigned = {"error": "unauthorized", "signin_url": url}
    out = replay(
        [
            answer("POST", "/api/me", unsigned, status=401),
            answer("POST", "/api/signout", unsigned, status=401),
        ]
    )
    signin = run(out, "signin")
    assert signin.returncode == 0
    assert signin.stdout == (
        "You need to be signed in to Ollama to run Cloud models.\n\n"
        f"If your browser did not open, navigate to:\n    {url}\n\n"
    )
    assert run(out, "signout").stdout == "You are not signed in to ollama.com\n\n"
    push = run(out, "push", "user/m")
    assert push.returncode == 0
    assert push.stdout.startswith("You need to be signed in to push models to ollama.com.\n\n")
    assert not out.bodies("/api/push")
    pushed = [{"status": "pushing manifest"}, {"status": "success"}]
    signed = replay([answer("POST", "/api/me", {"name": "ann"}), answer("POST", "/api/push", pushed)])
    assert run(signed, "login").stdout == "You are already signed in as user 'ann'\n\n"
    assert run(signed, "push", "user/m").stdout == (
        "\nYou can find your model at:\n\n\thttps://ollama.com/user/m\n"
    )
    assert run(signed, "push", "localhost:5000/user/m").stdout.endswith("\tlocalhost:5000/user/m:latest\n")


def test_accounts_where_the_server_has_none(recorded: Replay) -> None:
    """The page that registers this machine's key is named; there is nothing to sign out of."""
    missing = run(recorded, "signin")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "a server creates one when it starts" in missing.stderr
    (recorded.home / ".ollama").mkdir()
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIESJJrYn here"
    (recorded.home / ".ollama" / "id_ed25519.pub").write_text(line + "\n")
    url = run(recorded, "signin").stdout.split()[-1]
    query = parse_qs(urlsplit(url).query)
    assert url.startswith("https://ollama.com/connect?name=")
    assert base64.urlsafe_b64decode(query["key"][0] + "==").decode() == line
    assert "https://ollama.com/settings/keys" in run(recorded, "signout").stderr


def test_accounts_without_a_network(replay: Callable[..., Replay]) -> None:
    """The key can be registered from another machine; that nobody was signed out is an error."""
    away = {"error": "account unavailable"}
    double = replay(
        [answer("POST", "/api/me", away, status=503), answer("POST", "/api/signout", away, status=503)]
    )
    (double.home / ".ollama").mkdir()
    (double.home / ".ollama" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA here\n")
    signin = run(double, "signin")
    assert signin.returncode == 0
    assert "https://ollama.com/connect?name=" in signin.stdout
    signout = run(double, "signout")
    assert signout.returncode == 1
    assert signout.stderr.startswith("Error: account unavailable: ollama.com could not be reached")


def test_tool_calls_are_told(replay: Callable[..., Replay]) -> None:
    """A call that nobody can answer is shown in the original's words."""
    call = {"function": {"name": "add", "arguments": {"a": 1}}}
    events = [{"response": "", "tool_calls": [call]}, {"response": "", "done": True}]
    double = replay([
        answer("POST", "/api/show", {"capabilities": ["completion", "tools"]}),
        answer("POST", "/api/generate", events),
    ])  # fmt: skip
    assert run(double, "run", "m", "x").stdout == (
        "  Model called a non-existent function 'add()' with arguments: {\"a\":1}\n\n"
    )


def test_a_terminal_of_another_encoding(replay: Callable[..., Replay]) -> None:
    """What cannot be said is replaced, in answers and in progress."""
    double = replay([
        answer("POST", "/api/show", {"capabilities": ["completion"]}),
        answer("POST", "/api/generate", [{"response": "caf\u00e9 \u65e5"}, {"response": "", "done": True}]),
    ])  # fmt: skip
    assert run(double, "run", "m", "x", PYTHONIOENCODING="ascii").stdout == "caf? ?\n\n"


def test_headers(recorded: Replay) -> None:
    """The key for a guarded server is sent, and where the request goes."""
    run(recorded, "list", OLLAMA_API_KEY="secret")
    headers = recorded.requests[-1]["headers"]
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Host"] == recorded.env["OLLAMA_HOST"]


def test_a_proxy_is_used_for_other_machines(recorded: Replay) -> None:
    """`http_proxy` counts, except for this machine and what `no_proxy` names."""
    proxy = f"http://{recorded.env['OLLAMA_HOST']}"
    run(recorded, "list", OLLAMA_HOST="model.example:1234", http_proxy=proxy)
    assert recorded.requests[-1]["path"] == "http://model.example:1234/api/tags"
    assert "Proxy-Authorization" not in recorded.requests[-1]["headers"]
    seen = len(recorded.requests)
    run(recorded, "list", http_proxy="http://127.0.0.1:9")
    assert len(recorded.requests) > seen


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_proxy_that_asks_for_a_login(recorded: Replay, scheme: str) -> None:
    proxy = f"{scheme}me:p%40ss@{recorded.env['OLLAMA_HOST']}"
    run(recorded, "list", OLLAMA_HOST="model.example:1234", http_proxy=proxy)
    sent = recorded.requests[-1]
    assert sent["path"] == "http://model.example:1234/api/tags"
    assert sent["headers"]["Proxy-Authorization"] == f"Basic {b64encode(b'me:p@ss').decode()}"


@pytest.mark.parametrize("proxy", ["socks5://me:secret@127.0.0.1:9", "http://me:secret@127.0.0.1:port"])
def test_a_proxy_that_cannot_be_used(recorded: Replay, proxy: str) -> None:
    done = run(recorded, "list", OLLAMA_HOST="model.example:1234", http_proxy=proxy)
    assert done.returncode == 1
    assert "***@127.0.0.1" in done.stderr and "no_proxy" in done.stderr
    assert "secret" not in done.stderr and "Traceback" not in done.stderr


def test_a_tunnel_through_a_proxy_that_asks_for_a_login(recorded: Replay) -> None:
    """The login is for the proxy alone: the server at the other end never gets it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        heads: list[bytes] = []

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                heads.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        proxy = f"http://me:secret@127.0.0.1:{listener.getsockname()[1]}"
        done = run(recorded, "list", OLLAMA_HOST="https://model.example", https_proxy=proxy)
        thread.join()
    assert heads[0].startswith(b"CONNECT model.example:443 ")
    assert b"Proxy-Authorization: Basic " + b64encode(b"me:secret") in heads[0]
    assert done.returncode == 1 and "403" in done.stderr


class Raw:
    """A server that sends given bytes to whoever connects."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1 << 16)
                connection.sendall(self._data)

    def close(self) -> None:
        self._listener.close()


def fetch(data: bytes) -> short_http.Response:
    server = Raw(data)
    try:
        return short_http.exchange("127.0.0.1", server.port, "GET", "/", None, {"Host": "x"})
    finally:
        server.close()


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
    ],
)
def test_bodies_of_all_kinds(data: bytes) -> None:
    """By length, up to the end, in chunks."""
    assert fetch(data).body[:5] == b"hello"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhel\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"X" * 200_000,
    ],
)
def test_answers_that_make_no_sense(data: bytes) -> None:
    """An error that says so, no half answer, no endless wait."""
    with pytest.raises(OSError, match=r"HTTP|middle|reset"):
        fetch(data)


class Bytes:
    """A socket that has received given pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def recv(self, _size: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


HEADS = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 \xb2\r\n\r\n", b"HTTP/1.0 404\r\nContent-Length: \xb9\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", b""]
)  # fmt: skip


@given(HEADS, st.lists(st.binary(max_size=20) | st.sampled_from([b"3\r\nabc\r\n", b"0\r\n\r\n", b"-1\r\n"])))
def test_any_bytes_are_an_answer_or_an_error(head: bytes, pieces: list[bytes]) -> None:
    """Whatever a port says: a whole answer, or OSError."""
    connection: Any = Bytes([head, *pieces])
    try:
        answer = short_http._read_response(connection, has_body=True)
    except OSError:
        return
    assert answer.status >= 0
    if "content-length" in answer.headers and answer.headers["content-length"].isdecimal():
        assert len(answer.body) >= int(answer.headers["content-length"])


@pytest.mark.process
def test_other_services(tmp_path: Path) -> None:
    """What answers there is no model server: the person is told."""
    for data, said in (
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the response is not http"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "is not JSON"),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: https://other/\r\nContent-Length: 0\r\n\r\n",
            "redirects to https://other/",
        ),
    ):
        server = Raw(data)
        result = subprocess.run(
            [sys.executable, "-m", "corral.cli.main", "list"],
            env={"OLLAMA_HOST": f"127.0.0.1:{server.port}", "PATH": "/usr/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        server.close()
        assert result.returncode == 1
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
