"""The official packages over TLS and over a socket in the file system, with no change to them."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corral.operations.selfsigned import self_signed
from tests.conftest import PLAIN_TEMPLATE, Server
from tests.extras import lazily
from tests.waiting import wait_until

httpx: Any = lazily("httpx")
ollama: Any = lazily("ollama")
openai: Any = lazily("openai")
pytestmark = pytest.mark.process


def test_ollama_and_openai(start_server: Callable[..., Server], tmp_path: Path) -> None:
    files = self_signed(tmp_path / "tls", ["127.0.0.1"])
    path = tmp_path / "s"
    server = start_server(
        OLLAMA_HOST="http://127.0.0.1:0",
        CORRAL_HOSTS=f"https://127.0.0.1:0,unix://{path}",
        CORRAL_TLS_CERT=str(files.cert),
        CORRAL_TLS_KEY=str(files.key),
    )
    server.create("say", "say", template=PLAIN_TEMPLATE)
    pattern = re.compile(r"listening address=(https://\S+)")
    wait_until(lambda: pattern.search("".join(server.log)))
    match = pattern.search("".join(server.log))
    assert match
    context = ssl.create_default_context(cafile=str(files.cert))
    ways: dict[str, Callable[[], Any]] = {
        match[1]: lambda: httpx.HTTPTransport(verify=context),
        "http://localhost": lambda: httpx.HTTPTransport(uds=str(path)),
    }
    for base, transport in ways.items():
        native = ollama.Client(host=base, transport=transport())
        assert [model.model for model in native.list().models] == ["say:latest"]
        parts = [part.response for part in native.generate("say", "x", stream=True)]
        assert len(parts) > 1 and "".join(parts)
        native._client.close()
        client = openai.OpenAI(
            base_url=f"{base}/v1", api_key="-", http_client=httpx.Client(transport=transport())
        )
        answer = client.chat.completions.create(model="say", messages=[{"role": "user", "content": "x"}])
        assert answer.choices[0].message.content
        client.close()
