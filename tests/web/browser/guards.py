"""What no spec may cause: a request to another origin, a script of a text that ran or was stopped, an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Error, Request

# Runs before every script of the page. `pwned` is what hostile strings call, in any of the usual ways.
_WATCH = """
(() => {
  const report = (text) => window.corralReport(String(text));
  addEventListener("securitypolicyviolation", (event) =>
    report(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
  for (const name of ["pwned", "alert", "confirm", "prompt", "print"]) {
    const value = (what) => report(`a script ran: ${name} ${what}`);
    Object.defineProperty(window, name, { value, writable: false });
  }
})();
"""


@dataclass
class Guards:
    """`found` has to stay empty. What a spec causes on purpose is named in `allowed`, as a part of the text."""

    origin: str
    found: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.expose_function("corralReport", self.report)
        context.add_init_script(_WATCH)
        context.on("request", self._request)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.report(f"error in the page: {_stack(error.error)}"))

    def report(self, text: str) -> None:
        self.found.append(text)

    def check(self) -> None:
        bad = [each for each in self.found if not any(part in each for part in self.allowed)]
        assert not bad, "\n".join(bad)

    def _request(self, request: Request) -> None:
        """Redirects too. Nothing reaches another host: Chromium resolves no name (chromium.py)."""
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and f"{url.scheme}://{url.netloc}" != self.origin:
            self.report(f"another origin: {request.url}")

    def _console(self, message: ConsoleMessage) -> None:
        of_a_call = (
            message.text.startswith("Failed to load resource") and "/ui/" not in message.location["url"]
        )
        if message.type in ("error", "warning") and not of_a_call:
            self.report(f"console: {message.text}")


def _stack(error: Error) -> Any:
    return error.stack or error.message
