"""Deadlines: by header, body and setting; what was made until then is the answer, and the engine stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from corral import deadline
from corral.errors import DeadlineError, InvalidRequestError
from tests.conftest import Server

CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 500}


@pytest.fixture
def hanging(fake_server: Callable[..., Server]) -> Server:
    """A server whose engine says two words and then nothing, with its model loaded."""
    server = fake_server(hang_at=2, reads_on=1)
    server.post("/api/generate", {"model": "m"})
    return server


def ask(server: Server, path: str, body: Any, limit: str = "3s") -> tuple[int, Any]:
    status, data = server.request("POST", path, body, {"X-Corral-Deadline": limit})
    return status, data


def test_a_stream_ends_with_what_there_was(hanging: Server) -> None:
    status, data = ask(hanging, "/api/chat", CHAT)
    *parts, last = [json.loads(line) for line in data.splitlines()]
    assert status == 200
    assert (last["done"], last["done_reason"]) == (True, "deadline")
    assert "".join(part["message"]["content"] for part in parts).split() != []


def test_the_body_says_it_too(hanging: Server) -> None:
    body = {**CHAT, "stream": False, "options": {"deadline": "3s"}}
    status, data = hanging.request("POST", "/api/chat", body)
    answer = json.loads(data)
    assert (status, answer["done_reason"]) == (200, "deadline")
    assert answer["message"]["content"] and answer["eval_count"] >= 1


def test_what_was_read_is_counted(hanging: Server) -> None:
    """A reply that is cut off has the prompt that the engine read, on every API, and so has the ledger."""
    words = {"model": "m", "prompt": "one two three four", "stream": False}
    status, data = hanging.request(
        "POST", "/api/generate", words, {"X-Corral-Deadline": "3s", "X-Corral-Metrics": "1"}
    )
    answer = json.loads(data)
    assert (status, answer["done_reason"]) == (200, "deadline")
    count = answer["prompt_eval_count"]
    assert count > 0 and answer["eval_count"] == 2
    assert answer["metrics"]["time_to_first_token_ms"] > 0
    assert answer["total_duration"] >= answer["prompt_eval_duration"] + answer["eval_duration"] > 0
    status, data = ask(hanging, "/v1/completions", {**words, "max_tokens": 500})
    assert json.loads(data)["usage"]["prompt_tokens"] == count
    # The engine has said nothing more since its two words.
    total = hanging.get("/api/usage?by=model")["total"]
    assert (total["prompt_tokens"], total["generated_tokens"]) == (2 * count, 2)


def test_other_apis_say_that_it_was_cut(hanging: Server) -> None:
    """Their clients know a fixed set of reasons."""
    status, data = ask(hanging, "/v1/chat/completions", CHAT)
    assert status == 200 and json.loads(data)["choices"][0]["finish_reason"] == "length"
    status, data = ask(hanging, "/v1/chat/completions", {**CHAT, "stream": True})
    assert b'"finish_reason":"length"' in data and data.endswith(b"data: [DONE]\n\n")
    status, data = ask(hanging, "/v1/completions", {"model": "m", "prompt": "x"})
    assert status == 200 and json.loads(data)["choices"][0]["finish_reason"] == "length"
    status, data = ask(hanging, "/v1/messages", CHAT)
    assert status == 200 and json.loads(data)["stop_reason"] == "max_tokens"
    status, data = ask(hanging, "/v1/responses", {"model": "m", "input": "x"})
    assert status == 200 and json.loads(data)["status"] == "incomplete"


def test_a_load_that_takes_too_long(fake_server: Callable[..., Server]) -> None:
    """Nothing was made: the error has the form of the API, and the queue is as if nobody had come."""
    server = fake_server({"CORRAL_MAX_REQUEST_TIME": "1s"}, load_hangs=1)
    status, data = server.request("POST", "/api/generate", {"model": "m", "prompt": "x"})
    assert (status, json.loads(data)["error"]) == (504, "the deadline of the request has passed")
    status, data = server.request("POST", "/v1/chat/completions", CHAT)
    assert status == 504 and "deadline" in json.loads(data)["error"]["message"]
    status, data = server.request("POST", "/api/embed", {"model": "m", "input": "x"})
    assert status == 504


@pytest.mark.parametrize("text", ["", "soon", "0", "-1s", "0s", "nan", "1e999", "\u0663"])
def test_what_is_no_deadline(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="duration above 0"):
        deadline.seconds_of(text, "X-Corral-Deadline")


@pytest.mark.parametrize("value", [True, 0, -1, float("nan"), [], {}])
def test_what_is_no_deadline_in_a_body(value: Any) -> None:
    with pytest.raises(InvalidRequestError):
        deadline.seconds_of(value, "options.deadline")


@pytest.mark.parametrize(
    ("value", "seconds"), [("30s", 30), ("1m30s", 90), ("5", 5), ("2.5", 2.5), (7, 7), (1e300, 7 * 86400)]
)
def test_deadlines(value: Any, seconds: float) -> None:
    assert deadline.seconds_of(value, "x") == seconds


def test_a_later_deadline_does_not_widen_an_earlier_one() -> None:
    async def tighten() -> None:
        deadline.tighten(5)
        first = deadline.current()
        deadline.tighten(50)
        assert deadline.current() == first
        deadline.tighten(1)
        assert deadline.current() != first
        deadline.tighten(0.001)
        with pytest.raises(DeadlineError):
            async with deadline.Limit():
                await asyncio.Event().wait()

    asyncio.run(tighten())


def test_a_bad_header_is_refused(hanging: Server) -> None:
    status, data = ask(hanging, "/api/generate", {"model": "m", "prompt": "x"}, "soon")
    assert status == 400 and b"X-Corral-Deadline" in data
    status, _ = ask(hanging, "/api/tags", None, "soon")
    assert status == 405  # and where nothing runs it means nothing
