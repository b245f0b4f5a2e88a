"""The examples of docs/deployment.md for programs in front of the server, as they are there, really run."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.access.conftest import KeyedServer, bearer
from tests.authority import Authority
from tests.conftest import FAKE_ENGINE, PLAIN_TEMPLATE
from tests.ports import free_port
from tests.waiting import wait_until

PAGES = Path(__file__).parents[2] / "docs"
pytestmark = pytest.mark.process
# The engine double says these many words, and then nothing more until somebody leaves.
_WORDS = 3
NAMES = ("nginx", "nginx with an address", "caddy")


def example(page: str, language: str) -> str:
    """The first block of a language on a page."""
    match = re.search(rf"```{language}\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)
    assert match
    return match[1]


class Proxy:
    """A program in front of a server, with TLS. `port` is where it listens."""

    def __init__(self, command: list[str], port: int, authority: Authority, folder: Path) -> None:
        self.port = port
        self._context = ssl.create_default_context(cafile=str(authority.cert))
        self.log = folder / "proxy.log"
        env = {
            **os.environ,
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        wait_until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("GET", "/api/version")[0] == 200
        except OSError:
            return False

    def connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self._context, timeout=120)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = self.connection()
        try:
            connection.request(method, path, body, headers or {})
            with connection.getresponse() as answer:
                return answer.status, answer.read()
        finally:
            connection.close()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def nginx(text: str, folder: Path, authority: Authority) -> tuple[list[str], int]:
    """Put an example into a whole file of nginx, with the places of this test."""
    port = free_port()
    cert, key = authority.issue("127.0.0.1")
    text = re.sub(r"listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;", text)
    text = re.sub(r"(ssl_certificate) \S+;", rf"\1 {cert};", text)
    text = re.sub(r"(ssl_certificate_key) \S+;", rf"\1 {key};", text)
    places = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"user root;\ndaemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{places}{text}}}\n"
    )
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(file)], port


def caddy(text: str, folder: Path, authority: Authority) -> tuple[list[str], int]:
    port = free_port()
    cert, key = authority.issue("127.0.0.1")
    text = text.replace("models.example.com {", f"https://127.0.0.1:{port} {{\n    tls {cert} {key}")
    file = folder / "Caddyfile"
    file.write_text(f"{{\n    admin off\n    auto_https disable_redirects\n}}\n{text}")
    return ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"], port


@pytest.fixture(scope="module", params=NAMES)
def pair(
    request: pytest.FixtureRequest, process: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[KeyedServer, Proxy]]:
    """A server with keys for other machines, and a proxy in front of it as the page has it."""
    program = request.param.partition(" ")[0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp("proxy")
    authority = Authority(folder)
    path = folder / "corral.sock"
    has_address = request.param == "nginx with an address"
    server = KeyedServer(
        CORRAL_AUTH="remote",
        CORRAL_HOSTS=f"unix://{path}",
        CORRAL_TRUSTED_PROXIES="127.0.0.1" if has_address else "unix",
        CORRAL_LLAMA_SERVER=str(FAKE_ENGINE),
        CORRAL_ENGINE_ENV="FAKE_*",
        FAKE_TOKENS="50",
        FAKE_HANG_AT=str(_WORDS),
    )
    try:
        # An engine each: one that says nothing more is of no use to others.
        server.create("native", "say", template=PLAIN_TEMPLATE)
        server.create("openai", "tiny", template=PLAIN_TEMPLATE)
        make: Callable[..., Any] = caddy if program == "caddy" else nginx
        text = example("deployment.md", "caddy" if program == "caddy" else "nginx")
        if has_address:
            text = re.sub(r"http://unix:\S+;", f"http://127.0.0.1:{server.port};", text)
        command, port = make(text.replace("/run/corral/corral.sock", str(path)), folder, authority)
        proxy = Proxy(command, port, authority, folder)
        try:
            yield server, proxy
        finally:
            proxy.close()
    finally:
        server.close()


def test_keys_through_a_proxy(pair: tuple[KeyedServer, Proxy]) -> None:
    """Whoever comes through it is from another machine, whatever they say of themselves."""
    server, proxy = pair
    for claim in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"X-Real-IP": "::1"}):
        assert proxy.ask("GET", "/api/tags", None, claim)[0] == 401, claim
    assert proxy.ask("GET", "/api/tags", None, bearer("ck_wrong"))[0] == 401
    assert proxy.ask("GET", "/api/tags", None, server.auth("read"))[0] == 200
    assert proxy.ask("GET", "/v1/models", None, {"x-api-key": server.texts["read"]})[0] == 200
    assert proxy.ask("POST", "/api/generate", b'{"model": "native"}', server.auth("read"))[0] == 403
    assert server.request("GET", "/api/tags", None, {})[0] == 200  # this machine, without the proxy


@pytest.mark.parametrize(
    ("path", "model", "body", "mark"),
    [
        ("/api/chat", "native", {"messages": [{"role": "user", "content": "x"}]}, b"\n"),
        (
            "/v1/chat/completions",
            "openai",
            {"messages": [{"role": "user", "content": "x"}], "stream": True},
            b"\n\n",
        ),
    ],
)
def test_a_stream_is_not_held_back(
    pair: tuple[KeyedServer, Proxy], path: str, model: str, body: dict[str, Any], mark: bytes
) -> None:
    """The engine has stopped after some words: what came before is here all the same, and who leaves frees it."""
    server, proxy = pair
    connection = proxy.connection()
    sent = json.dumps({"model": model, **body}).encode()
    connection.request("POST", path, sent, server.auth("infer"))
    answer = connection.getresponse()
    assert answer.status == 200
    received = b""
    while received.count(mark) < _WORDS:
        piece = answer.read1(65536)
        assert piece, received
        received += piece
    assert [entry["state"] for entry in server.get("/api/queue")["queue"]] == ["running"]
    answer.close()
    connection.close()
    wait_until(lambda: not server.get("/api/queue")["queue"])


def test_a_large_upload(pair: tuple[KeyedServer, Proxy]) -> None:
    server, proxy = pair
    data = b"GGUF" + bytes(4 << 20)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert proxy.ask("POST", f"/api/blobs/{digest}", data, server.auth("manage"))[0] == 201


def test_the_block_of_the_page_about_security(tmp_path: Path) -> None:
    """It is a part of a server block, for one more form of the same."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    authority = Authority(tmp_path)
    server = KeyedServer(CORRAL_TRUSTED_PROXIES="127.0.0.1")
    try:
        block = example("security.md", "nginx").replace("http://127.0.0.1:11434", server.base)
        text = f"server {{\nlisten 443 ssl;\nssl_certificate x;\nssl_certificate_key x;\n{block}}}\n"
        proxy = Proxy(*nginx(text, tmp_path, authority), authority, tmp_path)
        try:
            assert proxy.ask("GET", "/api/tags")[0] == 401
            assert proxy.ask("GET", "/api/tags", None, server.auth("read"))[0] == 200
        finally:
            proxy.close()
    finally:
        server.close()
