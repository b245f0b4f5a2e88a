"""Chats as they are kept: found, sorted, exported, deleted, and shared by the tabs of a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.web.browser.conftest import Opens
from tests.web.browser.stage import Asked, Script, Stage, chat_of
from tests.web.browser.talk import Talk


def echo(asked: Asked) -> Script:
    return chat_of(f"you said {asked.json['messages'][-1]['content']}")


@pytest.fixture
def talk(opens: Opens, stage: Stage) -> Talk:
    """A page where every answer repeats the question."""
    stage.play("/api/chat", echo)
    shown: Talk = opens(stage.base, kind=Talk)
    return shown


def new_chat(talk: Talk, text: str) -> None:
    talk.page.get_by_role("link", name="New chat").click()
    talk.ask(text)


def test_reload_keeps_everything(talk: Talk) -> None:
    talk.ask("keep me")
    talk.reload()
    assert talk.said() == "you said keep me"
    assert talk.chats() == ["keep me"]


def test_nothing_of_a_chat_goes_to_the_server_but_the_request(talk: Talk, stage: Stage) -> None:
    talk.ask("private words")
    talk.reload()
    told = [each.path for each in stage.asked if b"private words" in each.body or "private" in each.path]
    assert told == ["/api/chat"]
    assert any("private words" in json.dumps(each) for each in talk.stored()["messages"])


def test_text_that_is_being_written_survives_a_reload(talk: Talk) -> None:
    talk.composer.fill("half a thought")
    talk.reload()
    assert talk.composer.input_value() == "half a thought"


def test_search_over_all_chats(talk: Talk) -> None:
    talk.ask("about apples")
    new_chat(talk, "about pears")
    talk.page.get_by_label("Search all chats").fill("SAID ABOUT APPLES")
    found = talk.page.locator(".chat-matches a")
    found.get_by_text("about apples").first.wait_for()
    assert found.count() == 1
    found.click()
    talk.answers_with("you said about apples")
    talk.press("Clear the search")
    talk.page.get_by_label("Search all chats").fill("no such words")
    talk.sees("No chat has this text.")


def test_pinned_chats_come_first(talk: Talk) -> None:
    talk.ask("first")
    new_chat(talk, "second")
    assert talk.chats() == ["second", "first"]
    talk.chat_menu("first", "Pin")
    talk.page.get_by_role("heading", name="Pinned").wait_for()
    assert talk.chats() == ["first", "second"]
    talk.reload()
    assert talk.chats() == ["first", "second"]


def test_folders(talk: Talk) -> None:
    talk.ask("in a folder")
    talk.chat_menu("in a folder", "Move to a folder")
    talk.dialog().get_by_label("Folder").fill("Work")
    talk.dialog().get_by_role("button", name="Save").click()
    talk.page.locator(".chat-list summary").get_by_text("Work").wait_for()
    talk.reload()
    assert talk.page.locator(".chat-list summary").inner_text() == "Work"


def test_renamed_chat(talk: Talk) -> None:
    talk.ask("old name")
    talk.chat_menu("old name", "Rename")
    talk.dialog().get_by_label("Title").fill("new name")
    talk.keys("Enter")
    talk.chat("new name").wait_for()
    talk.reload()
    assert talk.chats() == ["new name"]


def test_deleted_chat_comes_back(talk: Talk) -> None:
    talk.ask("precious")
    talk.chat_menu("precious", "Delete")
    talk.chat("precious").wait_for(state="detached")
    talk.press("Undo")
    talk.chat("precious").wait_for()
    talk.answers_with("you said precious")


def test_export_and_import_as_json(talk: Talk, opens: Opens, stage: Stage, tmp_path: Path) -> None:
    talk.ask("one")
    talk.of(talk.answer(), "Try again")
    talk.answer().get_by_role("group", name="Version 2 of 2").wait_for()
    talk.is_answered()
    with talk.page.expect_download() as download:
        talk.chat_menu("one", "Export as JSON")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.suffix == ".json"
    other = opens(stage.base, "settings", kind=Talk)
    other.page.locator('main input[type="file"]').set_input_files(path)
    other.sees("1 chat was imported")
    other.chat("one").locator("a").click()
    other.answers_with("you said one")
    assert other.answer().get_by_role("group", name="Version 2 of 2").is_visible()


def test_export_as_markdown(talk: Talk, tmp_path: Path) -> None:
    talk.ask("hello **you**")
    with talk.page.expect_download() as download:
        talk.chat_menu("hello", "Export as Markdown")
    path = tmp_path / "chat.md"
    download.value.save_as(path)
    text = path.read_text()
    assert "## User" in text and "hello **you**" in text and "you said hello **you**" in text


def test_all_chats_are_deleted_when_asked(talk: Talk) -> None:
    talk.ask("one")
    talk.go("settings")
    talk.press("Delete all chats")
    talk.dialog().get_by_role("button", name="Delete").last.click()
    talk.until(lambda: talk.chats() == [])
    talk.reload()
    assert talk.chats() == [] and talk.stored()["messages"] == []


def test_two_tabs_share_the_chats(talk: Talk, stage: Stage) -> None:
    other = Talk.opened(talk.page.context.new_page(), stage.base)
    talk.ask("from the first tab")
    other.chat("from the first tab").wait_for()
    other.chat("from the first tab").locator("a").click()
    other.answers_with("you said from the first tab")
    other.ask("from the second")
    talk.page.locator("article").get_by_text("you said from the second").wait_for()


def test_answer_of_another_tab_is_seen(talk: Talk, stage: Stage) -> None:
    wait = stage.pause()
    stage.play("/api/chat", chat_of("slow ", wait, "end"))
    talk.say("go")
    talk.answers_with("slow")
    other = Talk.opened(talk.page.context.new_page(), stage.base)
    other.chat("go").locator("a").click()
    other.answer().wait_for()
    wait.go_on()
    other.answers_with("slow end")


def test_unknown_chat_says_where_chats_are(talk: Talk) -> None:
    talk.go("chat/nosuchchat")
    talk.sees("This chat does not exist in this browser")


def test_title_is_the_first_line(talk: Talk) -> None:
    talk.ask("A long question " + "with many words " * 10)
    (title,) = talk.chats()
    assert title.startswith("A long question") and len(title) <= 61 and title.endswith("…")
