"""Hundreds of hostile strings in every place that a text of others can reach: no script runs, no report comes.

The guards of the profile fail a spec for a script, a violation of the policy, and a request to another origin.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.web.browser.conftest import Opens
from tests.web.browser.guards import Guards
from tests.web.browser.hostile_strings import ALL, SHORT
from tests.web.browser.stage import Stage, chat_of, lines, of_json
from tests.web.browser.talk import Talk

# What is left of markup in the page must not be able to do anything.
_SOUND = """() => [...document.querySelectorAll("main *, dialog *")].flatMap((each) => {
    const bad = [];
    const name = each.nodeName.toLowerCase();
    if (/^(script|iframe|frame|object|embed|link|meta|base|style|template)$/.test(name)) bad.push(name);
    for (const { name: attribute, value } of each.attributes) {
        if (/^on/.test(attribute)) bad.push(`${name} ${attribute}`);
        if (/^(href|src|action|formaction|xlink:href|data|poster|background|srcset)$/.test(attribute)
            && /^[\\s\\x00-\\x1f]*(javascript|vbscript|data:text|data:image.svg)/i.test(value))
            bad.push(`${name} ${attribute}=${value}`);
        if (attribute === "style" && /url|fixed|absolute/i.test(value)) bad.push(`${name} style=${value}`);
    }
    if (each.closest(".markdown")) {
        if (each.id || each.getAttribute("name")) bad.push(`${name} with a name`);
        if (each.classList.contains("dialog") || name === "form") bad.push(`${name} dressed up`);
        if (name === "img" && !/^data:image\\/(png|jpeg|gif|webp|bmp);/.test(each.src)) bad.push(`image ${each.src}`);
        if (name === "a" && each.hasAttribute("href")
            && (each.target !== "_blank" || !/noopener/.test(each.rel) || !/^(https?:|mailto:)/.test(each.href)))
            bad.push(`link ${each.outerHTML}`);
    }
    return bad;
})"""
# What needs a hand: a pointer over it, a click, a key. Links are not followed, buttons of the page stay alone.
_TOUCH = """() => {
    for (const each of document.querySelectorAll(".markdown *")) {
        for (const type of ["mouseover", "focus", "toggle", "animationstart", "beforeinput", "error", "load"])
            each.dispatchEvent(new Event(type, { bubbles: true }));
        if (each.nodeName === "SUMMARY") each.click();
    }
}"""


@pytest.fixture
def talk(opens: Opens, stage: Stage) -> Talk:
    shown: Talk = opens(stage.base, kind=Talk)
    return shown


def is_sound(talk: Talk, guards: Guards, *, alive: bool = True) -> None:
    talk.evaluate(_TOUCH)
    # Two frames and a turn of the loop: what was going to load or start has done so.
    talk.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 60)))")
    assert talk.evaluate(_SOUND) == []
    assert talk.evaluate(
        "() => document.title.endsWith(' · Corral') && document.querySelectorAll('#app').length === 1"
    )
    guards.check()
    if alive:
        assert talk.page.url.startswith(talk.base), "the page was left"


def test_there_are_enough() -> None:
    assert len(ALL) >= 300 and len(set(ALL)) == len(ALL)


def exported(messages: list[dict[str, Any]], **chat: Any) -> bytes:
    """A file as the page exports it."""
    kept = {"title": "imported", "settings": {"model": "tiny"}, **chat}
    whole = {
        "format": "corral-chats",
        "version": 1,
        "chats": [{"chat": kept, "messages": messages, "files": []}],
    }
    return json.dumps(whole).encode()


def imports(talk: Talk, data: bytes) -> None:
    talk.go("settings")
    file = {"name": "chats.json", "mimeType": "application/json", "buffer": data}
    talk.page.locator('main input[type="file"]').set_input_files(file)


def hostile_message(number: int, text: str) -> dict[str, Any]:
    """A message of an exported chat, with a text in every member that is shown."""
    call = {"id": text, "name": text, "arguments": {text: text}, "state": "done", "result": text}
    file = {"id": "x", "kind": "text", "name": text, "type": text, "size": 1}
    return {
        "id": f"m{number}",
        "parentId": f"m{number - 1}" if number else None,
        "role": "user" if number % 6 == 0 else "assistant",
        "content": text,
        "thinking": text,
        "model": text[:80],
        "state": "failed" if number % 7 == 0 else "done",
        "error": text,
        "hint": text,
        "calls": [call] if number % 5 == 0 else [],
        "attachments": [file] if number % 6 == 0 else [],
    }


# A message holds many strings, so that a minute is enough for all of them; each is a block of its own.
_AT_ONCE = 24
_PIECES = [ALL[at : at + _AT_ONCE] for at in range(0, len(ALL), _AT_ONCE)]


def test_in_imported_answers_thoughts_and_questions(talk: Talk, stage: Stage, guards: Guards) -> None:
    """Every string on its own, in three places; scrolled through, so that all of it is drawn."""
    messages = [hostile_message(number, text) for number, text in enumerate(ALL)]
    imports(talk, exported(messages, title=SHORT[0], folder=SHORT[1], leaf=f"m{len(ALL) - 1}"))
    talk.sees("1 chat was imported")
    talk.page.locator(".chat-list .chat-item a").first.click()
    talk.page.locator("article").first.wait_for(state="attached")
    talk.evaluate(
        """async () => {
            const box = document.querySelector(".chat-scroll");
            const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
            for (let turn = 0; turn < 2000; turn += 1) {
                const plain = [...box.querySelectorAll(".message-plain")].at(-1);
                if (!plain) break;
                plain.scrollIntoView();
                await frame();
            }
            for (const each of document.querySelectorAll(".thinking-head")) each.click();
            for (const each of document.querySelectorAll("details")) each.open = true;
            await frame();
        }"""
    )
    assert talk.page.locator(".message-plain").count() == 0, "everything was drawn"
    assert talk.page.locator(".thinking-body").count() > len(ALL) / 2
    is_sound(talk, guards)


def test_in_streamed_answers(talk: Talk, stage: Stage, guards: Guards) -> None:
    """As they come from a model: piece by piece, cut in the middle of the markup."""
    for texts in _PIECES[:: max(1, len(_PIECES) // 6)]:
        whole = "\n\n".join(texts)
        cuts = [whole[at : at + 37] for at in range(0, len(whole), 37)]
        stage.play("/api/chat", chat_of(*cuts, thinking=whole))
        talk.ask("go on")
    is_sound(talk, guards)


def test_in_calls_of_tools(talk: Talk, stage: Stage, guards: Guards) -> None:
    calls = [{"id": each, "function": {"name": each, "arguments": {each: each}}} for each in SHORT]
    stage.play("/api/chat", chat_of({"content": SHORT[0], "tool_calls": calls}))
    talk.ask("use tools")
    talk.answer().get_by_text("waits for a result").first.wait_for()
    is_sound(talk, guards)


def entry(name: str) -> dict[str, Any]:
    details = {
        "format": name,
        "family": name,
        "families": [name],
        "parameter_size": name,
        "quantization_level": name,
    }
    return {
        "name": name,
        "model": name,
        "modified_at": "2026-01-01T00:00:00Z",
        "size": 1,
        "digest": name,
        "details": details,
    }


def test_in_names_and_facts_of_models(opens: Opens, stage: Stage, guards: Guards) -> None:
    """A registry, or a server behind the page, may say anything."""
    names = [each[:300] for each in SHORT]
    whole = "\n\n".join(ALL)
    shown = {**entry(names[0]), "capabilities": names, "model_info": {each: each for each in names}}
    texts = {"license": whole, "modelfile": whole, "parameters": whole, "template": whole, "system": whole}
    stage.play("/api/tags", of_json({"models": [entry(each) for each in names]}), "GET")
    stage.play("/api/show", of_json({**shown, **texts}))
    talk = opens(stage.base, kind=Talk)
    talk.page.get_by_role("button", name="Model:").first.click()
    talk.page.get_by_role("option").first.wait_for()
    is_sound(talk, guards)
    talk.keys("Escape")
    talk.go("models")
    talk.page.locator("main").get_by_text("pwned").first.wait_for()
    is_sound(talk, guards)
    for name in (names[0], "javascript:pwned(1)", names[-1]):
        talk.evaluate("name => { location.hash = `#/models/${encodeURIComponent(name)}` }", name)
        talk.is_up()
        for tab in talk.page.locator("main").get_by_role("tab").all():
            tab.click()
        is_sound(talk, guards)


@pytest.mark.parametrize("place", ["models", "running", "playground", "compare", "admin"])
def test_in_everything_that_the_server_says(opens: Opens, stage: Stage, guards: Guards, place: str) -> None:
    """Every text of every answer of the API is replaced by a hostile one."""
    texts = iter(SHORT * 1000)

    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: poisoned(each) for name, each in value.items()}
        if isinstance(value, list):
            return [poisoned(each) for each in value] or [next(texts)]
        return next(texts) if isinstance(value, str) and not value[:4].isdigit() else value

    for path in ("/api/tags", "/api/ps", "/api/top", "/api/version", "/api/queue", "/api/keys", "/api/usage"):
        status, data = stage.server.request("GET", path)
        if status == 200:
            stage.play(path, of_json(poisoned(json.loads(data))), "GET")
    talk = opens(stage.base, kind=Talk)
    talk.evaluate("place => { location.hash = `#/${place}` }", place)
    talk.page.wait_for_function("() => document.querySelector('main')?.innerText.length > 0")
    guards.allowed.append("error in the page")  # a server that lies may break a page, never run a script
    guards.allowed.append("console: ")
    is_sound(talk, guards)


@pytest.mark.parametrize("at", range(0, len(SHORT), 12))
def test_in_errors_of_the_server(talk: Talk, stage: Stage, guards: Guards, at: int) -> None:
    for text in SHORT[at : at + 12 : 4]:
        stage.play("/api/chat", of_json({"error": text, "hint": text}, 500))
        talk.ask("fail")
    stage.play("/api/chat", lines({"error": SHORT[at], "hint": SHORT[at]}))
    talk.ask("fail")
    stage.play("/api/tags", of_json({"error": SHORT[at], "hint": SHORT[at]}, 503), "GET")
    talk.reload()
    is_sound(talk, guards)


def test_in_file_names_and_questions(talk: Talk, stage: Stage, guards: Guards) -> None:
    stage.play("/api/chat", chat_of("ok"))
    files = [
        {
            "name": each.replace("/", "_")[:100],
            "mimeType": "text/plain",
            "buffer": b"a text",
        }
        for each in SHORT[:40]
    ]
    talk.page.locator('.composer input[type="file"]').set_input_files(files)
    talk.page.locator(".composer .attachments li").nth(len(files) - 1).wait_for()
    is_sound(talk, guards)
    talk.ask("\n\n".join(SHORT))
    is_sound(talk, guards)


def test_in_titles_folders_and_search(talk: Talk, stage: Stage, guards: Guards) -> None:
    chats = [
        {"chat": {"title": each, "folder": each if number % 2 else "", "isPinned": number % 3 == 0},
         "messages": [{"id": "a", "parentId": None, "role": "user", "content": each}], "files": []}
        for number, each in enumerate(SHORT)
    ]  # fmt: skip
    imports(talk, json.dumps({"format": "corral-chats", "version": 1, "chats": chats}).encode())
    talk.sees(f"{len(chats)} chats were imported")
    is_sound(talk, guards)
    talk.page.get_by_label("Search all chats").fill("pwned")
    talk.page.locator(".chat-matches mark").first.wait_for()
    is_sound(talk, guards)


@pytest.mark.parametrize(
    "data",
    [
        b"not json",
        b"[]",
        b"null",
        b'{"format":"corral-chats","version":2,"chats":[]}',
        b'{"format":"corral-chats","version":1,"chats":"x"}',
        b'{"format":"other","chats":[]}',
        b"\x00\xff\xfe",
    ],
)
def test_files_that_are_no_chats_are_refused(talk: Talk, data: bytes) -> None:
    imports(talk, data)
    talk.sees("This file has no chats that can be read")


def test_imported_members_of_wrong_kinds(talk: Talk, guards: Guards) -> None:
    """What a file says of prototypes, loops and numbers harms nothing."""
    messages: list[dict[str, Any]] = [
        {
            "id": "a",
            "parentId": "b",
            "role": "assistant",
            "content": ["x"],
            "stats": {"perS": "<img>", "reason": {}},
        },
        {
            "id": "b",
            "parentId": "a",
            "role": "__proto__",
            "content": None,
            "calls": [{"arguments": "x", "name": 1}],
        },
        {
            "id": "__proto__",
            "parentId": "constructor",
            "role": "user",
            "content": "in a prototype",
            "attachments": {},
        },
        {"id": "c", "parentId": "c", "role": "user", "content": "its own parent"},
    ]
    imports(talk, exported(messages, leaf="a", createdAt="x", settings={"options": [1], "model": {}}))
    talk.sees("1 chat was imported")
    talk.page.locator(".chat-list .chat-item a").first.click()
    talk.page.locator(".composer textarea").wait_for()
    assert talk.evaluate("() => ({}).polluted === undefined && ({}).content === undefined")
    is_sound(talk, guards)
