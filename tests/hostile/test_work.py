"""Templates, JSON, images and long listings of one client: nobody else waits, the server stays small, and it ends."""

from __future__ import annotations

import base64
import io
import json
import signal
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scripts.make_tiny_projector import make_projector
from tests.conftest import FIXTURES, Server
from tests.hostile.attack import attack
from tests.waiting import PATIENCE_S
from tests.weights.gguf.edit import edited

_ONE = {"stream": False, "options": {"num_predict": 1}}
_USER = [{"role": "user", "content": "hello"}]
_TEMPLATE = "{{ range .Messages }}{{ .Content }}{{ end }}"
# Templates that model files bring.
_JINJA = {
    "loops": "{% for i in range(190000) %}{% for j in range(10) %}{% endfor %}{% endfor %}x",
    "strip": "{% set x = ('a' * 2000000).strip('b' * 1000000 ~ 'a') %}hi",
    "search": "{% set a = 'a' * 4000000 %}{{ ('a' * 50 ~ 'b') in a }}" * 40,
    "memory": "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}"
    "{% set ns.l = ns.l + ['x' * 8000000] %}{% endfor %}",
    "macros": "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(80) }}",
    "long": "{{ '' }}" * 100_000 + "x",
    "slow for many": "{% for i in range(60000) %}{% for j in range(10) %}{% endfor %}{% endfor %}{{ messages }}",
}  # fmt: skip
# Templates that requests bring.
_GO = {
    "range": "{{range 1000000000}}{{end}}",
    "print": "{{range 5000000}}{{$x := print $.Messages}}{{end}}",
    "urlquery": "{{range 1000000}}{{$x := urlquery $}}{{end}}",
    "quoted": '{{$x := "aaaaaaaa"}}{{range 18}}{{$x = printf "%s%s" $x $x}}{{end}}'
    '{{range 100}}{{$y := printf "%q" $x}}{{end}}',
    "width": '{{range 100000}}{{$x := printf "%999999d" 1}}{{end}}',
    "calls": '{{define "a"}}{{template "b" .}}{{template "b" .}}{{end}}'
    '{{define "b"}}{{template "a" .}}{{template "a" .}}{{end}}{{template "a" .}}',
    "arguments": "{{range 1000000}}{{if and " + "(eq 1 1) " * 300 + "}}{{end}}{{end}}",
    "long": "{{1}}" * 40_000,
    "longer": "{{1}}" * 60_000,
    "json": "{{range 1000000}}{{$x := json $.Messages}}{{end}}",
}  # fmt: skip


@pytest.fixture(scope="module")
def target(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a model for each bad template, a vision model `v`, a Go model `g`, and one with large arrays."""
    folder = tmp_path_factory.mktemp("hostile")
    make_projector(FIXTURES / "tiny.gguf", folder / "projector.gguf")
    server = Server(CORRAL_WORK_TIMEOUT="1s")
    try:
        files = {
            "tiny.gguf": server.upload(FIXTURES / "tiny.gguf"),
            "p.gguf": server.upload(folder / "projector.gguf"),
        }
        server.post("/api/create", {"model": "v", "files": files, "stream": False, "template": _TEMPLATE})
        server.create("g", "tiny", template=_TEMPLATE)
        server.create(
            "say", "say", template=_TEMPLATE
        )  # other weights: it does not wait for the engine of `v`
        for name, source in _JINJA.items():
            values = {"tokenizer.chat_template": (source, "string")}
            path = edited(FIXTURES / "tiny.gguf", folder / "bad.gguf", values)
            _create(server, f"bad-{name.replace(' ', '-')}", path)
        words = [f"word number {i}" for i in range(262_144)]
        arrays = {
            "x.words": (words, "string"),
            "x.scores": ([-0.37 * i for i in range(262_144)], "float32"),
        }
        _create(server, "wide", edited(FIXTURES / "tiny.gguf", folder / "wide.gguf", arrays))
        server.post("/api/generate", {"model": "g", "prompt": "x", **_ONE})
        yield server
    finally:
        server.close()


def _create(server: Server, name: str, path: Path) -> None:
    server.post("/api/create", {"model": name, "files": {"a.gguf": server.upload(path)}, "stream": False})


@pytest.mark.parametrize("name", _JINJA)
def test_a_models_template(target: Server, name: str) -> None:
    """It gives a prompt or an error."""
    body = {"model": f"bad-{name.replace(' ', '-')}", "messages": _USER * 3, **_ONE}
    seen = attack(target, ("/api/chat", body))
    seen.check()
    assert seen.status in (200, 500), seen


@pytest.mark.parametrize(("name", "suffix"), [*((name, "") for name in _GO), ("range", "y"), ("width", "y")])
def test_a_template_in_a_request(target: Server, name: str, suffix: str) -> None:
    body = {"model": "g", "prompt": "hi " * 2000, "template": _GO[name] + "{{ .Suffix }}", **_ONE}
    seen = attack(target, ("/api/generate", {**body, "suffix": suffix}))
    seen.check()
    assert seen.status in ((200, 500) if name == "long" else (400, 500)), seen


def test_templates_of_one_client_do_not_hold_up_images_of_another(target: Server) -> None:
    """All workers that templates may have are busy, and more wait; an image has its turn all the same."""
    bad = {"model": "say", "prompt": "hi", "template": _GO["print"], **_ONE}
    image = base64.b64encode(_encoded("WEBP")).decode()
    good = {"model": "v", "messages": [{"role": "user", "content": "x", "images": [image]}], **_ONE}
    threads = [
        threading.Thread(target=target.request, args=("POST", "/api/generate", bad), daemon=True)
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert target.request("POST", "/api/chat", good)[0] == 200
    assert any(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join(PATIENCE_S)


_MIB = 1 << 20
_FORM = {"Content-Type": "multipart/form-data; boundary=XX"}
_UNITS = {
    "lists": b"[],",
    "objects": b"{},",
    "members": b'{"a":1},',
    "numbers": b"1,",
    "fractions": b"1.5,",
    "texts": b'"a",',
    "escapes": b'"\\u00e9",',
}
_ROUTES = {
    "/api/generate": b'{"model":"g","prompt":"x","context":[',
    "/api/chat": b'{"model":"g","messages":[',
    "/api/embed": b'{"model":"g","input":[',
    "/v1/chat/completions": b'{"model":"g","tools":[',
    "/v1/responses": b'{"model":"g","input":[',
    "/v1/messages": b'{"model":"g","max_tokens":1,"messages":[',
    "/v1/embeddings": b'{"model":"g","input":[',
    "/v1/completions": b'{"model":"g","prompt":[',
    "/v1/rerank": b'{"model":"g","query":"q","documents":[',
    "/api/tokenize": b'{"model":"g","text":[',
}


@pytest.mark.parametrize(
    ("unit", "size_bytes"),
    [*((unit, 900_000) for unit in _UNITS), ("lists", 60_000), ("members", 9 * _MIB), ("lists", 40 * _MIB)],
)
def test_json_of_many_values(target: Server, unit: str, size_bytes: int) -> None:
    body = b'{"model":"g","x":[' + _UNITS[unit] * (size_bytes // len(_UNITS[unit])) + b"1]}"
    seen = attack(target, ("/api/chat", body))
    seen.check()
    assert seen.status in (200, 400), seen


@pytest.mark.parametrize("route", _ROUTES)
@pytest.mark.parametrize("unit", [b'"a",', b'{"role":"user","content":"a"},'])
def test_json_of_many_values_on_every_route(target: Server, route: str, unit: bytes) -> None:
    """As many as pass: what comes after parsing is bounded too."""
    body = _ROUTES[route] + unit * (140_000 // unit.count(b",")) + unit[:-1] + b"]}"
    seen = attack(target, (route, body))
    seen.check()
    assert 400 <= seen.status < 504, seen


def test_brackets_in_a_long_text_and_deep_json(target: Server) -> None:
    texts = b'{"model":"g","x":"' + b"[{" * (4 * _MIB) + b'"}'
    deep = b'{"model":"g","x":' + b"[" * 900_000
    seen = attack(
        target, ("/api/chat", texts), ("/api/chat", deep), ("/api/show", deep), ("/v1/messages", deep)
    )
    seen.check()
    assert {status for status, _ in seen.answers} <= {200, 400, 404}


@pytest.mark.parametrize("filling", [b"\r\n--X", b"\r\n-", b"x" * 64])
def test_a_form_of_what_could_be_boundaries(target: Server, filling: bytes) -> None:
    head = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = head + filling * (30 * _MIB // len(filling)) + b"\r\n--XX--\r\n"
    seen = attack(target, ("/v1/audio/transcriptions", body), headers=_FORM)
    seen.check()
    assert seen.status in (400, 404), seen


def test_several_large_bodies_at_once(target: Server) -> None:
    body = b'{"model":"g","x":[' + b"[]," * (30 * _MIB // 3) + b"1]}"
    seen = attack(target, ("/api/chat", body), count=4)
    seen.check()
    assert {status for status, _ in seen.answers} <= {400, 503}


def test_long_texts_and_many_images_are_not_many_values(target: Server) -> None:
    image = base64.b64encode(_encoded("PNG", (1000, 1000))).decode()
    body = {"model": "v", "prompt": "a, b " * 200_000, "images": [image] * 20, **_ONE}
    seen = attack(target, ("/api/generate", body))
    seen.check()


def _encoded(form: str, size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size).save(data, form, **options)
    return data.getvalue()


def _png_claiming(side: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100)))


_IMAGES: dict[str, Callable[[], bytes]] = {
    "webp": lambda: _encoded("WEBP", (5900, 5900), lossless=True, method=0),
    "webp too large": lambda: _encoded("WEBP", (6200, 6200), lossless=True, method=0),
    "tiff": lambda: _encoded("TIFF", (4000, 4000), compression="tiff_deflate"),
    "png": lambda: _png_claiming(65535),
    "eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
    "tga": lambda: bytes([0, 0, 2]) + bytes(9) + struct.pack("<HHBB", 65535, 65535, 32, 0),
}


def _with_image(surface: str, image: bytes) -> tuple[str, dict[str, Any]]:
    text = base64.b64encode(image).decode()
    url = f"data:image/png;base64,{text}"
    source = {"type": "base64", "media_type": "image/png", "data": text}
    block = {"type": "image", "source": source}
    openai = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": url}}]
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [block]}
    return {
        "chat": ("/api/chat", {"messages": [{"role": "user", "content": "x", "images": [text]}], **_ONE}),
        "generate": ("/api/generate", {"prompt": "x", "images": [text], **_ONE}),
        "raw": ("/api/generate", {"prompt": "[img-0]", "raw": True, "images": [text], **_ONE}),
        "openai": ("/v1/chat/completions", {"messages": [{"role": "user", "content": openai}], "max_tokens": 1}),
        "anthropic": ("/v1/messages", {"messages": [{"role": "user", "content": [block]}], "max_tokens": 1}),
        "result": (
            "/v1/messages",
            {
                "messages": [*_USER, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}],
                "max_tokens": 1,
            },
        ),
        "responses": (
            "/v1/responses",
            {
                "input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}],
                "max_output_tokens": 16,
            },
        ),
    }[surface]  # fmt: skip


_SURFACES = ("chat", "generate", "raw", "openai", "anthropic", "result", "responses")


@pytest.mark.parametrize(
    ("surface", "name"),
    [*((surface, "eps") for surface in _SURFACES), *(("chat", name) for name in _IMAGES if name != "eps")],
)
def test_an_image_on_every_surface(target: Server, surface: str, name: str) -> None:
    path, body = _with_image(surface, _IMAGES[name]())
    seen = attack(target, (path, {"model": "v", **body}))
    seen.check()
    assert seen.status == (200 if name == "webp" else 400), seen


def test_show_of_a_vocabulary(target: Server) -> None:
    """Streamed, to several clients at once; the rest of `show` does not read it at all."""
    seen = attack(target, ("/api/show", {"model": "wide", "verbose": True}), count=6)
    seen.check(grown_mib=80)
    info = json.loads(seen.answers[0][1])["model_info"]
    assert (len(info["x.words"]), info["x.words"][-1]) == (262_144, "word number 262143")
    assert info["x.scores"][3] == pytest.approx(-1.11)
    seen = attack(target, ("/api/show", {"model": "wide"}))
    seen.check(grown_mib=10)
    assert json.loads(seen.answers[0][1])["model_info"]["x.words"] is None


@pytest.mark.parametrize("name", ["bad-strip", "bad-loops"])
def test_a_signal_ends_the_server_in_the_middle_of_it(name: str, target: Server, tmp_path: Path) -> None:
    server = Server()
    try:
        values = {"tokenizer.chat_template": (_JINJA[name.removeprefix("bad-")], "string")}
        _create(server, "bad", edited(FIXTURES / "tiny.gguf", tmp_path / "bad.gguf", values))
        body = {"model": "bad", "messages": _USER, **_ONE}
        thread = threading.Thread(target=_ignored, args=(server, body), daemon=True)
        thread.start()
        assert server.request("GET", "/api/version")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 0
        thread.join(PATIENCE_S)
    finally:
        server.close()


def _ignored(server: Server, body: dict[str, Any]) -> None:
    try:
        server.request("POST", "/api/chat", body)
    except OSError:
        return  # the server has gone
