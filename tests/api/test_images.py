"""Pictures, through a real engine with a real (random) projector: they change the answer, or the error is clear."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from scripts.make_tiny_projector import make_projector
from tests.conftest import FIXTURES, Server

TEMPLATE = "{{ range .Messages }}{{ .Content }}{{ end }}"


@pytest.fixture(scope="module")
def vision(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a vision model `v`, the same on the Jinja path `j`, and a text model `t`."""
    projector = tmp_path_factory.mktemp("vision") / "projector.gguf"
    make_projector(FIXTURES / "tiny.gguf", projector)
    server = Server()
    try:
        files = {"tiny.gguf": server.upload(FIXTURES / "tiny.gguf"), "p.gguf": server.upload(projector)}
        server.post("/api/create", {"model": "v", "files": files, "stream": False, "template": TEMPLATE})
        server.post("/api/create", {"model": "j", "files": files, "stream": False})
        server.create("t", "tiny", template=TEMPLATE)
        yield server
    finally:
        server.close()


def picture(color: str, form: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (40, 30), color).save(data, form)
    return data.getvalue()


def ask(
    server: Server, model: str, *images: bytes, content: str = "what [img] is"
) -> tuple[int, dict[str, Any]]:
    message = {"role": "user", "content": content, "images": [base64.b64encode(i).decode() for i in images]}
    options = {"temperature": 0, "num_predict": 12}
    body = {"model": model, "messages": [message], "stream": False, "options": options, "logprobs": True}
    status, data = server.request("POST", "/api/chat", body)
    return status, json.loads(data)


def logprobs(answer: dict[str, Any]) -> list[float]:
    return [entry["logprob"] for entry in answer["logprobs"]]


@pytest.mark.parametrize("model", ["v", "j"])
def test_the_engine_sees_pictures(vision: Server, model: str) -> None:
    """The same picture gives the same, another one something else, two cost more than one."""
    status, red = ask(vision, model, picture("red"))
    assert status == 200, red
    _, again = ask(vision, model, picture("red"))
    _, blue = ask(vision, model, picture("blue"))
    _, both = ask(vision, model, picture("red"), picture("blue"))
    assert logprobs(again) == pytest.approx(logprobs(red), abs=1e-3)
    assert logprobs(blue) != pytest.approx(logprobs(red), abs=1e-3)
    assert both["prompt_eval_count"] > red["prompt_eval_count"]


@pytest.mark.parametrize("form", ["JPEG", "GIF", "BMP", "WEBP"])
def test_kinds_of_pictures(vision: Server, form: str) -> None:
    """All that Ollama takes, WebP among them."""
    status, answer = ask(vision, "v", picture("red", form))
    assert status == 200, answer


def test_generate_takes_pictures_too(vision: Server) -> None:
    """The older route, streamed."""
    image = base64.b64encode(picture("red")).decode()
    body = {
        "model": "v",
        "prompt": "what",
        "images": [image],
        "options": {"num_predict": 3, "temperature": 0},
    }
    assert vision.stream("/api/generate", body)[-1]["done"]


def test_a_text_model_refuses(vision: Server) -> None:
    """In the engine's words, as recorded."""
    status, answer = ask(vision, "t", picture("red"))
    assert status == 400
    assert "Multimodal data provided, but model does not support multimodal requests." in answer["error"]
    assert "vision" in vision.post("/api/show", {"model": "v"})["capabilities"]
    assert "vision" not in vision.post("/api/show", {"model": "t"})["capabilities"]


@pytest.mark.parametrize(
    "data", [b"nothing", picture("red")[:50], picture("red", "WEBP")[:40], b"RIFF0000WEBP"]
)
def test_a_bad_picture_is_refused(vision: Server, data: bytes) -> None:
    """400 and a reason; the model still serves."""
    status, answer = ask(vision, "v", data)
    assert status == 400
    assert "image" in answer["error"]
    assert ask(vision, "v", picture("red"))[0] == 200


def test_a_picture_may_not_claim_gigabytes(vision: Server) -> None:
    """A few bytes that say 60,000 by 60,000."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for side in (12_000, 60_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        data = (
            b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
        )
        status, answer = ask(vision, "v", data)
        assert (status, "too large" in answer["error"]) == (400, True)


def test_data_urls_and_bad_base64_are_refused_as_recorded(vision: Server) -> None:
    """The native API takes bare base64 only."""
    for text, position in (("data:image/png;base64,AAAA", 4), ("!!!!", 0)):
        body = {"model": "v", "messages": [{"role": "user", "content": "x", "images": [text]}]}
        status, data = vision.request("POST", "/api/chat", body)
        assert (status, json.loads(data)["error"]) == (400, f"illegal base64 data at input byte {position}")


def test_a_prompt_may_end_with_a_picture(vision: Server) -> None:
    """Which the engine alone does not survive."""
    children = vision.children()
    for content in ("a [img]", "[img]", "[img-7] [img]"):
        status, answer = ask(vision, "v", picture("red"), content=content)
        assert status == 200, answer
    assert vision.children() == children


def test_text_cannot_pose_as_a_picture(vision: Server) -> None:
    """The engine's marker is unknown to clients; tags without a picture stay text."""
    status, answer = ask(vision, "v", picture("red"), content="<__media__> [img-7] [img]")
    assert status == 200, (answer, vision.log[-12:])
