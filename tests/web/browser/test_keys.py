"""A server that asks for keys: the page asks the reader once, tries again, and keeps the key in this tab alone."""

from __future__ import annotations

from tests.access.conftest import KeyedServer
from tests.waiting import wait_until
from tests.web.browser.conftest import Opens
from tests.web.browser.screen import Screen


class Locked(Screen):
    """A page that waits for a key shows nothing of the server yet."""

    def is_up(self) -> None:
        self.page.locator("#app main > *").first.wait_for()


def enter(screen: Screen, key: str) -> None:
    screen.field("Key").fill(key)
    screen.press("Use this key")


def asks(screen: Screen) -> Screen:
    """The server asks for a key at the first call."""
    screen.page.get_by_text("This server asks for an API key.").wait_for()
    return screen


def connected(screen: Screen) -> None:
    screen.page.get_by_role("status").get_by_text("Corral ").first.wait_for()


def test_asked_once_then_everything_works(opens: Opens, keyed_server: KeyedServer) -> None:
    screen = asks(opens(keyed_server.base, kind=Locked))
    enter(screen, keyed_server.texts["admin"])
    screen.dialog().wait_for(state="detached")
    connected(screen)


def test_wrong_key_is_refused_and_asked_again(opens: Opens, keyed_server: KeyedServer) -> None:
    screen = asks(opens(keyed_server.base, kind=Locked))
    enter(screen, "ck_wrong")
    screen.page.get_by_text("The server refused this key.").wait_for()
    enter(screen, keyed_server.texts["admin"])
    screen.dialog().wait_for(state="detached")
    connected(screen)


def test_revoked_key_is_refused(opens: Opens, keyed_server: KeyedServer) -> None:
    screen = asks(opens(keyed_server.base, kind=Locked))
    enter(screen, keyed_server.texts["revoked"])
    screen.page.get_by_text("The server refused this key.").wait_for()


def test_blanks_around_a_key_do_not_matter(opens: Opens, keyed_server: KeyedServer) -> None:
    screen = asks(opens(keyed_server.base, kind=Locked))
    enter(screen, f"  {keyed_server.texts['admin']}\n")
    screen.dialog().wait_for(state="detached")
    connected(screen)


def test_key_is_in_the_session_alone(opens: Opens, keyed_server: KeyedServer) -> None:
    key = keyed_server.texts["admin"]
    screen = asks(opens(keyed_server.base, kind=Locked))
    enter(screen, key)
    connected(screen)
    places = screen.evaluate(
        """async () => {
            const bases = [];
            for (const { name } of await indexedDB.databases()) {
                const base = await new Promise((done) => {
                    indexedDB.open(name).onsuccess = (e) => done(e.target.result) });
                for (const store of base.objectStoreNames) {
                    const all = base.transaction(store).objectStore(store).getAll();
                    bases.push(await new Promise((done) => { all.onsuccess = () => done(all.result) }));
                }
                base.close();
            }
            return {
                session: JSON.stringify(sessionStorage), local: JSON.stringify(localStorage),
                cookie: document.cookie, address: location.href, bases: JSON.stringify(bases),
                caches: JSON.stringify(await caches.keys()), html: document.documentElement.outerHTML,
            };
        }"""
    )
    assert key in places.pop("session")
    assert [name for name, text in places.items() if key in text] == []


def test_reload_keeps_the_key_and_a_new_tab_asks(opens: Opens, keyed_server: KeyedServer) -> None:
    screen = asks(opens(keyed_server.base, kind=Locked))
    enter(screen, keyed_server.texts["admin"])
    connected(screen)
    screen.reload()
    connected(screen)
    other = Locked.opened(screen.page.context.new_page(), keyed_server.base)
    asks(other)


def test_forgotten_key_is_gone(opens: Opens, keyed_server: KeyedServer) -> None:
    screen = asks(opens(keyed_server.base, kind=Locked))
    enter(screen, keyed_server.texts["admin"])
    connected(screen)
    screen.go("settings")
    ending = keyed_server.texts["admin"][-4:]
    screen.sees(f"A key that ends in {ending} is sent")
    screen.press("Forget the key")
    assert screen.evaluate(
        "() => sessionStorage.length === 0 || !JSON.stringify(sessionStorage).includes('ck_')"
    )
    asks(screen)


def test_dialog_that_is_closed_leaves_the_refusal(opens: Opens, keyed_server: KeyedServer) -> None:
    screen = asks(opens(keyed_server.base, kind=Locked))
    screen.keys("Escape")
    screen.dialog().wait_for(state="detached")
    assert screen.page.locator("main").get_by_role("alert").inner_text() != ""
    screen.press("Try again")
    asks(screen)


def test_key_can_be_looked_at(opens: Opens, keyed_server: KeyedServer) -> None:
    screen = asks(opens(keyed_server.base, kind=Locked))
    field = screen.field("Key")
    assert field.get_attribute("type") == "password"
    assert field.get_attribute("autocomplete") == "off"
    screen.press("Show the key")
    wait_until(lambda: field.get_attribute("type") == "text")
