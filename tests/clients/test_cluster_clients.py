"""The official packages against a gateway of a cluster, which does not have the model itself: unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.cluster.conftest import Cluster, make_cluster
from tests.extras import lazily

if TYPE_CHECKING:
    import anthropic
    import ollama
    import openai
else:
    anthropic, ollama, openai = lazily("anthropic"), lazily("ollama"), lazily("openai")

__all__ = ["make_cluster"]
WORDS = "word WORD word WORD word"


@pytest.fixture(scope="module")
def gateway(make_cluster: Callable[..., Cluster]) -> Cluster:
    """Server a, whose node b has the model `m`."""
    cluster = make_cluster("ab")
    cluster.create("b")
    return cluster


def test_ollama(gateway: Cluster) -> None:
    client = ollama.Client(host=gateway["a"].base)
    try:
        messages = [{"role": "user", "content": "hello"}]
        assert (client.chat("m", messages=messages).message.content or "").strip() == WORDS
        parts = list(client.chat("m", messages=messages, stream=True))
        assert "".join(part.message.content or "" for part in parts).strip() == WORDS and parts[-1].done
        assert (client.generate("m", "hello").response or "").strip() == WORDS
        assert "m:latest" in [model.model for model in client.list().models]
        assert client.show("m").details is not None
        assert "m:latest" in [model.model for model in client.ps().models]
        with pytest.raises(ollama.ResponseError, match="not found"):
            client.chat("missing", messages=messages)
    finally:
        client._client.close()  # the package has no public way


def test_openai(gateway: Cluster) -> None:
    with openai.OpenAI(base_url=f"{gateway['a'].base}/v1", api_key="none", max_retries=0) as client:
        found = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
        assert (found.choices[0].message.content or "").strip() == WORDS
        stream = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        assert text.strip() == WORDS
        assert [model.id for model in client.models.list()] == ["m:latest"]
        first = client.responses.create(model="m", input="hello")
        again = client.responses.create(model="m", input="more", previous_response_id=first.id)
        assert again.output_text.strip() == WORDS
        assert client.responses.retrieve(first.id).id == first.id
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="missing", messages=[{"role": "user", "content": "hello"}])


def test_anthropic(gateway: Cluster) -> None:
    with anthropic.Anthropic(base_url=gateway["a"].base, api_key="none", max_retries=0) as client:
        found = client.messages.create(
            model="m", max_tokens=50, messages=[{"role": "user", "content": "hello"}]
        )
        block = found.content[0]
        assert block.type == "text" and block.text.strip() == WORDS
        with client.messages.stream(
            model="m", max_tokens=50, messages=[{"role": "user", "content": "hello"}]
        ) as stream:
            assert "".join(stream.text_stream).strip() == WORDS
        count = client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "hello"}])
        assert count.input_tokens > 0
