"""The official packages send their key as they are, and get its answers and refusals; so does the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.access.conftest import KeyedServer, scoped
from tests.conftest import PLAIN_TEMPLATE
from tests.extras import lazily

if TYPE_CHECKING:
    import anthropic
    import ollama
    import openai
else:
    anthropic, ollama, openai = lazily("anthropic"), lazily("ollama"), lazily("openai")

QUESTION: Any = [{"role": "user", "content": "now A"}]
ANSWER = "Alpha beta gamma delta epsilon."


@pytest.fixture(scope="module")
def keyed(process: None) -> Iterator[KeyedServer]:
    """A server of its own: wrong keys are counted, and others here send many."""
    server = KeyedServer()
    try:
        server.create("say", "say", template=PLAIN_TEMPLATE, parameters={"temperature": 0})
        server.create("tiny", "tiny")
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def text(keyed: KeyedServer) -> str:
    """A key for running and listing `say`."""
    return keyed.make("packages", **scoped(("infer", "read"), "say*"))


def test_ollama(keyed: KeyedServer, text: str) -> None:
    for key, status in ((text, 0), ("wrong", 401), (keyed.texts["read"], 403)):
        client = ollama.Client(host=keyed.base, headers={"Authorization": f"Bearer {key}"})
        try:
            if status:
                with pytest.raises(ollama.ResponseError) as caught:
                    client.chat("say", QUESTION)
                assert caught.value.status_code == status
                continue
            assert client.chat("say", QUESTION).message.content == ANSWER
            assert [model.model for model in client.list().models] == ["say:latest"]
            with pytest.raises(ollama.ResponseError, match="may not use"):
                client.show("tiny")
            with pytest.raises(ollama.ResponseError, match="scope 'manage'"):
                client.delete("say")
        finally:
            client._client.close()


def test_openai(keyed: KeyedServer, text: str) -> None:
    with openai.OpenAI(base_url=f"{keyed.base}/v1", api_key=text, max_retries=0) as client:
        answer = client.chat.completions.create(model="say", messages=QUESTION)
        assert answer.choices[0].message.content == ANSWER
        assert [model.id for model in client.models.list()] == ["say:latest"]
        with pytest.raises(openai.PermissionDeniedError, match="may not use"):
            client.chat.completions.create(model="tiny", messages=QUESTION)
    with openai.OpenAI(base_url=f"{keyed.base}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.models.list()
        assert caught.value.code == "invalid_api_key"


def test_anthropic(keyed: KeyedServer, text: str) -> None:
    ways: list[dict[str, Any]] = [{"api_key": text}, {"auth_token": text}]
    for way in ways:
        with anthropic.Anthropic(base_url=keyed.base, max_retries=0, **way) as client:
            answer: Any = client.messages.create(model="say", max_tokens=50, messages=QUESTION)
            assert answer.content[0].text == ANSWER
            with pytest.raises(anthropic.PermissionDeniedError, match="may not use"):
                client.messages.create(model="tiny", max_tokens=50, messages=QUESTION)
    with anthropic.Anthropic(base_url=keyed.base, api_key="wrong", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            client.messages.create(model="say", max_tokens=50, messages=QUESTION)
        body: Any = caught.value.body
        assert body["error"]["type"] == "authentication_error"


@pytest.fixture
def made(keyed: KeyedServer) -> Iterator[list[str]]:
    """Names of keys to revoke afterwards."""
    names: list[str] = []
    yield names
    for name in names:
        keyed.store.revoke(name)


def corral(keyed: KeyedServer, *words: str, key: str = "") -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "CORRAL_"))}
    env |= {"OLLAMA_HOST": keyed.base, "CORRAL_KEYS": str(keyed.store.path), "HOME": str(keyed.folder)}
    env |= {"CORRAL_API_KEY": key} if key else {}
    command = [sys.executable, "-m", "corral.cli.main", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)


def test_the_command_line(keyed: KeyedServer, text: str, made: list[str]) -> None:
    assert corral(keyed, "run", "say", "now A", key=text).stdout.strip() == ANSWER
    assert corral(keyed, "list", key=text).stdout.split()[4:5] == ["say:latest"]
    refused = corral(keyed, "rm", "-y", "say", key=text)
    assert refused.returncode == 1 and "scope 'manage'" in refused.stderr
    keyless = corral(keyed, "list")
    assert keyless.returncode == 1 and "CORRAL_API_KEY" in keyless.stderr

    admin = keyed.texts["admin"]
    created = corral(
        keyed, "key", "create", "cli", "--scope", "infer,read", "--scope", "manage", "--json", key=admin
    )
    made.append("cli")
    answer = json.loads(created.stdout)
    assert answer["scopes"] == ["infer", "read", "manage"]
    assert corral(keyed, "list", key=answer["key"]).returncode == 0
    fresh = corral(keyed, "key", "rotate", "cli", "--grace", "0", key=admin).stdout.strip()
    assert corral(keyed, "list", key=answer["key"]).returncode == 1
    assert corral(keyed, "list", key=fresh).returncode == 0
    assert answer["id"] in corral(keyed, "key", "list", key=admin).stdout
    assert "cli" in corral(keyed, "key", "show", answer["id"], key=admin).stdout


def test_keys_without_a_server_that_lets_us(keyed: KeyedServer, made: list[str]) -> None:
    """Whoever may write the database may make the first key, and the server takes it at once."""
    created = corral(keyed, "key", "create", "by-file", "--scope", "read")
    made.append("by-file")
    assert "asks for a key" in created.stderr and str(keyed.store.path) in created.stderr
    assert corral(keyed, "list", key=created.stdout.strip()).returncode == 0
    assert "revoked" in corral(keyed, "key", "revoke", "by-file").stdout
    assert corral(keyed, "list", key=created.stdout.strip()).returncode == 1
    refused = corral(keyed, "key", "create", "x", "--scope", "root")
    assert refused.returncode == 1 and "is not a scope" in refused.stderr
