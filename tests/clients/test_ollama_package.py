"""The official `ollama` package against the server, unchanged: what its users' scripts do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import FIXTURES, PLAIN_TEMPLATE, Server
from tests.extras import lazily

if TYPE_CHECKING:
    import ollama
else:
    ollama = lazily("ollama")

MESSAGES = [{"role": "user", "content": "now A"}]
ANSWER = "Alpha beta gamma delta epsilon."


@pytest.fixture
def client(server: Server) -> Iterator[ollama.Client]:
    client = ollama.Client(host=server.base)
    yield client
    client._client.close()  # the package has no public way


def test_generate(client: ollama.Client) -> None:
    """Whole and streamed."""
    assert client.generate(model="say", prompt="now A").response == ANSWER
    parts = list(client.generate(model="say", prompt="now A", stream=True))
    assert "".join(part.response or "" for part in parts) == ANSWER
    assert parts[-1].done
    assert parts[-1].eval_count == 6


def test_chat(client: ollama.Client) -> None:
    """Whole and streamed."""
    assert client.chat(model="say", messages=MESSAGES).message.content == ANSWER
    parts = list(client.chat(model="say", messages=MESSAGES, stream=True))
    assert "".join(part.message.content or "" for part in parts) == ANSWER


def test_async_client(server: Server) -> None:
    """The asynchronous client, several requests at once."""

    async def talk() -> list[str]:
        client = ollama.AsyncClient(host=server.base)
        replies = await asyncio.gather(*(client.chat(model="say", messages=MESSAGES) for _ in range(5)))
        streamed = ""
        async for part in await client.chat(model="say", messages=MESSAGES, stream=True):
            streamed += part.message.content or ""
        await client._client.aclose()
        return [*(reply.message.content or "" for reply in replies), streamed]

    assert asyncio.run(talk()) == [ANSWER] * 6


def test_embed(client: ollama.Client) -> None:
    """One text, several, and the older call."""
    one = client.embed(model="embed", input="hello")
    many = client.embed(model="embed", input=["hello", "the sky"])
    assert len(one.embeddings) == 1
    assert list(many.embeddings[0]) == pytest.approx(list(one.embeddings[0]), abs=1e-4)
    assert len(client.embeddings(model="embed", prompt="hello").embedding) == len(one.embeddings[0])


def test_model_life(client: ollama.Client, tmp_path: Path) -> None:
    """Upload a file, create, list, show, copy, run, see it loaded, delete."""
    path = tmp_path / "m.gguf"
    path.write_bytes((FIXTURES / "say.gguf").read_bytes())
    digest = client.create_blob(path)
    assert digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    statuses = [
        part.status
        for part in client.create(
            model="life", files={"m.gguf": digest}, template=PLAIN_TEMPLATE, system="Be brief.", stream=True
        )
    ]
    assert statuses[0] == "parsing GGUF"
    assert statuses[-1] == "success"
    shown = client.show("life")
    assert shown.details is not None
    assert (shown.details.family, shown.template) == ("llama", PLAIN_TEMPLATE)
    assert "SYSTEM Be brief." in (shown.modelfile or "")
    client.copy("life", "team/life:v2")
    names = {model.model or "" for model in client.list().models}
    assert {"life:latest", "team/life:v2"} <= names
    client.generate(model="life", prompt="now A", keep_alive="5m")
    assert any(model.digest for model in client.ps().models)
    for name in ("life", "team/life:v2"):
        assert client.delete(name).status == "success"
    assert names - {model.model for model in client.list().models} == {"life:latest", "team/life:v2"}


def test_create_from_a_model_and_quantize(client: ollama.Client, tmp_path: Path) -> None:
    """A smaller model is made of one that is there, which stays as it is."""
    path = tmp_path / "wide.gguf"
    path.write_bytes((FIXTURES / "wide-f16.gguf").read_bytes())
    client.create(model="wide", files={"wide.gguf": client.create_blob(path)})
    parts = list(client.create(model="small", from_="wide", quantize="q4_K_M", stream=True))
    steps = [part for part in parts if part.status == "quantizing F16 model to Q4_K_M"]
    assert steps[-1].completed == steps[-1].total != 0
    assert parts[-1].status == "success"
    levels = {name: client.show(name).details for name in ("wide", "small")}
    assert {name: details and details.quantization_level for name, details in levels.items()} == {
        "wide": "F16",
        "small": "Q4_K_M",
    }
    sizes = {model.model: model.size or 0 for model in client.list().models}
    assert sizes["small:latest"] < sizes["wide:latest"] / 2
    with pytest.raises(ollama.ResponseError, match="only supported for F16, BF16 and F32 models"):
        client.create(model="smaller", from_="small", quantize="q2_K")
    for name in ("wide", "small"):
        client.delete(name)


def test_errors_carry_status_and_text(client: ollama.Client) -> None:
    """What goes wrong is an exception with the server's words."""
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found") as missing:
        client.generate(model="nope", prompt="x")
    assert missing.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="does not support chat"):
        client.chat(model="embed", messages=MESSAGES)


def test_structured_output(client: ollama.Client) -> None:
    """A schema binds a model that knows nothing."""
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer", "minimum": 1, "maximum": 3}},
        "required": ["ok", "n"],
    }
    import json

    for seed in range(5):
        reply = client.chat(
            model="tiny", messages=MESSAGES, format=schema, options={"temperature": 1, "seed": seed}
        )
        value = json.loads(reply.message.content or "")
        assert isinstance(value["ok"], bool)
        assert value["n"] in (1, 2, 3)


def test_ps_beside_members_of_our_own(fake_server: Callable[..., Server]) -> None:
    """What `/api/ps` says of the queue is in nobody's way."""
    server = fake_server({"OLLAMA_NUM_PARALLEL": "1"}, tokens=10**6, delay_s=0.002)
    client = ollama.Client(host=server.base)
    stream = client.generate(model="m", prompt="now A", stream=True)
    next(stream)
    [found] = server.get("/api/ps")["models"]
    assert (found["queue"]["slots"], found["queue"]["position"]) == (1, 1)
    [running] = client.ps().models
    assert (running.name, running.size, running.context_length) == (
        "m:latest", found["size"], found["context_length"],
    )  # fmt: skip
    stream.close()  # type: ignore[attr-defined]  # it is a generator
    client._client.close()
