"""The page as a reader uses it: by names, roles and texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

# The stage may hold requests open, so a load never waits for the network to be still.
_SHOWN = "#app main > *"


class Screen:
    """A tab with the page of a server."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base

    @classmethod
    def opened(cls, page: Page, base: str, place: str = "") -> Self:
        screen = cls(page, base)
        screen.open(place)
        return screen

    def open(self, place: str = "") -> None:
        """Go to an address like `models` or `models/tiny`, by loading the page."""
        self.page.goto(f"{self.base}/ui/{f'#/{place}' if place else ''}")
        self.is_up()

    def is_up(self) -> None:
        self.page.locator(_SHOWN).first.wait_for()
        self.page.wait_for_function("() => !document.querySelector('main .skeletons')")

    def go(self, place: str) -> None:
        """The same within the page, as a link does."""
        self.page.evaluate("place => { location.hash = `#/${place}` }", place)
        self.page.wait_for_function("place => location.hash === `#/${place}`", arg=place)
        self.is_up()

    def reload(self) -> None:
        self.page.reload()
        self.is_up()

    def button(self, name: str, *, exact: bool = True) -> Locator:
        return self.page.get_by_role("button", name=name, exact=exact)

    def press(self, name: str) -> None:
        self.button(name).click()

    def field(self, label: str) -> Locator:
        return self.page.get_by_label(label, exact=True)

    def heading(self, name: str) -> Locator:
        return self.page.get_by_role("heading", name=name, exact=True)

    def text(self, text: str) -> Locator:
        return self.page.get_by_text(text)

    def sees(self, text: str) -> None:
        """Wait until a text is shown."""
        self.text(text).first.wait_for()

    def until(self, holds: Callable[[], object], what: str = "it never came to that") -> None:
        """Wait for something outside of the page; `wait_until` would hold the driver's own messages back."""

        def looks() -> object:
            self.page.wait_for_timeout(10)
            return holds()

        wait_until(looks, what)

    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    def keys(self, *names: str) -> None:
        for name in names:
            self.page.keyboard.press(name)

    def evaluate(self, script: str, value: Any = None) -> Any:
        return self.page.evaluate(script, value)
