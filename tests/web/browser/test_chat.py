"""Talking to models: real ones of the server, and scripted answers where a certain one is needed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Server
from tests.waiting import wait_until
from tests.web.browser.conftest import Opens
from tests.web.browser.stage import Asked, Script, Stage, chat_of, lines, of_json, show_of
from tests.web.browser.talk import Talk


@pytest.fixture
def talk(opens: Opens, server: Server) -> Talk:
    """A new chat with the model `say`, which writes what follows `now`."""
    shown: Talk = opens(server.base, kind=Talk)
    shown.chooses("say")
    return shown


@pytest.fixture
def staged(opens: Opens, stage: Stage) -> Talk:
    shown: Talk = opens(stage.base, kind=Talk)
    return shown


def test_real_model_answers(talk: Talk) -> None:
    """From the field of the page to the engine and back."""
    assert talk.ask("now A") != ""
    assert talk.answer().get_attribute("aria-label") == "say"
    assert "tokens/s" in talk.answer().inner_text()


def test_corral_tiny_answers_and_reads_its_chat(opens: Opens, server: Server) -> None:
    talk = opens(server.base, kind=Talk)
    talk.chooses("tiny")
    assert talk.ask("Hello") != ""
    assert talk.ask("And again?") != ""
    assert (talk.questions.count(), talk.answers.count()) == (2, 2)


def test_answer_appears_while_it_is_written(staged: Talk, stage: Stage) -> None:
    wait = stage.pause()
    stage.play("/api/chat", chat_of("first ", wait, "second"))
    staged.say("hi")
    staged.answers_with("first")
    assert staged.button("Stop").is_visible() and "second" not in staged.said()
    wait.go_on()
    assert staged.is_answered() == "first second"


def test_stop_keeps_what_was_written_and_ends_the_request(staged: Talk, stage: Stage) -> None:
    wait = stage.pause()
    stage.play("/api/chat", chat_of("kept ", wait, "lost"))
    staged.say("hi")
    staged.answers_with("kept")
    staged.press("Stop")
    staged.sees("You stopped this answer.")
    assert staged.said() == "kept"
    wait.go_on()
    staged.reload()
    staged.sees("You stopped this answer.")
    assert staged.said() == "kept"


def test_stop_reaches_the_decoder(opens: Opens, server: Server) -> None:
    """An answer that does not end by itself: with the button the server has nothing left to compute."""
    talk = opens(server.base, kind=Talk)
    talk.chooses("tiny")
    talk.settings()
    talk.dialog().get_by_role("radio", name="JSON by a schema").click()
    endless = {"type": "array", "items": {"enum": ["a"]}, "minItems": 100_000}
    talk.dialog().get_by_label("JSON schema").fill(json.dumps(endless))
    talk.dialog().get_by_label("Other options, as JSON").fill('{"num_predict": 1000000}')
    talk.settled()
    talk.say("Count.")
    talk.answers_with("a")
    assert computed(server), "it is being written"
    talk.press("Stop")
    talk.sees("You stopped this answer.")
    talk.until(lambda: not computed(server), "the server goes on with an answer that nobody reads")


def computed(server: Server) -> list[dict[str, Any]]:
    """The chats that use a model or wait for one."""
    return [each for each in server.get("/api/queue")["queue"] if each["path"] == "/api/chat"]


def test_edited_question_is_a_branch(staged: Talk, stage: Stage) -> None:
    def echo(asked: Asked) -> Script:
        return chat_of(f"to {asked.json['messages'][-1]['content']}")

    stage.play("/api/chat", echo)
    staged.ask("one")
    staged.of(staged.questions.first, "Edit")
    field = staged.questions.first.get_by_role("textbox")
    field.fill("two")
    field.press("Enter")
    staged.answers_with("to two")
    assert stage.bodies("/api/chat")[-1]["messages"] == [{"role": "user", "content": "two"}]
    staged.is_answered()
    staged.of(staged.questions.first, "Previous version")
    staged.answers_with("to one")
    staged.of(staged.questions.first, "Next version")
    staged.answers_with("to two")


def test_regenerated_answer_is_a_branch(staged: Talk, stage: Stage) -> None:
    answers = iter(["first", "second"])
    stage.play("/api/chat", lambda _: chat_of(next(answers)))
    staged.ask("hi")
    staged.of(staged.answer(), "Try again")
    staged.answers_with("second")
    staged.is_answered()
    assert stage.bodies("/api/chat")[0] == stage.bodies("/api/chat")[1]
    assert staged.answer().get_by_role("group", name="Version 2 of 2").is_visible()
    staged.of(staged.answer(), "Previous version")
    staged.answers_with("first")
    staged.reload()
    assert staged.said() == "first", "the branch that was shown is shown again"


def test_regenerated_with_another_model(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", lambda asked: chat_of(f"I am {asked.json['model']}"))
    staged.chooses("tiny")
    staged.ask("who?")
    staged.more(staged.answer(), "Try again with another model")
    staged.dialog().get_by_role("button", name="Model:").click()
    staged.page.get_by_role("option").filter(has_text="say").click()
    staged.answers_with("I am say")
    staged.is_answered()
    assert stage.bodies("/api/chat")[-1]["model"].startswith("say")


def test_edited_answer_is_what_the_model_sees(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", chat_of("wrong"))
    staged.ask("one")
    staged.more(staged.answer(), "Edit")
    field = staged.answer().get_by_role("textbox")
    field.fill("right")
    field.press("Control+Enter")
    staged.answers_with("right")
    staged.ask("two")
    said = [each["content"] for each in stage.bodies("/api/chat")[-1]["messages"]]
    assert said == ["one", "right", "two"]


def test_deleted_message_takes_what_follows(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", chat_of("yes"))
    staged.ask("one")
    staged.ask("two")
    staged.more(staged.questions.last, "Delete from here")
    staged.dialog().get_by_role("button", name="Delete", exact=True).click()
    wait_until(lambda: staged.questions.count() == 1)
    staged.reload()
    assert staged.questions.count() == 1 and staged.answers.count() == 1


def test_thinking_is_folded(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", chat_of("the answer", thinking="a **deep** thought"))
    staged.ask("hi")
    thoughts = staged.answer().get_by_role("button", name="Thought")
    assert thoughts.get_attribute("aria-expanded") == "false"
    assert "deep" not in staged.answer().inner_text()
    thoughts.click()
    assert staged.answer().locator(".thinking-body strong").inner_text() == "deep"


def test_thinking_can_be_watched(staged: Talk, stage: Stage) -> None:
    wait = stage.pause()
    stage.play("/api/chat", chat_of(wait, "done", thinking="hmm, well"))
    staged.say("hi")
    staged.answer().get_by_role("button", name="Thinking").click()
    staged.answers_with("hmm, well")
    wait.go_on()
    assert "done" in staged.is_answered()


def test_thinking_can_be_switched_off(opens: Opens, stage: Stage) -> None:
    stage.play("/api/show", show_of("thinking"))
    stage.play("/api/chat", chat_of("ok"))
    staged = opens(stage.base, kind=Talk)
    think = staged.button("Think")
    assert think.get_attribute("aria-pressed") == "true"
    staged.ask("one")
    think.click()
    staged.ask("two")
    first, second = stage.bodies("/api/chat")
    assert "think" not in first and second["think"] is False


def test_system_options_and_format_are_sent(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", chat_of("{}"))
    staged.settings()
    box = staged.dialog()
    box.get_by_label("System prompt").fill("Be brief.")
    box.get_by_label("Temperature").fill("0.5")
    box.get_by_label("Seed").fill("7")
    box.get_by_label("Stop at").fill("END\nSTOP")
    box.get_by_label("Other options, as JSON").fill('{"mirostat": 2}')
    box.get_by_role("radio", name="JSON by a schema").click()
    box.get_by_label("JSON schema").fill('{"type": "object"}')
    staged.settled()
    staged.ask("hi")
    (body,) = stage.bodies("/api/chat")
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert body["options"] == {"temperature": 0.5, "seed": 7, "stop": ["END", "STOP"], "mirostat": 2}
    assert body["format"] == {"type": "object"} and body["stream"] is True


def test_broken_schema_is_said_and_not_sent(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", chat_of("ok"))
    staged.settings()
    staged.dialog().get_by_role("radio", name="JSON by a schema").click()
    staged.dialog().get_by_label("JSON schema").fill('{"type": ')
    staged.dialog().get_by_text("This is not JSON").wait_for()
    staged.settled()
    staged.ask("hi")
    assert "format" not in stage.bodies("/api/chat")[0]


def test_settings_are_for_one_chat_or_all(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", chat_of("ok"))
    staged.settings()
    staged.dialog().get_by_label("System prompt").fill("only here")
    staged.settled()
    staged.ask("one")
    staged.page.get_by_role("link", name="New chat").click()
    staged.ask("two")
    assert [each["messages"][0]["role"] for each in stage.bodies("/api/chat")] == ["system", "user"]
    staged.settings()
    staged.dialog().get_by_label("System prompt").fill("everywhere")
    staged.dialog().get_by_role("button", name="Use for new chats").click()
    staged.settled()
    staged.page.get_by_role("link", name="New chat").click()
    staged.ask("three")
    assert stage.bodies("/api/chat")[-1]["messages"][0]["content"] == "everywhere"


def test_real_format_of_json(opens: Opens, server: Server) -> None:
    talk = opens(server.base, kind=Talk)
    talk.chooses("tiny")
    talk.settings()
    talk.dialog().get_by_role("radio", name="JSON by a schema").click()
    talk.dialog().get_by_label("JSON schema").fill(json.dumps({"enum": ["only this"]}))
    talk.settled()
    assert talk.ask("What?").strip('“”"') == "only this"


def test_markdown_with_code_table_and_formula(staged: Talk, stage: Stage) -> None:
    code, table = "```python\nprint('x')\n```", "| a | b |\n|--|--|\n| 1 | 2 |"
    text = f"# Title\n\n{code}\n\n{table}\n\n$$x^2 + \\frac{{1}}{{2}}$$\n\n- [x] done\n"
    stage.play("/api/chat", chat_of(*text))
    staged.ask("show")
    answer = staged.answer()
    answer.locator("table td").first.wait_for()
    answer.locator("math msup").first.wait_for()
    answer.locator("pre code .hljs-built_in, pre code .hljs-string").first.wait_for()
    assert answer.locator(".code-lang").inner_text().lower() == "python"


def test_code_is_copied(opens: Opens, stage: Stage) -> None:
    stage.play("/api/chat", chat_of("```sh\nls -l\n```\n"))
    staged = opens(stage.base, kind=Talk, permissions=["clipboard-read", "clipboard-write"])
    staged.ask("how?")
    staged.answer().locator('[data-action="copy-code"]').click()
    wait_until(lambda: staged.evaluate("() => navigator.clipboard.readText()") == "ls -l")
    staged.of(staged.answer(), "Copy")
    wait_until(lambda: "```sh" in staged.evaluate("() => navigator.clipboard.readText()"))


def test_figures_of_an_answer(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", chat_of("word"))
    staged.ask("hi")
    assert "20.0 tokens/s" in staged.answer().inner_text()
    staged.of(staged.answer(), "Figures")
    facts = staged.dialog().locator(".facts").inner_text()
    assert "Tokens of the answer\n20" in facts and "the answer was complete" in facts


def test_cut_context_is_said(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", chat_of("word", truncated_count=3))
    staged.ask("hi")
    staged.sees("The 3 oldest messages did not fit into the context")


def test_link_never_sends_anything(opens: Opens, stage: Stage) -> None:
    """A link can open a page, and never make a model work."""
    talk = opens(stage.base, kind=Talk)
    hashes = ("chat?q=hello", "chat?prompt=hello&send=1", "?q=hello", "chat/new?q=x")
    for address in (*(f"#/{each}" for each in hashes), "?q=hello", "?prompt=hello&model=tiny"):
        talk.page.goto("about:blank")
        talk.page.goto(f"{stage.base}/ui/{address}")
        talk.is_up()
    assert [each.path for each in stage.asked if each.method == "POST" and each.path != "/api/show"] == []


def test_shift_enter_begins_a_line(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", chat_of("ok"))
    staged.composer.press_sequentially("one")
    staged.composer.press("Shift+Enter")
    staged.composer.press_sequentially("two")
    staged.can_send()
    staged.composer.press("Enter")
    staged.is_answered(0)
    assert stage.bodies("/api/chat")[0]["messages"][0]["content"] == "one\ntwo"


def test_several_chats_at_once(staged: Talk, stage: Stage) -> None:
    first, second = stage.pause(), stage.pause()
    pauses = {"one": first, "two": second}
    stage.play(
        "/api/chat",
        lambda asked: chat_of("so ", pauses[(said := asked.json["messages"][0]["content"])], said),
    )
    staged.say("one")
    staged.answers_with("so")
    staged.page.get_by_role("link", name="New chat").click()
    staged.say("two")
    staged.answers_with("so")
    assert staged.page.locator(".chat-running").count() == 2
    second.go_on()
    assert staged.is_answered() == "so two"
    staged.chat("one").locator("a").click()
    staged.button("Stop").wait_for()
    first.go_on()
    assert staged.is_answered() == "so one"


def test_model_that_is_gone_is_said(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", chat_of("ok"))
    staged.chooses("tiny")
    staged.ask("hi")
    stage.play(
        "/api/tags",
        lambda asked: of_json({"models": [each for each in _tags(stage) if "tiny" not in each["name"]]}),
        "GET",
    )
    staged.reload()
    staged.sees("tiny does not exist on this server any more")


def _tags(stage: Stage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stage.server.get("/api/tags")["models"]
    return found


def test_server_without_models_says_what_to_do(opens: Opens, stage: Stage) -> None:
    stage.play("/api/tags", of_json({"models": []}), "GET")
    staged = opens(stage.base, kind=Talk)
    staged.sees("There are no models yet")
    stage.play("/api/tags", lambda _: None, "GET")
    staged.press("Check again")
    staged.sees("What can I help with?")


def test_arabic_text_runs_right_to_left(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", chat_of("مرحبا بالعالم"))
    staged.ask("שלום")
    assert (
        staged.answer().locator(".markdown p").evaluate("(each) => getComputedStyle(each).direction") == "rtl"
    )
    assert (
        staged.questions.last.locator(".bubble").evaluate("(each) => getComputedStyle(each).direction")
        == "rtl"
    )


def test_only_keys_of_the_keyboard(staged: Talk, stage: Stage) -> None:
    """A whole talk without a mouse."""
    stage.play("/api/chat", chat_of("fine"))
    staged.keys("/")
    staged.page.keyboard.type("how are you?")
    staged.keys("Enter")
    staged.is_answered(0)
    staged.keys("Control+Shift+E")
    staged.page.keyboard.type(" really?")
    staged.keys("Enter")
    staged.questions.get_by_text("how are you? really?").wait_for()
    staged.is_answered(0)  # the old answer went with its question
    staged.page.locator(".chat-scroll").focus()
    staged.keys("Control+Shift+R")
    staged.answer().get_by_role("group", name="Version 2 of 2").wait_for()
    staged.is_answered()
    staged.keys("Control+,")
    staged.dialog().wait_for()
    staged.keys("Escape")
    staged.dialog().wait_for(state="detached")
    staged.keys("Control+Shift+O")
    wait_until(lambda: staged.answers.count() == 0)
    staged.keys("Alt+ArrowDown")
    staged.answers_with("fine")


def test_escape_stops(staged: Talk, stage: Stage) -> None:
    wait = stage.pause()
    stage.play("/api/chat", chat_of("some ", wait, "more"))
    staged.say("hi")
    staged.answers_with("some")
    staged.keys("Escape")
    staged.sees("You stopped this answer.")


def test_stream_of_broken_lines_is_an_error(staged: Talk, stage: Stage) -> None:
    stage.play("/api/chat", Script([b'{"message": {"content": "a"}}\n', b"<html>oops\n"]))
    staged.say("hi")
    staged.answer().get_by_text("This answer failed").wait_for()
    assert staged.said() == "a"


def test_error_within_a_stream_keeps_the_rest(staged: Talk, stage: Stage) -> None:
    line = {"model": "m", "message": {"role": "assistant", "content": "half"}, "done": False}
    stage.play("/api/chat", lines(line, {"error": "the engine died", "hint": "try a smaller context"}))
    staged.say("hi")
    staged.answer().get_by_text("This answer failed: the engine died").wait_for()
    assert "try a smaller context" in staged.answer().inner_text() and staged.said() == "half"


def test_stream_that_breaks_off_keeps_the_rest(staged: Talk, stage: Stage) -> None:
    line = {"model": "m", "message": {"role": "assistant", "content": "half"}, "done": False}
    wait = stage.pause()
    stage.play("/api/chat", lines(line, wait, breaks=True))
    staged.say("hi")
    staged.answers_with("half")
    wait.go_on()
    staged.answer().get_by_text("This answer failed").wait_for()
    assert staged.said() == "half"
    stage.play("/api/chat", chat_of("whole"))
    staged.of(staged.answer(), "Try again")
    staged.answers_with("whole")


@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 503])
def test_refusals_are_shown_in_the_words_of_the_server(staged: Talk, stage: Stage, status: int) -> None:
    stage.play(
        "/api/chat", of_json({"error": f"refused with {status}", "hint": "do this"}, status, Retry_After="7")
    )
    staged.say("hi")
    staged.answer().get_by_text(f"This answer failed: refused with {status}").wait_for()
    assert "do this" in staged.answer().inner_text()
    assert staged.questions.count() == 1, "what was asked is kept"
