"""The frame around the pages: navigation, themes, languages, narrow screens, keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import Server
from tests.waiting import wait_until
from tests.web.browser.conftest import Opens
from tests.web.browser.screen import Screen
from tests.web.browser.stage import Stage, of_json

if TYPE_CHECKING:
    from playwright.sync_api import Locator

BACKGROUND = "() => getComputedStyle(document.documentElement).backgroundColor"


def has_focus(locator: Locator) -> bool:
    return bool(locator.evaluate("element => element === document.activeElement"))


def test_title_names_the_page(screen: Screen) -> None:
    screen.go("settings")
    assert screen.page.title() == "Settings · Corral"


def test_version_of_the_server_is_shown(screen: Screen) -> None:
    screen.page.get_by_role("status").get_by_text("Corral ", exact=False).first.wait_for()


def test_unknown_address_leads_back(screen: Screen) -> None:
    screen.go("no-such-page")
    assert screen.heading("There is no such page").is_visible()
    screen.press("Go to the chats")
    screen.heading("There is no such page").wait_for(state="detached")


def test_address_with_broken_escapes_is_a_page(screen: Screen) -> None:
    """Whatever follows the #, the page stays."""
    screen.open("%E0%A4%A/%")
    assert screen.heading("There is no such page").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_theme_follows_the_system(opens: Opens, server: Server, scheme: str) -> None:
    screen = opens(server.base, color_scheme=scheme)
    other = opens(server.base, color_scheme="dark" if scheme == "light" else "light")
    assert screen.evaluate(BACKGROUND) != other.evaluate(BACKGROUND)


def test_chosen_theme_wins_and_stays(opens: Opens, server: Server) -> None:
    screen = opens(server.base, "settings", color_scheme="light")
    light = screen.evaluate(BACKGROUND)
    screen.page.get_by_role("radio", name="Dark").click()
    assert screen.evaluate(BACKGROUND) != light
    screen.reload()
    assert screen.evaluate(BACKGROUND) != light
    assert screen.page.get_by_role("radio", name="Dark").get_attribute("aria-checked") == "true"


def test_theme_button_of_the_sidebar(opens: Opens, server: Server) -> None:
    screen = opens(server.base, color_scheme="light")
    light = screen.evaluate(BACKGROUND)
    screen.press("Switch to the dark theme")
    assert screen.evaluate(BACKGROUND) != light
    screen.press("Switch to the light theme")
    assert screen.evaluate(BACKGROUND) == light


def test_german_by_choice_and_it_stays(screen: Screen) -> None:
    screen.go("settings")
    screen.field("Language").select_option("de")
    screen.heading("Einstellungen").wait_for()
    assert screen.evaluate("() => document.documentElement.lang") == "de"
    screen.reload()
    assert screen.heading("Einstellungen").is_visible()


def test_german_browsers_get_german(opens: Opens, server: Server) -> None:
    screen = opens(server.base, "settings", locale="de-AT")
    assert screen.heading("Einstellungen").is_visible()


def test_other_languages_get_english(opens: Opens, server: Server) -> None:
    screen = opens(server.base, "settings", locale="fr-FR")
    assert screen.heading("Settings").is_visible()


def test_keys_lead_to_every_page(screen: Screen) -> None:
    screen.page.goto("about:blank")
    screen.open("settings")  # the page of chats has the focus in its field
    screen.keys("g", "m")
    screen.heading("Models").wait_for()
    screen.keys("g", "s")
    screen.heading("Settings").wait_for()


def test_help_lists_the_shortcuts(screen: Screen) -> None:
    screen.page.goto("about:blank")
    screen.open("settings")
    screen.page.keyboard.press("?")
    dialog = screen.dialog()
    dialog.get_by_text("Show or hide the sidebar").wait_for()
    screen.keys("Escape")
    dialog.wait_for(state="detached")


def test_first_tab_stop_skips_the_navigation(screen: Screen) -> None:
    screen.page.goto("about:blank")
    screen.open("settings")
    screen.keys("Tab")
    skip = screen.page.get_by_role("link", name="Skip to the content")
    assert has_focus(skip)
    screen.keys("Enter")
    assert has_focus(screen.page.locator("#main"))


def test_dialog_keeps_and_returns_the_focus(screen: Screen) -> None:
    opener = screen.button("Keyboard shortcuts")
    opener.focus()
    screen.keys("Enter")
    screen.dialog().wait_for()
    for _ in range(4):
        screen.keys("Tab")
        assert screen.evaluate(
            "() => document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    screen.keys("Escape")
    screen.dialog().wait_for(state="detached")
    wait_until(lambda: has_focus(opener))


def test_sidebar_folds_and_stays_folded(screen: Screen) -> None:
    screen.keys("Control+b")
    folded = "() => document.querySelector('.shell').hasAttribute('data-folded')"
    wait_until(lambda: screen.evaluate(folded))
    screen.reload()
    assert screen.evaluate(folded)
    screen.keys("Control+b")
    wait_until(lambda: not screen.evaluate(folded))


def test_drawer_of_a_phone(opens: Opens, server: Server) -> None:
    screen = opens(server.base, viewport={"width": 390, "height": 844})
    screen.press("Open the menu")
    screen.page.get_by_role("link", name="Settings").click()
    screen.heading("Settings").wait_for()
    open_drawer = "() => document.querySelector('.shell').hasAttribute('data-drawer')"
    wait_until(lambda: not screen.evaluate(open_drawer))
    screen.press("Open the menu")
    screen.keys("Escape")
    wait_until(lambda: not screen.evaluate(open_drawer))


def test_closed_drawer_is_not_in_the_tab_order(opens: Opens, server: Server) -> None:
    screen = opens(server.base, "settings", viewport={"width": 390, "height": 844})
    for _ in range(6):
        screen.keys("Tab")
        assert not screen.evaluate("() => !!document.activeElement.closest('.sidebar')")


def test_reduced_motion_moves_nothing(opens: Opens, server: Server) -> None:
    screen = opens(server.base, "settings", reduced_motion="reduce")
    screen.keys("Control+b", "Control+b")
    longest = screen.evaluate(
        """() => Math.max(0, ...document.getAnimations().map(
            (each) => Number(each.effect.getComputedTiming().activeDuration) || 0))"""
    )
    assert longest <= 1, "milliseconds"
    durations = screen.evaluate(
        """() => [...document.querySelectorAll('*')].flatMap((each) =>
            getComputedStyle(each).transitionDuration.split(',').map(parseFloat))"""
    )
    assert max(durations) <= 0.001, "seconds"


def test_right_to_left_turns_the_page(screen: Screen) -> None:
    """No text is Arabic or Hebrew yet; the layout must be ready."""
    screen.go("settings")
    at = "() => { const b = document.querySelector('.sidebar').getBoundingClientRect(); return [b.left, b.right] }"
    assert screen.evaluate(at)[0] == 0
    screen.evaluate("() => { document.documentElement.dir = 'rtl' }")
    assert screen.evaluate(at)[1] == 1280
    wide = "() => document.documentElement.scrollWidth <= innerWidth"
    assert screen.evaluate(wide)


def test_server_that_goes_away_is_reported(staged: Screen, stage: Stage) -> None:
    """And the page finds it again by itself."""
    staged.page.get_by_role("status").get_by_text("Corral ").first.wait_for()
    staged.page.context.set_offline(True)
    staged.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    staged.page.get_by_text("Not connected").wait_for()
    staged.page.context.set_offline(False)
    staged.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    staged.page.get_by_text("Not connected").wait_for(state="detached")


def test_server_that_answers_nonsense_is_reported(opens: Opens, stage: Stage) -> None:
    stage.play("/api/version", of_json({"error": "out of order"}, status=500), method="GET")
    staged = opens(stage.base)
    staged.page.get_by_text("Not connected").wait_for()


def test_root_sends_browsers_to_the_page(screen: Screen, server: Server) -> None:
    screen.page.goto(server.base)
    screen.page.wait_for_url("**/ui/")
    screen.is_up()


def test_page_has_no_cookies_and_no_service_worker(screen: Screen) -> None:
    screen.go("settings")
    assert screen.page.context.cookies() == []
    assert (
        screen.evaluate("async () => (await navigator.serviceWorker?.getRegistrations() ?? []).length") == 0
    )
