"""Audio in forms: what is read of them, and what comes back, on the engine double (no small model hears)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multipart import MultipartError

from corral.api.http.multipart_form import _parse
from corral.errors import InvalidRequestError
from tests.conftest import Server
from tests.waiting import wait_until

BOUNDARY = "b0undary"
PATH = "/v1/audio/transcriptions"


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """A body of (name, file name, content)."""
    body = b""
    for name, filename, content in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
        body += f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


@given(st.binary(max_size=2000).filter(lambda content: BOUNDARY.encode() not in content))
def test_a_file_arrives_byte_for_byte(content: bytes) -> None:
    parsed = _parse(form(("model", None, b"m"), ("file", "a.wav", content), ("file", "b", b"2")), BOUNDARY)
    assert parsed.texts == {"model": "m"}
    assert parsed.files == {"file": content}


@given(st.binary(max_size=400), st.integers(0, 200))
def test_any_bytes_are_a_form_or_refused(noise: bytes, cut: int) -> None:
    for body in (noise, form(("file", "a", noise))[:cut], form(("model", None, b"m"))[:cut] + noise):
        try:
            _parse(body, BOUNDARY)
        except (MultipartError, InvalidRequestError, ValueError):
            continue


def test_transcription(fake_server: Callable[..., Server]) -> None:
    """An object, the bare text, or events; the text is trimmed."""
    server = fake_server(tokens=4)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

    def transcribe(*fields: tuple[str, str]) -> bytes:
        texts = [(name, None, value.encode()) for name, value in fields]
        body = form(("model", None, b"m"), ("file", "a.wav", b"RIFF"), *texts)
        status, data = server.request("POST", PATH, body, headers)
        assert status == 200, data
        return data

    text = "word WORD word WORD"
    assert transcribe() == b'{"text":"' + text.encode() + b'"}\n'
    assert transcribe(("language", "en"), ("prompt", "names"), ("response_format", "text")) == text.encode()
    frames = transcribe(("stream", "true")).decode().split("\n\n")[:-1]
    events = [json.loads(frame.removeprefix("data: ")) for frame in frames]
    assert "".join(event.get("delta", "") for event in events).strip() == text
    assert events[-1] == {"type": "transcript.text.done", "text": text}


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([], "failed to parse multipart form"),
        ([("file", "a", b"x")], "model is required"),
        ([("model", None, b"m")], "file is required: http: no such file"),
        ([("model", None, b"m"), ("file", "a", b"")], "audio file is empty"),
        ([("model", None, b"m" * 1_100_000), ("file", "a", b"x")], 'the field "model" is too long'),
    ],
)
def test_refused(server: Server, parts: list[tuple[str, str | None, bytes]], text: str) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    status, data = server.request("POST", PATH, form(*parts) if parts else b"nothing", headers)
    assert status == 400
    assert text in json.loads(data)["error"]["message"]


def test_the_user_of_a_request_is_logged(server: Server) -> None:
    """Beside the request, as JSON, so that nobody can write lines of their own."""
    body = {"model": "say", "messages": [{"role": "user", "content": "now A"}], "user": 'ann"\nx=1'}
    assert server.request("POST", "/v1/chat/completions", body)[0] == 200
    wait_until(lambda: any('user="ann\\"\\nx=1"' in line for line in list(server.log)))
