"""Files in messages: images, audio and texts, by the paper clip, paste and drop."""

from __future__ import annotations

import io
import math
import struct
import wave
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.make_tiny_projector import make_audio_projector, make_projector
from tests.conftest import FIXTURES, PLAIN_TEMPLATE, Server
from tests.web.browser.conftest import Opens
from tests.web.browser.stage import Pause, Script, Stage, chat_of, of_json, show_of
from tests.web.browser.talk import Talk


@pytest.fixture
def staged(opens: Opens, stage: Stage) -> Talk:
    shown: Talk = opens(stage.base, kind=Talk)
    return shown


def test_text_file_is_quoted_in_the_message(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", chat_of("read"))
    file = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"line ``` one\n"}
    staged.page.locator('.composer input[type="file"]').set_input_files(file)
    staged.page.locator(".composer").get_by_text("notes.txt").wait_for()
    staged.ask("what is in it?")
    content = stage.bodies("/api/chat")[0]["messages"][0]["content"]
    assert "notes.txt" in content and "line ``` one" in content and content.endswith("what is in it?")
    assert "````" in content, "the fence is longer than the one in the file"


def png(width: int = 1, height: int = 1) -> bytes:
    """A red image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\xff\0\0" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PIXEL = png()


def test_image_by_file_is_shown_and_sent(opens: Opens, stage: Stage) -> None:
    stage.play("/api/show", show_of("vision"))
    stage.play("/api/chat", chat_of("a dot"))
    staged = opens(stage.base, kind=Talk)
    file = {"name": "dot.png", "mimeType": "image/png", "buffer": PIXEL}
    staged.page.locator('.composer input[type="file"]').set_input_files(file)
    staged.page.locator(".composer img").wait_for()
    staged.ask("what is it?")
    assert len(stage.bodies("/api/chat")[0]["messages"][0]["images"]) == 1
    staged.reload()
    staged.questions.first.locator("img").wait_for()
    staged.press("Open dot.png")
    staged.dialog().locator("img").wait_for()


def paste(staged: Talk) -> None:
    staged.composer.evaluate(
        """(field, bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "pasted.png", { type: "image/png" }));
            const how = { clipboardData: data, bubbles: true, cancelable: true };
            field.dispatchEvent(new ClipboardEvent("paste", how));
        }""",
        list(PIXEL),
    )


def late(wait: Pause, script: Script) -> Script:
    return Script([wait, *script.pieces], headers=script.headers)


def test_image_by_paste_and_removed_again(opens: Opens, stage: Stage) -> None:
    stage.play("/api/show", show_of("vision"))
    staged = opens(stage.base, kind=Talk)
    paste(staged)
    staged.page.locator(".composer img").wait_for()
    staged.press("Remove pasted.png")
    staged.page.locator(".composer img").wait_for(state="detached")


def test_image_pasted_before_the_model_is_known_is_kept(opens: Opens, stage: Stage) -> None:
    """A reader may be faster than the server: the image waits for what the model can do, and so does the message."""
    wait = stage.pause()
    stage.play("/api/show", late(wait, show_of("vision")))
    stage.play("/api/chat", chat_of("a dot"))
    staged = opens(stage.base, kind=Talk)
    paste(staged)
    staged.page.locator(".composer img").wait_for()
    staged.composer.fill("what is it?")
    staged.composer.press("Enter")
    assert staged.composer.input_value() == "what is it?" and staged.button("Send").is_disabled()
    wait.go_on()
    staged.can_send()
    staged.composer.press("Enter")
    staged.is_answered(0)
    assert len(stage.bodies("/api/chat")[0]["messages"][0]["images"]) == 1


def test_image_that_the_model_turns_out_not_to_see(opens: Opens, stage: Stage) -> None:
    wait = stage.pause()
    stage.play("/api/show", late(wait, show_of()))
    stage.play("/api/chat", chat_of("words"))
    staged = opens(stage.base, kind=Talk)
    paste(staged)
    staged.page.locator(".composer img").wait_for()
    wait.go_on()
    staged.page.locator(".composer").get_by_text("does not see images").wait_for()
    assert staged.page.locator(".composer img").is_visible() and staged.button("Send").is_disabled()
    staged.press("Remove pasted.png")
    staged.page.locator(".composer").get_by_text("does not see images").wait_for(state="detached")
    staged.ask("only words")
    assert "images" not in stage.bodies("/api/chat")[0]["messages"][0]


def test_image_waits_for_a_model_that_sees(opens: Opens, stage: Stage) -> None:
    stage.play("/api/show", lambda asked: show_of(*["vision"] * asked.json["model"].startswith("say")))
    stage.play("/api/chat", chat_of("a dot"))
    staged = opens(stage.base, kind=Talk)
    staged.chooses("tiny")
    paste(staged)
    staged.sees("tiny does not see images")
    staged.chooses("say")
    staged.ask("")
    (body,) = stage.bodies("/api/chat")
    assert body["model"].startswith("say") and len(body["messages"][0]["images"]) == 1


def test_image_is_sent_where_the_server_does_not_say_what_the_model_can_do(
    opens: Opens, stage: Stage
) -> None:
    stage.play("/api/show", of_json({"error": "broken"}, 500))
    stage.play("/api/chat", chat_of("a dot"))
    staged = opens(stage.base, kind=Talk)
    paste(staged)
    staged.page.locator(".composer img").wait_for()
    staged.ask("what is it?")
    assert len(stage.bodies("/api/chat")[0]["messages"][0]["images"]) == 1


def test_files_wait_while_another_page_is_looked_at(opens: Opens, stage: Stage) -> None:
    stage.play("/api/show", show_of("vision"))
    staged = opens(stage.base, kind=Talk)
    paste(staged)
    staged.page.locator(".composer img").wait_for()
    staged.go("settings")
    staged.go("chat")
    staged.page.locator(".composer img").wait_for()


def test_files_by_drop(staged: Talk) -> None:
    staged.page.locator(".dropzone").evaluate(
        """(zone) => {
            const data = new DataTransfer();
            data.items.add(new File(["dropped text"], "drop.md", { type: "text/markdown" }));
            for (const type of ["dragenter", "dragover", "drop"]) {
                zone.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
            }
        }"""
    )
    staged.page.locator(".composer").get_by_text("drop.md").wait_for()


def test_image_for_a_blind_model_is_refused(staged: Talk) -> None:
    staged.chooses("tiny")
    file = {"name": "dot.png", "mimeType": "image/png", "buffer": PIXEL}
    staged.page.locator('.composer input[type="file"]').set_input_files(file)
    staged.sees("tiny does not see images")


def test_unreadable_file_is_refused(staged: Talk) -> None:
    file = {"name": "program.bin", "mimeType": "application/octet-stream", "buffer": bytes(range(256))}
    staged.page.locator('.composer input[type="file"]').set_input_files(file)
    staged.sees("program.bin is not an image, a text file or audio")


def tone() -> bytes:
    """A second of sound as WAV."""
    samples = [round(9000 * math.sin(number / 6)) for number in range(16_000)]
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return data.getvalue()


@pytest.mark.parametrize(
    ("make", "file"),
    [
        (make_projector, {"name": "dot.png", "mimeType": "image/png", "buffer": png(28, 28)}),
        (make_audio_projector, {"name": "tone.wav", "mimeType": "audio/wav", "buffer": tone()}),
    ],
    ids=["image", "audio"],
)
def test_real_model_takes_it(
    opens: Opens, server: Server, tmp_path: Path, make: Callable[[Path, Path], None], file: dict[str, Any]
) -> None:
    """From the clip to the engine, whose projector makes tokens of it, and back."""
    make(FIXTURES / "say.gguf", tmp_path / "projector.gguf")
    files = {
        "say.gguf": server.upload(FIXTURES / "say.gguf"),
        "projector.gguf": server.upload(tmp_path / "projector.gguf"),
    }
    order = {"model": "senses", "files": files, "template": PLAIN_TEMPLATE, "parameters": {"temperature": 0}}
    server.post("/api/create", {**order, "stream": False})
    try:
        talk: Talk = opens(server.base, kind=Talk)
        talk.chooses("senses")
        assert talk.ask("now A") != ""
        talk.page.get_by_role("link", name="New chat").click()
        talk.page.locator('.composer input[type="file"]').set_input_files(file)
        talk.page.locator(".composer .attachments li").wait_for()
        assert talk.ask("now A") != ""
        talk.questions.first.locator(".attachments img, .attachments audio").wait_for()
        answers = [each for each in talk.stored()["messages"] if each["role"] == "assistant"]
        without, with_it = sorted(each["stats"]["promptTokens"] for each in answers)
        assert with_it > without + 1, "it became tokens"
    finally:
        server.request("DELETE", "/api/delete", {"model": "senses"})
