"""Screenshots of every page of the web page, in three widths and both themes, from a real server with corral-tiny.

python scripts/web_screenshots.py FOLDER [SCENE ...]

Needs Chromium and Playwright (./dev browser brings both). The server is started for it, with folders of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

import corral.assets

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SIZES = {390: 844, 1024: 768, 1600: 1000}
THEMES = ("light", "dark")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
CODE = "def double(value: int) -> int:\n    return 2 * value  # exactly"
ANSWER = f"""Here is what I found.

## A heading

A paragraph with **bold**, *italic*, `code` and a [link](https://example.com/).

```python
{CODE}
```

| model | size | tokens/s |
|---|--:|--:|
| tiny | 2.6 MB | 812 |
| small | 135 MB | 96 |

- one
- two, with $x^2 + 1$
- [x] three

$$\\int_0^1 x^2\\,dx = \\frac{{1}}{{3}}$$

> A quotation of somebody.
"""


def message(number: int, role: str, content: str, **more: Any) -> dict[str, Any]:
    parent = f"m{number - 1}" if number else None
    stats = {
        "perS": 93.4,
        "firstTokenMs": 240,
        "promptTokens": 812,
        "tokens": 411,
        "context": 4096,
        "reason": "stop",
    }
    return (
        {
            "id": f"m{number}",
            "parentId": parent,
            "role": role,
            "content": content,
            "model": "tiny",
            "state": "done",
        }
        | ({"stats": stats} if role == "assistant" else {})
        | more
    )


CALL = {
    "id": "c",
    "name": "get_weather",
    "arguments": {"city": "Graz"},
    "state": "done",
    "result": '{"sky": "clear"}',
}
TALK = [
    message(0, "user", "Compare the two models, please."),
    message(1, "assistant", ANSWER, thinking="The reader wants a table."),
    message(2, "user", "And the weather? مرحبا"),
    message(3, "assistant", "It is clear in Graz.", calls=[CALL]),
    message(4, "user", "Thanks!"),
    message(5, "assistant", "", state="failed", error="the engine ended", hint="Try a smaller context."),
]


def exported() -> bytes:
    chat = {
        "title": "Two models and the weather",
        "leaf": "m5",
        "settings": {"model": "tiny"},
        "isPinned": True,
    }
    others = [
        {
            "chat": {"title": title, "leaf": "m0", "settings": {"model": "tiny"}, "folder": folder},
            "messages": TALK[:1],
        }
        for title, folder in (
            ("Notes on tokenizers", ""),
            ("A very long title that does not fit into the list", "Work"),
        )
    ]
    return json.dumps(
        {"format": "corral-chats", "version": 1, "chats": [*others, {"chat": chat, "messages": TALK}]}
    ).encode()


class Shot:
    """A tab, and the few things that scenes do in it."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base

    def go(self, place: str = "") -> None:
        self.page.goto(f"{self.base}/ui/#/{place}")
        self.page.locator("#app main > *").first.wait_for()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).first.click()

    def fill(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=True).first.fill(text)

    def sees(self, selector: str) -> None:
        self.page.locator(selector).first.wait_for()

    def imported(self) -> None:
        self.go("settings")
        file = {"name": "chats.json", "mimeType": "application/json", "buffer": exported()}
        self.page.locator('main input[type="file"]').set_input_files(file)
        self.page.get_by_text("chats were imported").first.wait_for()
        self.page.locator(".toast button").first.click()
        self.go("chat")
        self.page.evaluate("() => document.querySelector('.chat-item a').click()")
        self.sees(".message")


def asked(shot: Shot) -> None:
    shot.go()
    shot.page.locator(".composer textarea").fill("Tell me about cats.")
    shot.page.get_by_role("button", name="Send").click()
    shot.sees(".figures")


def compared(shot: Shot) -> None:
    shot.go("compare")
    shot.sees(".lanes > li:nth-child(2)")
    shot.fill("Prompt", "Who are you?")
    shot.press("Ask all")
    shot.page.locator(".lanes").get_by_text("Tokens/s").nth(1).wait_for()


def created(shot: Shot) -> None:
    shot.go("models")
    shot.press("Create")
    shot.sees("dialog[open], [role=dialog]")


def completed(shot: Shot) -> None:
    shot.go("playground/completion")
    shot.fill("Prompt", "Once upon a time")
    shot.fill("Most tokens", "24")
    shot.press("Complete")
    shot.page.get_by_text("perplexity").first.wait_for()


def embedded(shot: Shot) -> None:
    shot.go("playground/embeddings")
    for number, text in enumerate(("cats", "dogs", "stars"), 1):
        shot.fill(f"Text {number}", text)
    shot.press("Compare")
    shot.sees(".matrix td, .notice")


def split(shot: Shot) -> None:
    shot.go("playground/tokens")
    shot.fill("Text", "The quick brown fox jumps over the lazy dog.")
    shot.press("Split")
    shot.sees(".piece")


def blind(shot: Shot) -> None:
    shot.go()
    shot.sees(".chat-welcome h1")
    png = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
    )
    file = {"name": "photo.png", "mimeType": "image/png", "buffer": png}
    shot.page.locator('.composer input[type="file"]').set_input_files(file)
    shot.sees(".attachments, .notice, .toast")


def place(name: str, selector: str = "main") -> Callable[[Shot], None]:
    def go(shot: Shot) -> None:
        shot.go(name)
        shot.sees(selector)

    return go


def drawer(shot: Shot) -> None:
    shot.imported()
    if shot.page.viewport_size and shot.page.viewport_size["width"] < 896:
        shot.press("Open the menu")
    shot.page.locator(".chat-item").first.wait_for()


def talked(shot: Shot) -> None:
    shot.imported()
    shot.page.locator(".chat-scroll").evaluate("(box) => { box.scrollTop = 0 }")


def searched(shot: Shot) -> None:
    shot.imported()
    shot.go("chat")
    shot.page.evaluate("() => document.activeElement.blur()")
    shot.page.keyboard.press("?")
    shot.sees(".shortcuts")


def chat_settings(shot: Shot) -> None:
    shot.go()
    shot.sees(".chat-welcome h1")
    shot.press("Settings of this chat")
    shot.page.get_by_role("dialog").wait_for()


def offline(shot: Shot) -> None:
    shot.go("models")
    shot.page.route("**/api/**", lambda route: route.abort())
    shot.page.reload()
    shot.sees(".notice")


SCENES: dict[str, Callable[[Shot], None]] = {
    "chat-welcome": place("", ".chat-welcome h1"),
    "chat-answer": asked,
    "chat-talk": talked,
    "chat-end": Shot.imported,
    "chat-list": drawer,
    "chat-settings": chat_settings,
    "chat-blind": blind,
    "shortcuts": searched,
    "compare": place("compare", ".lanes"),
    "compare-done": compared,
    "models": place("models", "table, .model-list, .page-inner li"),
    "model": place("models/tiny", ".facts, dl"),
    "model-create": created,
    "running": place("running", ".page-inner .card"),
    "playground-completion": completed,
    "playground-embeddings": embedded,
    "playground-rerank": place("playground/rerank", "textarea"),
    "playground-tokens": split,
    "admin-keys": place("admin/keys", ".page-inner > :nth-child(3)"),
    "admin-usage": place("admin/usage", ".usage-chart, .empty, .notice"),
    "admin-log": place("admin/log", ".log-lines"),
    "settings": place("settings", ".card"),
    "not-found": place("nowhere", ".empty"),
    "offline": offline,
}
# Before there is a model.
EMPTY_SCENES: dict[str, Callable[[Shot], None]] = {
    "empty-chat": place("", ".empty"),
    "empty-compare": place("compare", ".empty, .lanes"),
    "empty-models": place("models", ".empty"),
    "empty-running": place("running", ".page-inner"),
    "empty-embeddings": place("playground/embeddings"),
    "empty-usage": place("admin/usage", ".empty, .usage-chart, .notice"),
}


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """A server of our own, with its address."""
    folder = tempfile.mkdtemp(prefix="corral-screenshots-")
    env = {
        **{name: text for name, text in os.environ.items() if not name.startswith(("OLLAMA_", "CORRAL_"))},
        "OLLAMA_HOST": "127.0.0.1:0",
        "OLLAMA_MODELS": folder,
        "HOME": folder,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "corral.cli.main", "serve"], env=env, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        line = next(each for each in process.stderr if "listening" in each)
        yield "http://" + line.partition("http://")[2].split()[0]
    finally:
        process.terminate()
        process.stderr.close()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def post(base: str, path: str, data: bytes) -> None:
    urllib.request.urlopen(urllib.request.Request(base + path, data), timeout=120).read()


def create(base: str, file: Path, *names: str) -> None:
    data = file.read_bytes()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    post(base, f"/api/blobs/{digest}", data)
    for name in names:
        order = {"model": name, "files": {file.name: digest}, "stream": False}
        post(base, "/api/create", json.dumps(order).encode())


def take(browser: Browser, base: str, scenes: dict[str, Callable[[Shot], None]], folder: Path) -> None:
    for name, scene in scenes.items():
        for theme in THEMES:
            for width, height in SIZES.items():
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=theme, has_touch=width < 500
                )
                page = context.new_page()
                page.set_default_timeout(60_000)
                try:
                    scene(Shot(page, base))
                    page.wait_for_timeout(300)
                except Exception as error:
                    print(f"{name} {width} {theme}: {str(error).splitlines()[0]}", file=sys.stderr)
                page.evaluate("() => document.fonts.ready")
                page.screenshot(path=folder / f"{name}-{width}-{theme}.png", animations="disabled")
                context.close()


def main(folder: Path, wanted: list[str]) -> None:
    def chosen(scenes: dict[str, Callable[[Shot], None]]) -> dict[str, Callable[[Shot], None]]:
        return {name: each for name, each in scenes.items() if not wanted or name in wanted}

    folder.mkdir(parents=True, exist_ok=True)
    with serving() as base, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        take(browser, base, chosen(EMPTY_SCENES), folder)
        create(base, Path(__file__).parents[1] / "tests" / "fixtures" / "embed.gguf", "embed")
        tiny = Path(corral.assets.__file__).with_name("corral-tiny.gguf")
        create(base, tiny, "tiny", "library-of-somebody/tiny-with-a-long-name:q4_k_m")
        take(browser, base, chosen(SCENES), folder)
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
