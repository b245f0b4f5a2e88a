"""What people write and what is secret is not in the log, whatever route it comes by and whatever is wrong."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.access.keys import KeyOrder
from corral.access.keystore import KeyStore
from corral.errors import InvalidRequestError, ModelNotFoundError, RegistryError, TemplateRaisedError
from corral.errorwords import logged
from tests.conftest import Server
from tests.waiting import wait_until

PROMPT = "canaryprompt"
SECRET = "canarysecret"
_IMAGE = base64.b64encode(PROMPT.encode()).decode()
_SCHEMA = {"type": "object", "properties": {PROMPT: {"type": "string", "pattern": f"({PROMPT}"}}}
_TOOL = {
    "type": "function",
    "function": {"name": PROMPT, "description": PROMPT, "parameters": _SCHEMA | {"required": PROMPT}},
}
_CALL = {"function": {"name": PROMPT, "arguments": {"text": PROMPT}}}


def chats() -> Iterator[tuple[str, dict[str, Any]]]:
    """Bodies with the canary in every member that holds what people write, valid and not."""
    message = {"role": "user", "content": PROMPT}
    for messages in (
        [message],
        [{"role": "system", "content": PROMPT}, {"role": "assistant", "tool_calls": [_CALL]}, message],
        [{**message, "images": [_IMAGE]}],
        [{"role": PROMPT, "content": PROMPT}],
        [{"role": "user", "content": {PROMPT: PROMPT}}],
        [{"role": "user", "content": [{"type": PROMPT, "text": PROMPT}]}],
        [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": f"data:{PROMPT},{_IMAGE}"}}],
            }
        ],
        [{"role": "assistant", "content": None, "tool_calls": [{**_CALL, "id": PROMPT}]}],
        [{"role": "tool", "content": PROMPT, "tool_call_id": PROMPT, "tool_name": PROMPT}],
        PROMPT,
        {PROMPT: PROMPT},
    ):
        for path in ("/api/chat", "/v1/chat/completions", "/v1/messages"):
            yield path, {"messages": messages, "max_tokens": 2}
    for more in (
        {"tools": [_TOOL]},
        {"tools": PROMPT},
        {"tools": [{"type": PROMPT}]},
        {"tool_choice": PROMPT},
        {"tool_choice": {"type": "function", "function": {"name": PROMPT}}},
        {"format": PROMPT},
        {"format": _SCHEMA},
        {"format": {"type": PROMPT}},
        {"grammar": f"root ::= {PROMPT}"},
        {"grammar": f'root ::= "{PROMPT}'},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": _SCHEMA}}},
        {"response_format": {"type": PROMPT}},
        {"think": PROMPT},
        {"reasoning_effort": PROMPT},
        {"options": {"stop": [PROMPT], "temperature": PROMPT}},
        {"options": {"stop": [PROMPT]}},
        {"options": {"deadline": PROMPT}},
        {"stop": [PROMPT], "logit_bias": {PROMPT: 1}},
        {"keep_alive": PROMPT},
        {"stream": PROMPT},
        {"metadata": {"x": PROMPT}},
    ):
        for path in ("/api/chat", "/v1/chat/completions", "/v1/messages"):
            yield path, {"messages": [message], "max_tokens": 2, **more}


def others() -> Iterator[tuple[str, dict[str, Any]]]:
    for more in (
        {"system": PROMPT, "suffix": PROMPT},
        {"template": f"{{{{ {PROMPT} }}}}"},
        {"template": f"{{{{ .Prompt }} {PROMPT}"},
        {"images": [_IMAGE]},
        {"images": PROMPT},
        {"context": [PROMPT]},
        {"raw": True, "format": "json"},
    ):
        yield "/api/generate", {"prompt": PROMPT, "options": {"num_predict": 2}, **more}
    yield "/v1/completions", {"prompt": PROMPT, "max_tokens": 2}
    yield "/v1/completions", {"prompt": {PROMPT: 1}}
    yield "/v1/responses", {"input": PROMPT, "instructions": PROMPT, "max_output_tokens": 2}
    yield "/v1/responses", {"input": [{"type": PROMPT, "content": PROMPT}]}
    yield (
        "/v1/responses",
        {"input": PROMPT, "tools": [{"type": PROMPT}], "text": {"format": {"type": PROMPT}}},
    )
    yield "/v1/messages/count_tokens", {"messages": [{"role": "user", "content": PROMPT}], "system": PROMPT}
    for path in ("/api/embed", "/api/embeddings", "/v1/embeddings"):
        yield path, {"input": PROMPT, "prompt": PROMPT, "dimensions": 2}
        yield path, {"input": [{PROMPT: PROMPT}], "prompt": [PROMPT]}
    for path in ("/api/rerank", "/v1/rerank"):
        yield path, {"query": PROMPT, "documents": [PROMPT, PROMPT]}
        yield path, {"query": [PROMPT], "documents": PROMPT}
    for path in ("/api/tokenize", "/api/detokenize"):
        yield path, {"content": PROMPT, "text": PROMPT, "tokens": [PROMPT]}
    yield "/v1/systemone", {"input": PROMPT, "questions": [{"text": PROMPT, "type": PROMPT}]}
    yield "/api/create", {"from": "say", "system": PROMPT, "template": f"{{{{ {PROMPT}", "stream": False}
    yield "/api/create", {"from": "say", "system": PROMPT, "parameters": {PROMPT: PROMPT}, "stream": False}
    yield "/api/create", {"modelfile": f"FROM say\nSYSTEM {PROMPT}\nPARAMETER {PROMPT} {PROMPT}\n{PROMPT}"}
    yield "/api/create", {"from": "say", "messages": [{"role": PROMPT, "content": PROMPT}], "stream": False}
    yield "/api/show", {"system": PROMPT, "options": {"x": PROMPT}}


def send(server: Server, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def found(server: Server, canary: str) -> list[str]:
    """Lines of the log that have it, once all are written."""
    mark = "end-of-the-test"
    send(server, "GET", "/api/tags", b"", {"X-Request-Id": mark})
    wait_until(lambda: any(mark in line for line in server.log))
    return [line for line in list(server.log) if canary in line or _IMAGE in line]


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_people_write(start_server: Callable[..., Server], form: str) -> None:
    server = start_server(OLLAMA_DEBUG="2", CORRAL_LOG_FORMAT=form, CORRAL_LOG_SLOW="1ns")
    server.create("say", "say", template="{{ .System }}{{ .Prompt }}", parameters={"num_predict": 2})
    server.create("tools", "say", template="{{ .Tools }}{{ .Prompt }}", parameters={"num_predict": 2})
    server.create("embed", "embed")
    statuses = set()
    for path, body in [*chats(), *others()]:
        model = "embed" if "embed" in path else "tools" if "tools" in body else "say"
        for whole in ({"model": model, **body}, {"model": model, "stream": False, **body}):
            statuses.add(send(server, "POST", path, json.dumps(whole).encode(), {}))
        # Broken in the middle of what somebody wrote, and packed in a way that nobody unpacks.
        broken = json.dumps({"model": model, **body}).encode()
        cut = broken.rfind(PROMPT.encode()) + len(PROMPT)
        statuses.add(send(server, "POST", path, broken[:cut], {}))
        statuses.add(send(server, "POST", path, broken, {"Content-Encoding": "gzip"}))
    assert {200, 400} <= statuses
    assert found(server, PROMPT) == []


def test_secrets(start_server: Callable[..., Server], tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "keys.sqlite3")
    _, key = keys.create(KeyOrder("mine", scopes=("admin",)))
    server = start_server(
        OLLAMA_DEBUG="2",
        CORRAL_AUTH="remote",
        CORRAL_KEYS=str(keys.path),
        HTTPS_PROXY=f"http://user:{SECRET}@127.0.0.1:9",
        HF_TOKEN=SECRET,
    )
    send(server, "GET", "/api/tags", b"", {"Authorization": f"Bearer {key}"})
    for header in (
        {"Authorization": f"Bearer {SECRET}"},
        {"Authorization": f"Basic {base64.b64encode(f'u:{SECRET}'.encode()).decode()}"},
        {"x-api-key": SECRET},
        {"Cookie": f"session={SECRET}"},
        {"X-Request-Id": f"{SECRET} x"},
        {"X-Corral-Deadline": SECRET},
        {"traceparent": SECRET},
    ):
        send(server, "GET", "/api/tags", b"", header)
        send(server, "POST", "/api/chat", b'{"model":"nobody"}', header)
    for path in (f"/api/tags?key={SECRET}", f"/api/version?api_key={SECRET}"):
        send(server, "GET", path, b"", {})
    for name in (
        f"http://user:{SECRET}@127.0.0.1:9/library/model",
        f"user:{SECRET}@127.0.0.1:9/library/model",
        "127.0.0.1:9/library/model",
        "hf.co/someone/model",
    ):
        for path in ("/api/pull", "/api/push"):
            body = {"model": name, "insecure": True, "username": "u", "password": SECRET}
            send(server, "POST", path, json.dumps(body).encode(), {})
        body = {"model": name}
        for path in ("/api/show", "/api/chat", "/api/generate", "/v1/chat/completions"):
            send(server, "POST", path, json.dumps(body).encode(), {})
    assert found(server, SECRET) == []
    assert not [line for line in server.log if key in line or key[3:] in line]


def test_bodies_where_they_are_wanted(fake_server: Callable[..., Server]) -> None:
    """What was asked and answered, and no more of it than a line holds; of routes for inference alone."""
    server = fake_server({"CORRAL_LOG_BODIES": "1"}, tokens=2000, text="said ")
    body = json.dumps({"model": "m", "prompt": PROMPT + " \x1b[31m" + "x" * 5000}).encode()
    for stream in (True, False):
        assert (
            send(
                server,
                "POST",
                "/api/generate",
                body[:-1] + b',"stream":%s}' % str(stream).lower().encode(),
                {},
            )
            == 200
        )
    send(
        server, "POST", "/api/pull", json.dumps({"model": "127.0.0.1:9/a/b", "password": SECRET}).encode(), {}
    )
    asked = found(server, PROMPT)
    assert len([line for line in asked if " corral.bodies body request=" in line]) == 2
    assert len(asked) == 2
    assert all(len(line) < 4200 and "\x1b" not in line for line in asked)
    answers = [line for line in server.log if " corral.bodies answer request=" in line]
    assert len(answers) == 2
    assert all("said " in line and len(line) < 4200 for line in answers)
    assert found(server, SECRET) == []


def test_errors_in_the_log() -> None:
    for error, expected in (
        (InvalidRequestError('no "secret \\" text" here'), "InvalidRequestError('no \"…\" here')"),
        (
            InvalidRequestError("it doesn't say 'secret' or `secret`"),
            """InvalidRequestError("it doesn't say '…' or `…`")""",
        ),
        (InvalidRequestError('it ends "in the middle'), "InvalidRequestError('it ends \"…\"')"),
        (TemplateRaisedError("anything"), "TemplateRaisedError('…')"),
        (ModelNotFoundError("m"), "ModelNotFoundError(\"model 'm' not found\")"),
        (RegistryError("http://user:secret@host/x is gone"), "RegistryError('http://***@host/x is gone')"),
    ):
        assert logged(error) == expected
    assert len(logged(ValueError("x" * 5000))) <= 1000


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_control_character_gets_into_the_log(
    start_server: Callable[..., Server], tmp_path: Path, form: str
) -> None:
    """Whether it comes in a path, a header, a body, a name of a file, or a variable."""
    folder = tmp_path / "\x1b[31mred"
    strange = ("a\x1b]0;x\x07b", "c\u202egnp.gguf", "d\x9b2J", "e\nf")
    for name in strange:
        for place in ("blobs", "manifests/registry.ollama.ai/library", f"manifests/{name}/library/m"):
            (folder / place).mkdir(parents=True, exist_ok=True)
            (folder / place / name).write_text(name)
    server = start_server(
        OLLAMA_DEBUG="2",
        OLLAMA_MODELS=str(folder),
        CORRAL_LOG_FORMAT=form,
        CORRAL_LOG_BODIES="1",
        OLLAMA_ORIGINS="https://\x1b[31m.example",
        OLLAMA_KEEP_ALIVE="\x1b[31m5x",
    )
    texts = (*strange, "\x1b[2J\x1b[H", "\x07", "\x7f", "\x85", "\ufeff", "x\r\n2026-01-01 INFO forged")
    for text in texts:
        quoted = urllib.parse.quote(text)
        for method in ("GET", "DELETE", "BREW"):
            for path in (f"/{quoted}", f"/api/requests/{quoted}", f"/v2/{quoted}/manifests/{quoted}"):
                send(server, method, path, b"", {})
        body = {"model": text, "name": text, "user": text, "prompt": text, "format": text, "source": text}
        for path in (
            "/api/generate",
            "/v1/chat/completions",
            "/api/pull",
            "/api/copy",
            "/api/show",
            "/api/create",
        ):
            send(server, "POST", path, json.dumps({**body, "messages": text}).encode(), {})
        for name in ("Origin", "Host", "User-Agent", "X-Request-Id", "Authorization", "X-Forwarded-For"):
            raw = f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\n{name}: {text}\r\nContent-Length: 2\r\n\r\n{{}}"
            with socket.create_connection(("127.0.0.1", server.port), timeout=300) as connection:
                connection.sendall(raw.encode())
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
    found(server, "nothing")
    allowed = {"\n"}
    for line in server.log:
        bad = {c for c in line if not c.isprintable()} - allowed
        assert not bad, line
        assert not line.startswith("2026-01-01 INFO forged")
