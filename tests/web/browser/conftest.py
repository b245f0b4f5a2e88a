"""One Chromium and one server for all specs of the page, and a fresh browser profile for each.

`./dev browser` brings what is needed; without Chromium or Playwright the specs are skipped with that reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from tests.access.conftest import KeyedServer
from tests.conftest import Server
from tests.web.browser.chromium import ARGUMENTS, chromium_path
from tests.web.browser.guards import Guards
from tests.web.browser.screen import Screen
from tests.web.browser.stage import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext


def give_up(reason: str) -> None:
    """Skip, or fail where everything has to run."""
    if os.environ.get("CORRAL_TEST_BROWSER") == "required":
        pytest.fail(reason)
    pytest.skip(f"{reason}: ./dev browser brings what is missing")


@pytest.fixture(scope="package")
def chromium(process: None) -> Iterator[Browser]:
    """Ends with this folder: while it runs, other tests cannot use asyncio in this thread."""
    if find_spec("playwright") is None:
        give_up("Playwright is not installed")
    path = chromium_path()
    if path is None:
        give_up("there is no Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def stage_front(server: Server) -> Iterator[Stage]:
    stage = Stage(server)
    yield stage
    stage.close()


@pytest.fixture
def stage(stage_front: Stage) -> Iterator[Stage]:
    """A front of the shared server, for scripted answers."""
    stage_front.clear()
    yield stage_front
    stage_front.clear()


@pytest.fixture(scope="package")
def keyed_server(process: None) -> Iterator[KeyedServer]:
    """A server that asks everybody for a key."""
    server = KeyedServer()
    try:
        server.create("tiny", "tiny")
        yield server
    finally:
        server.close()


# Ends what hangs; no spec depends on the speed of the machine.
PATIENCE_MS = float(os.environ.get("CORRAL_TEST_BROWSER_PATIENCE_MS", "60000"))
Profile = Callable[..., "BrowserContext"]


@pytest.fixture
def guards() -> Guards:
    return Guards("")


@pytest.fixture
def profile(chromium: Browser, guards: Guards) -> Iterator[Profile]:
    """Make fresh profiles for an origin; after the spec nothing may have been found in any of them."""
    made: list[BrowserContext] = []

    def make(origin: str, **options: Any) -> BrowserContext:
        guards.origin = origin
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(PATIENCE_MS)
        guards.watch(context)
        made.append(context)
        return context

    yield make
    for each in made:
        each.close()
    guards.check()


Opens = Callable[..., Any]


@pytest.fixture
def opens(profile: Profile) -> Opens:
    """Open the page of a server at an address, in a new profile."""

    def open_page(base: str, place: str = "", kind: type[Screen] = Screen, **options: Any) -> Any:
        return kind.opened(profile(base, **options).new_page(), base, place)

    return open_page


@pytest.fixture
def screen(opens: Opens, server: Server) -> Screen:
    """The page of the shared server, as a reader first sees it."""
    shown: Screen = opens(server.base)
    return shown


@pytest.fixture
def staged(opens: Opens, stage: Stage) -> Screen:
    """The same with the stage in front."""
    shown: Screen = opens(stage.base)
    return shown
