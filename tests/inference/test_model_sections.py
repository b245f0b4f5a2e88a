"""What the configuration says of a model holds for its requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from corral.api.openai.protocol import read_chat, read_completion
from corral.configfile.rules import ModelRules, ruled_options
from corral.configfile.sections import ModelSection, Sections
from corral.names import ModelName
from tests.conftest import PLAIN_TEMPLATE, Server

CONFIG = """
[models."s*"]
num_ctx = 256
keep_alive = "3h"
num_parallel = 3
set = { num_predict = 3 }
strip = ["num_predict"]
engine = { num_batch = 64 }
[models.say]
aliases = ["gpt-4o"]
[aliases]
"Claude" = "say"
"""


@pytest.mark.process
def test_a_section_over_the_model_and_under_the_request(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    file = tmp_path / "c.toml"
    file.write_text(CONFIG)
    server = start_server(CORRAL_CONFIG=str(file))
    server.create("say", "say", template=PLAIN_TEMPLATE, parameters={"num_predict": 50, "num_ctx": 1024})
    call = {"model": "GPT-4o", "prompt": "x", "stream": False, "options": {"num_predict": 40}}
    answer = server.post("/api/generate", call)
    assert (answer["model"], answer["eval_count"]) == ("GPT-4o", 3)
    (loaded,) = server.get("/api/ps")["models"]
    assert (loaded["name"], loaded["context_length"]) == ("say:latest", 256)
    left_s = datetime.fromisoformat(loaded["expires_at"]).timestamp() - time.time()
    assert 2 * 3600 < left_s <= 3 * 3600
    (line,) = [line for line in server.log if "loading model=say" in line]
    assert "slots=3" in line and "num_ctx=256" in line
    assert server.post("/api/show", {"model": "claude"})["details"]["format"] == "gguf"
    chat = {"model": "claude", "messages": [{"role": "user", "content": "x"}]}
    status, body = server.request("POST", "/v1/chat/completions", chat)
    assert status == 200 and json.loads(body)["usage"]["completion_tokens"] == 3
    # What changes models needs their names: an alias never deletes what it stands for.
    assert server.request("DELETE", "/api/delete", {"model": "claude"})[0] == 404
    # A request may still ask for its own context.
    server.post("/api/generate", {**call, "options": {"num_ctx": 128}, "keep_alive": "1m"})
    (loaded,) = server.get("/api/ps")["models"]
    assert loaded["context_length"] == 128
    assert datetime.fromisoformat(loaded["expires_at"]).timestamp() - time.time() <= 60


@pytest.mark.process
def test_a_draft_model_that_does_not_exist(start_server: Callable[..., Server], tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[models.say]\ndraft = "/nonexistent/draft.gguf"\n')
    server = start_server(CORRAL_CONFIG=str(file))
    server.create("say", "say", template=PLAIN_TEMPLATE)
    status, body = server.request("POST", "/api/generate", {"model": "say", "prompt": "x"})
    assert status == 500 and b"draft model /nonexistent/draft.gguf: no such file" in body


def test_rules_are_replaced_as_a_whole() -> None:
    """Also those that were looked up before."""
    name = ModelName.parse("qwen3:8b")
    rules = ModelRules(Sections((ModelSection("qwen3*", defaults={"seed": 1}),), {"x": "qwen3:8b"}))
    assert rules.section(name).defaults == {"seed": 1}
    assert (rules.resolve("X"), rules.resolve("x:latest"), rules.resolve("y")) == (
        "qwen3:8b",
        "qwen3:8b",
        "y",
    )
    rules.replace(Sections((ModelSection("QWEN3:8B", defaults={"seed": 2}),)))
    assert rules.section(name).defaults == {"seed": 2}
    assert rules.resolve("x") == "x"


def test_what_a_request_may_not_set_is_left_out() -> None:
    section = ModelSection("m", defaults={"seed": 1}, strip=frozenset({"top_k"}))
    assert ruled_options(section, {"seed": 0, "top_k": 3}, {"top_k": 5, "seed": 7}) == (
        {"seed": 1, "top_k": 3},
        {"seed": 7},
    )
    assert ruled_options(section, {}, None) == ({"seed": 1}, None)


def test_what_an_api_has_by_default_is_under_the_section() -> None:
    """Clients of OpenAI's API mean its defaults by saying nothing; who runs the server may mean something else."""
    section = ModelSection("m", defaults={"temperature": 0.2})
    requested, implied = {"temperature": 1.0, "top_p": 1.0}, frozenset({"temperature", "top_p"})
    assert ruled_options(section, {}, requested, implied) == ({"temperature": 0.2}, {"top_p": 1.0})
    assert ruled_options(section, {}, requested, frozenset({"top_p"})) == ({"temperature": 0.2}, requested)
    assert ruled_options(ModelSection("m"), {}, requested, implied) == ({}, requested)


@pytest.mark.parametrize(
    ("members", "implied"),
    [
        ({}, {"temperature", "top_p"}),
        ({"temperature": None}, {"temperature", "top_p"}),
        ({"temperature": 1}, {"top_p"}),
        ({"options": {"top_p": 1.0}}, {"temperature"}),
        ({"temperature": 0, "top_p": 0.5}, set()),
    ],
)
def test_what_the_client_gave_and_what_not(members: dict[str, object], implied: set[str]) -> None:
    messages = [{"role": "user", "content": "x"}]
    chat = read_chat(json.dumps({"model": "m", "messages": messages, **members}).encode(), 100)
    assert chat.request.common.implied == implied
    completion = read_completion(json.dumps({"model": "m", "prompt": "x", **members}).encode(), 100)
    (request,) = completion.requests
    assert request.common.implied - {"frequency_penalty", "presence_penalty"} == implied


@pytest.mark.process
def test_a_temperature_for_clients_that_give_none(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """On every API that has a default for it. `tiny` at 1.0 never says the same thing four times."""
    file = tmp_path / "c.toml"
    file.write_text("[models.tiny]\nset = { temperature = 0.0, num_predict = 24 }\n")
    server = start_server(CORRAL_CONFIG=str(file))
    server.create("tiny", "tiny")
    messages = [{"role": "user", "content": "x"}]
    for path, body in (
        ("/v1/chat/completions", {"messages": messages}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/responses", {"input": "x"}),
        ("/v1/messages", {"messages": messages, "max_tokens": 24}),
        ("/api/chat", {"messages": messages, "stream": False}),
    ):
        texts = {_text_of(server.post(path, {"model": "tiny", **body})) for _ in range(4)}
        assert len(texts) == 1, path
        own = [server.post(path, {"model": "tiny", **body, "temperature": 1.9}) for _ in range(4)]
        assert path == "/api/chat" or len(set(map(_text_of, own))) > 1, path


def _text_of(answer: dict[str, Any]) -> str:
    for found in (answer.get("choices"), answer.get("output"), answer.get("content"), [answer]):
        if found:
            return json.dumps([one.get("message") or one.get("text") or one.get("content") for one in found])
    raise AssertionError(answer)
