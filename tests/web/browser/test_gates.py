"""What holds on every page: accessibility, narrow screens, names of controls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Server
from tests.web.browser.conftest import Opens, give_up
from tests.web.browser.places import AXE, addresses
from tests.web.browser.screen import Screen
from tests.web.browser.stage import Stage, chat_of, of_json
from tests.web.browser.talk import Talk

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PHONE = {"width": 390, "height": 844}
WIDE = {"width": 1600, "height": 1000}
NARROWEST_PX = 320


def violations(screen: Screen) -> list[str]:
    """What axe finds in what is shown now: rule and elements."""
    if not AXE.exists():
        give_up("axe-core is not installed (npm ci --prefix web)")
    if not screen.evaluate("() => 'axe' in window"):
        screen.evaluate(f"() => {{ {AXE.read_text()} }}")
    found: list[dict[str, Any]] = screen.evaluate(
        "rules => axe.run(document, { runOnly: rules, resultTypes: ['violations'] }).then((r) => r.violations)",
        RULES,
    )
    return [
        f"{rule['id']}: {json.dumps(node['target'])} {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, WIDE], ids=["phone", "wide"])
def test_axe_finds_nothing(opens: Opens, server: Server, scheme: str, viewport: dict[str, int]) -> None:
    screen = opens(server.base, color_scheme=scheme, viewport=viewport, reduced_motion="reduce")
    found = {}
    for place in addresses():
        screen.go(place)
        if bad := violations(screen):
            found[place] = bad
    screen.page.keyboard.press("?")
    screen.dialog().wait_for()
    if bad := violations(screen):
        found["help"] = bad
    assert not found, json.dumps(found, indent=1)


ANSWER = (
    "# A title\n\nA [link](https://example.com/) and `code`.\n\n"
    "```python\nprint('x')  # a comment\n```\n\n"
    "| a | b |\n|---|--:|\n| 1 | 2 |\n\n- [x] done\n\n> quoted\n\n$$x^2$$\n"
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_a_chat(opens: Opens, stage: Stage, scheme: str) -> None:
    stage.play("/api/chat", chat_of(ANSWER, thinking="well"))
    talk: Talk = opens(stage.base, kind=Talk, color_scheme=scheme, viewport=PHONE)
    talk.ask("show me")
    talk.answer().get_by_role("button", name="Thought").click()
    talk.answer().locator("math").first.wait_for()
    stage.play("/api/chat", of_json({"error": "it broke", "hint": "try again"}, 500))
    talk.say("and now?")
    talk.answer().get_by_text("This answer failed").wait_for()
    assert not (found := violations(talk)), "\n".join(found)
    assert too_wide(talk) == []
    talk.settings()
    assert not (found := violations(talk)), "\n".join(found)


def too_wide(screen: Screen) -> list[str]:
    """What reaches beyond the sides of the screen without a box of its own that scrolls."""
    found: list[str] = screen.evaluate(
        """() => {
            const width = document.documentElement.clientWidth;
            const scrolls = (each) => {
                for (let box = each.parentElement; box; box = box.parentElement) {
                    if (getComputedStyle(box).overflowX !== "visible") return true;
                }
                return false;
            };
            const name = (each) => `${each.tagName}.${each.className} ${each.scrollWidth}`;
            const inner = document.querySelectorAll("main, main .page, main .page-inner");
            const boxes = [document.documentElement, ...inner];
            const out = boxes.filter((each) => each.scrollWidth > each.clientWidth + 1).map(name);
            for (const each of document.querySelectorAll("main *")) {
                const box = each.getBoundingClientRect();
                const isShown = box.width > 1 && box.height > 1 && getComputedStyle(each).visibility === "visible";
                if (isShown && (box.right > width + 1 || box.left < -1) && !scrolls(each)) {
                    out.push(`${each.tagName}.${each.className} ${box.left}-${box.right}`);
                }
            }
            return out;
        }"""
    )
    return found


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_narrow_screens_do_not_scroll_sideways(opens: Opens, server: Server, direction: str) -> None:
    screen = opens(server.base, viewport={"width": NARROWEST_PX, "height": 640})
    screen.evaluate("direction => { document.documentElement.dir = direction }", direction)
    found = {}
    for place in addresses():
        screen.go(place)
        if bad := too_wide(screen):
            found[place] = bad
    assert not found, json.dumps(found, indent=1)


def test_texts_of_200_percent_fit(opens: Opens, server: Server) -> None:
    """Who reads with large letters loses nothing (WCAG 1.4.4, 1.4.10)."""
    screen = opens(server.base, viewport={"width": 640, "height": 800})
    screen.evaluate("() => { document.documentElement.style.fontSize = '200%' }")
    found = {}
    for place in addresses():
        screen.go(place)
        if bad := too_wide(screen):
            found[place] = bad
    assert not found, json.dumps(found, indent=1)
