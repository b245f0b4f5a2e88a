"""What to do about an error crosses the wire: `hint` beside the text on every surface, where there is one."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import corral
from corral.api.anthropic import errors as anthropic
from corral.api.http import errors as native
from corral.api.openai import errors as openai
from corral.api.responses.encode import ResponseWriter
from corral.api.responses.protocol import ResponsesRequest
from corral.errors import CorralError
from tests.conftest import FIXTURES, Server

TEXT, HINT = "it does not work", 'say "please" \u2028'
# They carry facts that only their own construction sets.
FACTS = {"status": 400, "message": TEXT, "prompt_count": 0, "num_ctx": 0}


def all_classes(root: type[CorralError] = CorralError) -> Iterator[type[CorralError]]:
    yield root
    for kind in root.__subclasses__():
        yield from all_classes(kind)


def import_everything() -> None:
    """Classes that nobody has imported are not among the subclasses."""
    for module in pkgutil.walk_packages(corral.__path__, "corral."):
        if not module.name.endswith((".child", ".main", ".__main__")):
            importlib.import_module(module.name)


import_everything()
CLASSES = sorted(set(all_classes()), key=lambda kind: f"{kind.__module__}.{kind.__name__}")


def make(kind: type[CorralError], hint: str) -> CorralError:
    """An error of a class with this text and hint, however it is otherwise made."""
    error = kind.__new__(kind)
    CorralError.__init__(error, TEXT, hint=hint)
    for name, value in FACTS.items():
        if not hasattr(error, name):
            error.__dict__[name] = value
    return error


def bodies(error: CorralError) -> list[dict[str, Any]]:
    """The object that holds the text, on each surface: whole answers and the ends of streams."""
    whole = [
        json.loads(native.body_of(error)),
        json.loads(native.error_body(TEXT, native.hint_of(error))),
        json.loads(openai.service_error(error)[1]),
        json.loads(anthropic.service_error(error)[1]),
        json.loads(openai.error_event(error)),
        json.loads(anthropic.error_event(error)),
        json.loads(openai.envelope(400, TEXT, native.hint_of(error))),
        json.loads(anthropic.envelope(400, TEXT, native.hint_of(error))),
    ]
    return [body["error"] if isinstance(body["error"], dict) else body for body in whole]


def test_there_are_many_classes() -> None:
    assert len(CLASSES) > 40


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_hint_of_every_class_reaches_every_surface(kind: type[CorralError]) -> None:
    """Once: as a member, or for a few in the text."""
    error = make(kind, HINT)
    is_in_text = HINT in native.text_of(error)
    for body in bodies(error):
        assert body.get("hint") == (None if is_in_text else HINT)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_without_a_hint_nothing_is_added(kind: type[CorralError]) -> None:
    assert all("hint" not in body for body in bodies(make(kind, "")))


@pytest.mark.parametrize("hint", [HINT, ""])
def test_the_end_of_a_stream_of_responses(hint: str) -> None:
    form = ResponseWriter(ResponsesRequest("m", is_stream=True), is_stored=False)
    event = form.stream_error(make(CorralError, hint)).rpartition(b"data: ")[2]
    error = json.loads(event)["response"]["error"]
    assert error == {"code": "server_error", "message": TEXT, **({"hint": hint} if hint else {})}


def error_of(server: Server, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The object with the text and the hint: of an answer, a line of a stream, or an event."""
    status, data = server.request("POST", path, body)
    lines = [line.removeprefix(b"data: ") for line in data.splitlines() if line[:1] in (b"{", b"d")]
    last = json.loads(lines[-1])
    last = last.get("response", last)
    assert status >= 400 or "error" in last, data
    return last["error"] if isinstance(last["error"], dict) else last


def test_hints_of_inference(start_server: Callable[..., Server]) -> None:
    """Weights whose end is missing: their header is fine, so what the model can do is known; show works."""
    server = start_server()
    server.create("m", "say")
    server.create("e", "embed")
    for weights in (server.folder / "blobs").iterdir():
        if weights.stat().st_size > 20_000:
            with weights.open("r+b") as file:
                file.truncate(weights.stat().st_size - 64)
    messages = [{"role": "user", "content": "hi"}]
    asks: list[tuple[str, dict[str, Any]]] = [
        ("/api/generate", {"model": "m", "prompt": "hi"}),
        ("/api/chat", {"model": "m", "messages": messages}),
        ("/api/embed", {"model": "e", "input": "hi"}),
        ("/v1/chat/completions", {"model": "m", "messages": messages}),
        ("/v1/completions", {"model": "m", "prompt": "hi"}),
        ("/v1/embeddings", {"model": "e", "input": "hi"}),
        ("/v1/messages", {"model": "m", "messages": messages, "max_tokens": 2}),
        ("/v1/responses", {"model": "m", "input": "hi"}),
    ]
    for path, body in asks:
        for is_stream in (False, True):
            error = error_of(server, path, {**body, "stream": is_stream})
            text = json.dumps(error)
            assert "does not support" not in text, path
            assert "bytes" in text or "damaged" in text, path
            assert error.get("hint", "") in (f"create or pull {body['model']}:latest again", ""), path
    assert server.post("/api/show", {"model": "m"})["details"]["format"] == "gguf"


def test_hints_of_progress_streams(server: Server) -> None:
    """With a stream and without one."""
    for is_stream in (False, True):
        pull = {"model": "corral-tiny", "rate_limit": "fast", "stream": is_stream}
        assert error_of(server, "/api/pull", pull) == {
            "error": "invalid rate limit: 'fast'",
            "hint": 'use bytes per second, such as "10MB" or "500KiB"',
        }
        digest = server.upload(FIXTURES / "wide-f16.gguf")
        create = {"model": "q", "files": {"m.gguf": digest}, "quantize": "iq2_xxs", "stream": is_stream}
        error = error_of(server, "/api/create", create)
        assert error["error"].startswith("quantizing to IQ2_XXS requires an importance matrix")
        assert error["hint"].startswith("create one with llama-imatrix")
