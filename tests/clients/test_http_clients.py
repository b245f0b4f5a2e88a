"""HTTP clients as they come: the JDK's, Node's, curl, and those that Python packages are built on."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import urllib3

from tests.conftest import Server
from tests.extras import lazily

if TYPE_CHECKING:
    import aiohttp
    import httpx
else:
    aiohttp = lazily("aiohttp")
    httpx = lazily("httpx")

HERE = Path(__file__).parent
CHAT: dict[str, Any] = {"model": "say", "messages": [{"role": "user", "content": "now A"}]}
TEXT = "Alpha beta gamma delta epsilon."
_TIMEOUT_S = 150


def run(*command: str, text: str = "") -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_jdk(server: Server) -> None:
    """It offers h2c, and was never answered."""
    lines = run("java", str(HERE / "java" / "Client.java"), server.base).splitlines()
    kinds = [line.split(" ", 2)[0] for line in lines]
    assert kinds == [*["sized", "stream", "chunked", "expect"] * 2, "get", "large", "1.1", *["many"] * 20]
    assert {line.split(" ", 2)[1] for line in lines} == {"200"}
    assert all("epsilon" in line for line in lines if line.split()[0] not in ("get", "stream", "large"))


def test_node(server: Server) -> None:
    answers = json.loads(run("node", str(HERE / "node" / "http.mjs"), server.base))
    assert len(answers) == 6
    assert {tuple(answer) for answer in answers.values()} == {tuple(answers["fetch"])}
    assert answers["fetch"][0] == 200 and answers["fetch"][1] > 3


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--http1.0",),
        ("--http2",),
        ("-H", "Expect: 100-continue"),
        ("-H", "Transfer-Encoding: chunked"),
        ("--compressed",),
        ("-H", "Connection: close"),
    ],
    ids=" ".join,
)
def test_curl(server: Server, options: tuple[str, ...]) -> None:
    out = run("curl", "-sS", *options, server.base + "/api/chat", "-d", json.dumps(CHAT))
    objects = [json.loads(line) for line in out.splitlines()]
    assert "".join(answer["message"]["content"] for answer in objects) == TEXT


def test_curl_sends_large_bodies(server: Server) -> None:
    """It waits for 100 Continue then."""
    body = json.dumps({**CHAT, "stream": False, "ignored": "x" * 2_000_000})
    out = run("curl", "-sS", server.base + "/api/chat", "--data-binary", "@-", text=body)
    assert json.loads(out)["message"]["content"] == TEXT


def contents(data: bytes) -> str:
    return "".join(json.loads(line)["message"]["content"] for line in data.splitlines())


def test_http_client(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_TIMEOUT_S)
    for encode_chunked in (False, True):
        body = json.dumps(CHAT).encode()
        headers = {"Transfer-Encoding": "chunked"} if encode_chunked else {}
        parts: Any = iter([body[:9], body[9:]]) if encode_chunked else body
        connection.request("POST", "/api/chat", parts, headers, encode_chunked=encode_chunked)
        assert contents(connection.getresponse().read()) == TEXT
    connection.close()


def test_urllib3_and_requests(server: Server) -> None:
    with urllib3.PoolManager() as pool:
        for _ in range(3):
            answer = pool.request("POST", server.base + "/api/chat", json=CHAT)
            assert (answer.status, contents(answer.data)) == (200, TEXT)
    with requests.Session() as session:
        packed = gzip.compress(json.dumps(CHAT).encode())
        found = session.post(
            server.base + "/api/chat", packed, headers={"Content-Encoding": "gzip"}, timeout=60
        )
        assert contents(found.content) == TEXT
        # More than the route takes: the reason is read although the client is still sending.
        refused = session.post(server.base + "/api/copy", b"x" * 30_000_000, timeout=60)
        assert (refused.status_code, "larger than" in refused.text) == (413, True)


def test_httpx(server: Server) -> None:
    with httpx.Client(timeout=_TIMEOUT_S) as client:
        with client.stream("POST", server.base + "/api/chat", json=CHAT) as answer:
            assert contents(b"\n".join(line.encode() for line in answer.iter_lines())) == TEXT
        assert client.get(server.base + "/api/version").headers["server"].startswith("corral/")


def test_aiohttp(server: Server) -> None:
    async def ask() -> list[str]:
        async with aiohttp.ClientSession() as session:

            async def one(number: int) -> str:
                options: dict[str, Any] = {"compress": "deflate"} if number % 2 else {}
                async with session.post(server.base + "/api/chat", json=CHAT, **options) as answer:
                    return contents(await answer.read())

            return await asyncio.gather(*(one(number) for number in range(8)))

    assert set(asyncio.run(ask())) == {TEXT}
