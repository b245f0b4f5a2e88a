"""Screenshots of the built site in two widths and both themes, and proof that its pages ask nobody else.

python -m scripts.site.screenshots FOLDER [PAGE ...]

Needs the site (`./dev site`), Chromium and Playwright (`./dev browser` brings both).
"""

from __future__ import annotations

import functools
import http.server
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from scripts.site.__main__ import HTML

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SIZES = {390: 844, 1440: 900}
THEMES = ("light", "dark")
PAGES = (
    "index",
    "install",
    "from-ollama",
    "reference/native",
    "cli",
    "differences",
    "interoperability",
    "search",
)
_ARGUMENTS = ["--no-sandbox", "--disable-gpu"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Say nothing."""


def shoot(browser: Browser, base: str, page_name: str, folder: Path) -> list[str]:
    """Save four images of a page; the addresses elsewhere that it asked for."""
    elsewhere: list[str] = []
    for width, height in SIZES.items():
        for theme in THEMES:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
            page = context.new_page()
            page.on(
                "request",
                lambda request: elsewhere.append(request.url) if not _is_ours(request.url, base) else None,
            )
            query = "?q=keep_alive" if page_name == "search" else ""
            page.goto(f"{base}/{page_name}.html{query}", wait_until="networkidle")
            if page_name == "search":
                page.wait_for_selector("ul.search li")
            wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
            if wide:
                elsewhere.append(f"{page_name} is wider than {width}")
            name = f"{page_name.replace('/', '-')}-{width}-{theme}.png"
            page.screenshot(path=folder / name)
            context.close()
    return elsewhere


def _is_ours(url: str, base: str) -> bool:
    return url.startswith((base, "data:", "blob:"))


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    handler: Any = functools.partial(_Quiet, directory=HTML)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_ARGUMENTS)
        for page in sys.argv[2:] or PAGES:
            faults += shoot(browser, f"http://127.0.0.1:{server.server_port}", page, folder)
        browser.close()
    server.shutdown()
    for fault in sorted(set(faults)):
        print(f"not on our own: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
