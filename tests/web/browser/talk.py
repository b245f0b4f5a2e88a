"""The chat as its readers use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.web.browser.screen import Screen

if TYPE_CHECKING:
    from playwright.sync_api import Locator


class Talk(Screen):
    """The page of chats. Answers and questions are counted from 0, the last is -1."""

    @property
    def composer(self) -> Locator:
        return self.page.locator(".composer textarea")

    def chooses(self, model: str) -> None:
        """Take a model for this chat."""
        self.page.get_by_role("button", name="Model:").first.click()
        self.page.get_by_role("option").filter(has_text=model).first.click()

    def say(self, text: str) -> None:
        self.composer.fill(text)
        self.can_send()
        self.composer.press("Enter")

    def can_send(self) -> None:
        """Wait until the page knows the models, and nothing else is under way."""
        self.button("Send").click(trial=True)

    def ask(self, text: str) -> str:
        """Say something and wait for the whole answer; returns it as it is shown."""
        count = self.answers.count()
        self.say(text)
        return self.is_answered(count)

    def is_answered(self, index: int = -1) -> str:
        """Wait until the answer is there and no other is under way."""
        if index >= 0:
            self.answers.nth(index).wait_for()
        self.button("Stop").wait_for(state="detached")
        return self.said(index)

    @property
    def answers(self) -> Locator:
        return self.page.locator('article[data-role="assistant"]')

    @property
    def questions(self) -> Locator:
        return self.page.locator('article[data-role="user"]')

    def answer(self, index: int = -1) -> Locator:
        return self.answers.nth(index) if index >= 0 else self.answers.last

    def said(self, index: int = -1) -> str:
        """The text of an answer without its head and figures."""
        parts: list[str] = self.answer(index).locator(".markdown").all_inner_texts()
        return "\n".join(parts).strip()

    def answers_with(self, text: str) -> None:
        """Wait until the last answer has a text."""
        self.answer().locator(".markdown").get_by_text(text).wait_for()

    def of(self, message: Locator, action: str) -> None:
        """Press a button of a message."""
        message.hover()
        message.get_by_role("button", name=action, exact=True).click()

    def more(self, message: Locator, action: str) -> None:
        """Choose from the menu of a message."""
        self.of(message, "More actions")
        self.page.get_by_role("menuitem", name=action).click()

    def chats(self) -> list[str]:
        titles: list[str] = self.page.locator(".chat-list .chat-item a").all_inner_texts()
        return [each.strip() for each in titles]

    def chat(self, title: str) -> Locator:
        return self.page.locator(".chat-list .chat-item").filter(has_text=title)

    def chat_menu(self, title: str, action: str) -> None:
        self.chat(title).hover()
        self.chat(title).get_by_role("button", name=f"Actions for {title}").click()
        self.page.get_by_role("menuitem", name=action).click()

    def settings(self) -> None:
        self.press("Settings of this chat")
        self.dialog().wait_for()

    def settled(self) -> None:
        self.dialog().get_by_role("button", name="OK", exact=True).click()
        self.dialog().wait_for(state="detached")

    def stored(self) -> dict[str, list[Any]]:
        """Everything in the browser's own database, by store."""
        found: dict[str, list[Any]] = self.evaluate(
            """async () => {
                const found = {};
                for (const { name } of await indexedDB.databases()) {
                    const base = await new Promise((done) => {
                        indexedDB.open(name).onsuccess = (event) => done(event.target.result) });
                    for (const store of base.objectStoreNames) {
                        const all = base.transaction(store).objectStore(store).getAll();
                        found[store] = await new Promise((done) => { all.onsuccess = () => done(all.result) });
                    }
                    base.close();
                }
                return found;
            }"""
        )
        return found
