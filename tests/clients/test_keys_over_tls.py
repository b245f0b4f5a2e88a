"""Official packages, curl and the whole command line with a key, over TLS with an authority of one's own, and over a
socket in the file system.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.access.conftest import KeyedServer, scoped
from tests.authority import Authority
from tests.conftest import FIXTURES, PLAIN_TEMPLATE, Server
from tests.extras import lazily
from tests.waiting import wait_until

httpx: Any = lazily("httpx")
anthropic: Any = lazily("anthropic")
ollama: Any = lazily("ollama")
openai: Any = lazily("openai")
pytestmark = pytest.mark.process
QUESTION: Any = [{"role": "user", "content": "now A"}]
ANSWER = "Alpha beta gamma delta epsilon."
WAYS = ("tls", "unix")


class SecureServer(KeyedServer):
    """Asks everybody for a key. `addresses` are where it speaks TLS, and its socket."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        cert, key = self.authority.issue("127.0.0.1")
        self.socket = folder / "s.sock"
        super().__init__(
            OLLAMA_HOST="http://127.0.0.1:0",
            CORRAL_HOSTS=f"https://127.0.0.1:0,unix://{self.socket}",
            CORRAL_TLS_CERT=str(cert),
            CORRAL_TLS_KEY=str(key),
        )
        pattern = re.compile(r"listening address=(https://\S+)")
        wait_until(lambda: pattern.search("".join(self.log)) and self.socket.exists())
        match = pattern.search("".join(self.log))
        assert match
        self.addresses = {"tls": match[1], "unix": f"unix://{self.socket}"}

    def transport(self, way: str, carrier: Any) -> tuple[str, Any]:
        """The base URL for a package, and what carries its requests, of `httpx` or the successor that it uses."""
        if way == "unix":
            return "http://localhost", carrier.HTTPTransport(uds=str(self.socket))
        context = ssl.create_default_context(cafile=str(self.authority.cert))
        return self.addresses["tls"], carrier.HTTPTransport(verify=context)

    def corral(self, way: str, *words: str, key: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "CORRAL_"))}
        env |= {"OLLAMA_HOST": self.addresses[way], "CORRAL_CA_FILE": str(self.authority.cert)}
        env |= {"HOME": str(self.folder), "CORRAL_HOME": str(self.folder / ".mine"), "CORRAL_API_KEY": key}
        return subprocess.run(
            [sys.executable, "-m", "corral.cli.main", *words],
            env=env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def carrier_of(package: Any) -> Any:
    """The module that a package makes its requests with."""
    modules = (kind.__module__.partition(".")[0] for kind in package.DefaultHttpxClient.__mro__)
    return sys.modules[next(name for name in modules if name.startswith("httpx"))]


@pytest.fixture(scope="module")
def secure(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureServer]:
    server = SecureServer(tmp_path_factory.mktemp("tls"))
    try:
        server.create("say", "say", template=PLAIN_TEMPLATE, parameters={"temperature": 0})
        server.create("tiny", "tiny")
        server.create("embed", "embed")
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def text(secure: SecureServer) -> str:
    """A key for running and listing `say`."""
    return secure.make("packages", **scoped(("infer", "read"), "say*"))


@pytest.mark.parametrize("way", WAYS)
def test_the_ollama_package(secure: SecureServer, text: str, way: str) -> None:
    for key, status in ((text, 0), ("wrong", 401), (secure.texts["read"], 403)):
        base, transport = secure.transport(way, httpx)
        headers = {"Authorization": f"Bearer {key}"}
        client = ollama.Client(host=base, transport=transport, headers=headers)
        try:
            if status:
                with pytest.raises(ollama.ResponseError) as caught:
                    client.chat("say", QUESTION)
                assert caught.value.status_code == status
                continue
            parts = [part.message.content for part in client.chat("say", QUESTION, stream=True)]
            assert len(parts) > 2 and "".join(parts) == ANSWER
            assert [model.model for model in client.list().models] == ["say:latest"]
            with pytest.raises(ollama.ResponseError, match="may not use"):
                client.show("tiny")
        finally:
            client._client.close()


@pytest.mark.parametrize("way", WAYS)
def test_the_openai_package(secure: SecureServer, text: str, way: str) -> None:
    base, transport = secure.transport(way, carrier_of(openai))
    options: dict[str, Any] = {"base_url": f"{base}/v1", "max_retries": 0}
    with (
        openai.DefaultHttpxClient(transport=transport) as carrier,
        openai.OpenAI(api_key=text, http_client=carrier, **options) as client,
    ):
        stream = client.chat.completions.create(model="say", messages=QUESTION, stream=True)
        assert "".join(part.choices[0].delta.content or "" for part in stream if part.choices) == ANSWER
        assert [model.id for model in client.models.list()] == ["say:latest"]
        assert client.responses.create(model="say", input="now A").output_text == ANSWER
        with pytest.raises(openai.PermissionDeniedError, match="may not use"):
            client.embeddings.create(model="embed", input="x")
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="wrong").models.list()


@pytest.mark.parametrize("way", WAYS)
def test_the_anthropic_package(secure: SecureServer, text: str, way: str) -> None:
    base, transport = secure.transport(way, carrier_of(anthropic))
    with (
        anthropic.DefaultHttpxClient(transport=transport) as carrier,
        anthropic.Anthropic(base_url=base, api_key=text, http_client=carrier, max_retries=0) as client,
    ):
        with client.messages.stream(model="say", max_tokens=50, messages=QUESTION) as stream:
            assert stream.get_final_text() == ANSWER
        with pytest.raises(anthropic.PermissionDeniedError, match="may not use"):
            client.messages.create(model="tiny", max_tokens=50, messages=QUESTION)
        with pytest.raises(anthropic.AuthenticationError):
            client.with_options(api_key="wrong").models.list()


_UNCHANGED = """
import anthropic, ollama, openai
say = [{"role": "user", "content": "now A"}]
print(ollama.chat("say", say).message.content)
print(openai.OpenAI().chat.completions.create(model="say", messages=say).choices[0].message.content)
print(anthropic.Anthropic().messages.create(model="say", max_tokens=50, messages=say).content[0].text)
"""


def test_packages_that_read_their_variables(secure: SecureServer, text: str) -> None:
    """Nothing in the program says where the server is, whom to trust, or the key."""
    for name in ("ollama", "openai", "anthropic"):
        pytest.importorskip(name)
    base = secure.addresses["tls"]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "CORRAL_"))} | {
        "SSL_CERT_FILE": str(secure.authority.cert),
        "OLLAMA_HOST": base,
        "OLLAMA_API_KEY": text,
        "OPENAI_BASE_URL": f"{base}/v1",
        "OPENAI_API_KEY": text,
        "ANTHROPIC_BASE_URL": base,
        "ANTHROPIC_API_KEY": text,
    }
    command = [sys.executable, "-c", _UNCHANGED]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.splitlines() == [ANSWER] * 3, done.stderr
    del env["SSL_CERT_FILE"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1 and ANSWER not in done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("way", WAYS)
def test_curl(secure: SecureServer, text: str, way: str) -> None:
    def curl(path: str, *words: str, key: str = text) -> tuple[int, str]:
        place = ["--cacert", str(secure.authority.cert), f"{secure.addresses['tls']}{path}"]
        if way == "unix":
            place = ["--unix-socket", str(secure.socket), f"http://localhost{path}"]
        sent = ["-H", f"Authorization: Bearer {key}"] if key else []
        command = ["curl", "-sS", "--max-time", "120", "-w", "\n%{http_code}", *sent, *words, *place]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    body = json.dumps({"model": "say", "messages": QUESTION})
    status, answer = curl("/api/chat", "-d", body)
    lines = [json.loads(line) for line in answer.splitlines()]
    assert status == 200 and "".join(line["message"]["content"] for line in lines) == ANSWER
    assert curl("/v1/models", "-H", f"x-api-key: {text}", key="")[0] == 200
    assert curl("/api/tags", key="")[0] == 401
    assert curl("/api/tags", key="wrong")[0] == 401
    assert curl("/api/delete", "-X", "DELETE", "-d", '{"model": "say"}')[0] == 403
    if way == "tls":
        untrusting = ["curl", "-sS", f"{secure.addresses['tls']}/api/version"]
        done = subprocess.run(untrusting, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 60  # the peer's certificate is not known


@pytest.fixture(scope="module")
def elsewhere(process: None) -> Iterator[Server]:
    """Another server, which gives its models away."""
    server = Server(CORRAL_REGISTRY="pull")
    try:
        server.create("far", "tiny")
        yield server
    finally:
        server.close()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_whole_command_line(secure: SecureServer, elsewhere: Server, tmp_path: Path, way: str) -> None:
    """Every command that talks to the server, with a key that may do it; and with one that may not."""
    key = secure.make(f"operator-{way}", **scoped(("admin",)))

    def corral(*words: str, stdin: str = "", fails: str = "", own: str = key) -> str:
        done = secure.corral(way, *words, key=own, stdin=stdin)
        assert (done.returncode != 0) is bool(fails), (words, done.stdout, done.stderr)
        assert fails in done.stderr and "Traceback" not in done.stderr
        assert own not in done.stdout + done.stderr
        return done.stdout

    far = f"127.0.0.1:{elsewhere.port}/library/far"
    assert "say:latest" in corral("list") and "say:latest" in corral("ls", "--json")
    assert "gguf" in corral("show", "say").lower() or "parameters" in corral("show", "say").lower()
    assert corral("run", "say", "now A").strip() == ANSWER
    assert "say:latest" in corral("ps")
    corral("load", "tiny")
    corral("stop", "tiny")
    corral("pull", "--insecure", far)
    assert far.partition("/")[2] in corral("list")
    corral("cp", far, f"near-{way}")
    corral("verify", f"near-{way}")
    corral("rm", "-y", f"near-{way}", far)
    assert "far" not in corral("list")
    corral("create", f"made-{way}", "-f", "-", stdin=f"FROM {FIXTURES / 'tiny.gguf'}\nSYSTEM short\n")
    corral("create", f"derived-{way}", "-f", "-", stdin=f"FROM made-{way}\nPARAMETER num_ctx 64\n")
    corral("rm", "-y", f"made-{way}", f"derived-{way}")
    corral("rm", "-y", "nothing-here", fails="not found")
    assert corral("tokenize", "tiny", "a b", "--count").strip().isdigit()
    assert json.loads(corral("embed", "embed", "x", "--json"))["embeddings"]
    assert "say" in corral("events", "--json")
    made = json.loads(corral("key", "create", f"child-{way}", "--scope", "read", "--json"))
    assert made["id"] in corral("key", "list") and f"child-{way}" in corral("key", "show", made["id"])
    assert "say:latest" in corral("list", own=made["key"])
    fresh = corral("key", "rotate", f"child-{way}", "--grace", "0").strip()
    corral("list", own=made["key"], fails="API key")
    corral("run", "say", "x", own=fresh, fails="scope 'infer'")
    corral("rm", "-y", "say", own=fresh, fails="scope 'manage'")
    corral("pull", "--insecure", far, own=fresh, fails="scope 'manage'")
    corral("create", "x", "-f", "-", stdin="FROM say\n", own=fresh, fails="scope 'manage'")
    corral("key", "revoke", f"child-{way}")
    corral("list", own=fresh, fails="API key")
    assert "builtin" in corral("engine", "list")
    assert "[server]" in corral("config", "show") and key not in corral("config", "show", "--json")
    assert "corral version is" in corral("--version")
    assert "say" in corral("usage", "--by", "model")
    checks = json.loads(secure.corral(way, "doctor", "--json", key=key).stdout)["checks"]
    assert any(check["check"] == "server" and check["level"] == "ok" for check in checks), checks
    assert "tiny" in corral("__complete", "show", "t")


def test_keys_say_nothing_to_somebody_who_listens(secure: SecureServer, text: str) -> None:
    """Without the authority nothing is sent: the key stays here."""
    env = {"OLLAMA_HOST": secure.addresses["tls"], "CORRAL_API_KEY": text, "HOME": str(secure.folder)}
    done = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "list"],
        env={**{k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "CORRAL_"))}, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1 and "is not trusted" in done.stderr and text not in done.stderr
