"""Tokens that are guessed ahead: what a client sees of it is the time, and the counts it asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import corral.assets
from tests.conftest import Server

NUMBERS = "one two three four five six seven eight nine ten. "
PROMPT = f"<|im_start|>user\nSay: {NUMBERS * 3}<|im_end|>\n<|im_start|>assistant\n{NUMBERS}one two"
ASSET = Path(corral.assets.__file__).parent / "corral-tiny.gguf"
OPTIONS = {"num_ctx": 1024, "num_predict": 100, "temperature": 0}


def made(server: Server) -> Server:
    """With a model that repeats what it has read."""
    files = {"tiny.gguf": server.upload(ASSET)}
    assert (
        server.post("/api/create", {"model": "tiny", "files": files, "stream": False})["status"] == "success"
    )
    return server


def ask(server: Server, *, options: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    body = {"model": "tiny", "prompt": PROMPT, "raw": True, "stream": False, **fields}
    answer: dict[str, Any] = server.post("/api/generate", {**body, "options": {**OPTIONS, **(options or {})}})
    return answer


def loads(server: Server) -> int:
    return sum("loaded model=tiny" in line and "unloaded" not in line for line in server.log)


def usage(server: Server, **fields: Any) -> dict[str, Any]:
    body = {
        "model": "tiny",
        "prompt": PROMPT,
        "max_tokens": 60,
        "temperature": 0,
        "options": OPTIONS,
        **fields,
    }
    found: dict[str, Any] = server.post("/v1/completions", body)["usage"]
    return found


def test_counts_are_given_to_who_asks(start_server: Callable[..., Server]) -> None:
    """On both surfaces; the text is the same with and without guesses."""
    server = made(start_server(CORRAL_SPECULATION="on"))
    plain = ask(server)
    assert not {"draft_count", "draft_accepted_count"} & plain.keys()
    counted = ask(server, options={"draft_counts": True})
    assert counted["draft_count"] >= counted["draft_accepted_count"] >= 0
    assert loads(server) == 1
    assert "completion_tokens_details" not in usage(server)
    details = usage(server, draft_counts=True)["completion_tokens_details"]
    assert details.keys() == {"accepted_prediction_tokens", "rejected_prediction_tokens"}
    off = ask(server, options={"draft_counts": True, "speculation": False})
    assert (off["draft_count"], off["draft_accepted_count"]) == (0, 0)
    assert plain["response"] == counted["response"] == off["response"] != ""


def test_log_probabilities_are_those_of_the_model(start_server: Callable[..., Server]) -> None:
    """The engine has none for a guessed token: such a request is served without, by one more load at most."""
    server = made(start_server())
    assert ask(server, options={"draft_counts": True})["draft_count"] > 0
    exactly: dict[str, Any] = {"logprobs": True, "top_logprobs": 2, "options": {"cache_prompt": False}}
    found = [ask(server, **exactly)["logprobs"] for _ in range(2)]
    assert loads(server) == 2
    assert found[0] == found[1]
    assert all(len(entry["top_logprobs"]) == 2 and entry["logprob"] <= 0 for entry in found[0])
    assert ask(server, options={"draft_counts": True})["draft_count"] == 0  # the same runner serves on
    assert loads(server) == 2
    exact = made(start_server(CORRAL_SPECULATION="off"))
    assert ask(exact, **exactly)["logprobs"] == found[0]
    assert loads(exact) == 1


def test_a_wrong_value_is_refused(server: Server) -> None:
    for name in ("speculation", "draft_counts"):
        status, answer = server.request(
            "POST", "/api/generate", {"model": "tiny", "prompt": "x", "options": {name: "yes"}}
        )
        assert (status, name in str(answer)) == (500, True)
