"""Models, Running, Compare, Playground and Admin on the real server; a stage where a pull has to be slow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.access.conftest import KeyedServer
from tests.conftest import FIXTURES, PLAIN_TEMPLATE, Server
from tests.web.browser.conftest import Opens
from tests.web.browser.screen import Screen
from tests.web.browser.stage import Stage, chat_of, lines, of_json


@pytest.fixture
def spare(server: Server) -> Iterator[str]:
    """A model that the spec may change; whatever it makes of it is removed."""
    before = {each["name"] for each in server.get("/api/tags")["models"]}
    server.create("spare", "say", template=PLAIN_TEMPLATE, system="You are spare.", license="Do as you like.")
    yield "spare"
    for each in server.get("/api/tags")["models"]:
        if each["name"] not in before:
            server.request("DELETE", "/api/delete", {"model": each["name"]})


def names(server: Server) -> set[str]:
    return {each["name"].removesuffix(":latest") for each in server.get("/api/tags")["models"]}


def menu_of(screen: Screen, model: str, action: str) -> None:
    screen.press(f"Actions for {model}:latest")
    screen.page.get_by_role("menuitem", name=action).click()


def test_models_are_listed_and_sorted(opens: Opens, server: Server) -> None:
    screen = opens(server.base, "models")
    rows = screen.page.locator(".models-table tbody tr")
    assert rows.count() == len(names(server))
    screen.page.get_by_role("columnheader", name="Size").get_by_role("button").click()
    screen.page.locator('th[data-column="size"][aria-sort]').wait_for()
    assert "KB" in rows.first.inner_text() or "MB" in rows.first.inner_text()


def test_model_shows_its_parts(opens: Opens, server: Server, spare: str) -> None:
    screen = opens(server.base, "models/spare")
    for part, text in (
        ("System prompt", "You are spare."),
        ("Licence", "Do as you like."),
        ("Template", "{{ .Prompt }}"),
        ("Modelfile", "FROM"),
        ("Metadata", "general.architecture"),
    ):
        screen.page.get_by_role("radio", name=part, exact=True).click()
        screen.page.locator(".model-sections").get_by_text(text).first.wait_for()


def test_model_is_copied(opens: Opens, server: Server, spare: str) -> None:
    screen = opens(server.base, "models")
    menu_of(screen, spare, "Copy")
    screen.dialog().get_by_label("Name of the new model").fill("spare-copy")
    screen.dialog().get_by_role("button", name="Copy").click()
    screen.page.locator(".models-table").get_by_text("spare-copy").wait_for()
    assert "spare-copy" in names(server)


def test_model_is_deleted_after_a_question(opens: Opens, server: Server, spare: str) -> None:
    screen = opens(server.base, "models")
    menu_of(screen, spare, "Delete")
    screen.dialog().get_by_role("button", name="Cancel").click()
    assert spare in names(server)
    menu_of(screen, spare, "Delete")
    screen.dialog().get_by_role("button", name="Delete").click()
    screen.sees("spare:latest was deleted")
    assert spare not in names(server)


def test_modelfile_with_an_error_names_its_line(opens: Opens, server: Server, spare: str) -> None:
    screen = opens(server.base, "models")
    menu_of(screen, spare, "Extend")
    box = screen.dialog()
    box.get_by_label("Name of the new model").fill("spare-more")
    box.get_by_label("Modelfile").fill("FROM spare\nPARAMETER temperature 0.5\nNONSENSE x\n")
    box.get_by_role("button", name="Create", exact=True).click()
    box.get_by_text("Line 3").first.wait_for()
    assert box.get_by_role("button", name="Go to line 3").is_visible()
    box.get_by_label("Modelfile").fill("FROM spare\nPARAMETER temperature 0.5\n")
    box.get_by_role("button", name="Create", exact=True).click()
    screen.sees("spare-more was created")
    assert "spare-more" in names(server)


def test_gguf_file_is_uploaded_and_created(opens: Opens, server: Server, spare: str) -> None:
    screen = opens(server.base, "models")
    screen.page.locator('main input[type="file"]').set_input_files(FIXTURES / "tiny.gguf")
    screen.dialog().get_by_label("Name of the new model").fill("spare-upload")
    screen.dialog().get_by_role("button", name="Upload and create").click()
    screen.page.locator(".models-table").get_by_text("spare-upload").wait_for()
    assert "spare-upload" in names(server)


def test_pull_shows_progress_survives_a_reload_and_is_cancelled(opens: Opens, stage: Stage) -> None:
    part = {"status": "pulling abc", "digest": "sha256:abc", "total": 4000, "completed": 1000}
    stage.play("/api/pull", lambda _: lines({"status": "pulling manifest"}, part, stage.pause()))
    screen = opens(stage.base, "models")
    screen.field("Pull a model").fill("some:model")
    screen.press("Pull")
    bar = screen.page.get_by_role("progressbar")
    screen.page.get_by_text("25 %").wait_for()
    assert bar.first.get_attribute("aria-valuenow") == "25"
    screen.reload()
    screen.page.get_by_text("25 %").wait_for()
    assert len(stage.bodies("/api/pull")) == 2, "it goes on by asking again"
    screen.press("Cancel pulling some:model")
    bar.wait_for(state="detached")
    screen.reload()
    assert bar.count() == 0


def test_failed_pull_says_why_and_tries_again(opens: Opens, stage: Stage) -> None:
    stage.play("/api/pull", of_json({"error": "pull model manifest: file does not exist"}, 404))
    screen = opens(stage.base, "models")
    screen.field("Pull a model").fill("nothing")
    screen.press("Pull")
    screen.sees("pull model manifest: file does not exist")
    assert screen.button("Try again").is_visible()


def test_a_card_that_no_engine_uses(opens: Opens, stage: Stage) -> None:
    """The page says so in the server's words, with the command that helps."""
    gpu = {"problem": "the NVIDIA card is unused", "advice": "corral engine install cuda"}
    stage.play("/api/status", lambda _: of_json({"cloud": {}, "gpu": gpu}), "GET")
    screen = opens(stage.base, "running")
    screen.sees(gpu["problem"])
    screen.sees(gpu["advice"])


def test_nothing_is_said_of_cards_without_a_problem(opens: Opens, stage: Stage) -> None:
    stage.play("/api/status", lambda _: of_json({"cloud": {}}), "GET")
    screen = opens(stage.base, "running")
    screen.until(lambda: any(each.path == "/api/status" for each in stage.asked))
    screen.field("Load a model").wait_for()
    assert screen.page.locator(".notice").count() == 0


def test_model_is_loaded_kept_and_unloaded(opens: Opens, server: Server) -> None:
    server.post("/api/generate", {"model": "tiny", "keep_alive": 0})
    screen = opens(server.base, "running")
    screen.field("Load a model").select_option(label="tiny:latest")
    screen.press("Load")
    screen.button("Unload tiny:latest").wait_for()
    screen.until(lambda: "tiny:latest" in {each["name"] for each in server.get("/api/ps")["models"]})
    screen.press("Keep tiny:latest loaded")
    screen.page.get_by_role("menuitem", name="Forever").click()
    screen.sees("Stays loaded")
    screen.press("Unload tiny:latest")
    screen.button("Unload tiny:latest").wait_for(state="detached")
    screen.until(lambda: "tiny:latest" not in {each["name"] for each in server.get("/api/ps")["models"]})


def test_compare_puts_answers_side_by_side(opens: Opens, stage: Stage) -> None:
    stage.play("/api/chat", lambda asked: chat_of(f"I am {asked.json['model']}"))
    screen = opens(stage.base, "compare")
    assert screen.page.locator(".lanes > li").count() == 2
    screen.field("Prompt").fill("Who are you?")
    screen.press("Ask all")
    screen.page.locator(".lanes").get_by_text("I am ").nth(1).wait_for()
    bodies = stage.bodies("/api/chat")
    assert len(bodies) == 2 and {each["messages"][-1]["content"] for each in bodies} == {"Who are you?"}
    assert screen.page.locator(".lanes").get_by_text("Tokens/s").count() == 2


def test_completion_with_logprobs(opens: Opens, server: Server) -> None:
    screen = opens(server.base, "playground/completion")
    screen.field("Prompt").fill("Once upon a time")
    screen.field("Most tokens").fill("5")
    screen.press("Complete")
    result = screen.page.get_by_role("region", name="Result")
    result.get_by_text("perplexity").wait_for()


def test_embeddings_make_a_matrix(opens: Opens, server: Server) -> None:
    screen = opens(server.base, "playground/embeddings")
    for number, text in enumerate(("cats", "cats", "stars"), 1):
        screen.field(f"Text {number}").fill(text)
    screen.press("Compare")
    screen.page.locator(".matrix td").nth(3).wait_for()
    cells = screen.page.locator(".matrix tbody td").all_inner_texts()
    assert len(cells) == 9 and cells[0] == cells[1] == "1.00"


def test_text_is_split_into_tokens(opens: Opens, server: Server) -> None:
    screen = opens(server.base, "playground/tokens")
    screen.field("Text").fill("Hello world")
    screen.press("Split")
    screen.page.locator(".piece").first.wait_for()
    pieces = screen.page.locator(".piece bdi").all_inner_texts()
    assert "".join(pieces).replace("·", " ").replace("␣", " ").strip().endswith("world")


def test_keys_need_the_scope_admin(opens: Opens, keyed_server: KeyedServer) -> None:
    screen = opens(keyed_server.base, "settings")
    screen.press("Enter a key")
    screen.field("Key").fill(keyed_server.texts["infer"])
    screen.press("Use this key")
    screen.go("admin")
    screen.sees("Keys need the scope admin")


def test_key_is_made_shown_once_and_revoked(opens: Opens, keyed_server: KeyedServer) -> None:
    screen = opens(keyed_server.base, "settings")
    screen.press("Enter a key")
    screen.field("Key").fill(keyed_server.texts["admin"])
    screen.press("Use this key")
    screen.go("admin")
    screen.press("New key")
    screen.dialog().get_by_label("Name", exact=True).fill("from the page")
    screen.press("Make the key")
    shown = screen.dialog().get_by_text("ck_").first
    shown.wait_for()
    text = shown.inner_text().strip()
    assert keyed_server.request("GET", "/api/tags", headers={"Authorization": f"Bearer {text}"})[0] in (
        200,
        403,
    )
    screen.press("I have copied it")
    screen.page.get_by_text("from the page").first.wait_for()
    assert text not in screen.page.content()


def test_log_is_shown_and_searched(opens: Opens, server: Server) -> None:
    screen = opens(server.base, "admin/log")
    rows = screen.page.locator(".log-lines > li")
    rows.first.wait_for()
    screen.field("Search the log").fill("LISTENING")
    rows.filter(has_text="listening").first.wait_for()
    rows.filter(has_not_text="listening").first.wait_for(state="detached")
    screen.field("Search the log").fill("no line has this")
    screen.sees("No line is like this")
    screen.field("Search the log").fill("")
    server.post("/api/generate", {"model": "tiny", "keep_alive": 0})
    server.post("/api/generate", {"model": "tiny"})
    rows.filter(has_text="tiny").first.wait_for()


def test_log_needs_the_scope_admin(opens: Opens, keyed_server: KeyedServer) -> None:
    screen = opens(keyed_server.base, "settings")
    screen.press("Enter a key")
    screen.field("Key").fill(keyed_server.texts["infer"])
    screen.press("Use this key")
    screen.go("admin/log")
    screen.page.locator(".notice[data-tone=bad]").get_by_text("admin").first.wait_for()
    assert screen.page.locator(".log-lines").count() == 0
