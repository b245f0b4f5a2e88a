"""The interactive prompt on a real pseudo terminal, as a person uses it."""

from __future__ import annotations

import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.replay import Replay
from tests.cli.screen import HINT, Screen

Script = Callable[..., list[dict[str, Any]]]
Start = Callable[..., Replay]
Terminal = Callable[..., Screen]
CTRL_C, CTRL_D, CTRL_G, CTRL_J, UP = "\x03", "\x04", "\x07", "\n", "\x1b[A"


@pytest.fixture
def talk(terminal: Terminal, replay: Start, script: Script) -> Callable[..., tuple[Screen, Replay]]:
    """Open a conversation with a model that says given texts."""

    def start(
        *texts: str, words: tuple[str, ...] = (), columns: int = 80, lines: int = 24, **more: Any
    ) -> Any:
        double = replay(script(*texts, **more))
        screen = terminal(double.env, "run", "m", *words, columns=columns, lines=lines)
        screen.wait_for_prompt()
        return screen, double

    return start


Talk = Callable[..., tuple[Screen, Replay]]


def test_a_conversation(talk: Talk) -> None:
    """What was said before is sent along; Ctrl-C and Ctrl-D on an empty line do what they say."""
    screen, double = talk("Good day.", "Again.")
    screen.enter("hello there")
    screen.wait_for_prompt()
    assert screen.lines[0] == ">>> hello there"
    assert screen.lines[1:3] == ["Good day.", ""]
    screen.enter("and you")
    screen.wait_for("Again.")
    screen.wait_for_prompt()
    assert [m["content"] for m in double.bodies("/api/chat")[1]["messages"]] == [
        "hello there",
        "Good day.",
        "and you",
    ]
    screen.type(CTRL_C)
    screen.wait_for("Use Ctrl + d or /bye to exit.")
    screen.wait_for_prompt()
    assert screen.text.count(HINT) == 1
    screen.type("half a line" + CTRL_C)
    screen.wait_for_prompt()
    screen.type(CTRL_D)
    assert screen.wait_for_end() == 0
    assert len(double.bodies("/api/chat")) == 2


@pytest.mark.parametrize("goodbye", ["/bye", "/exit", "/byebye"])
def test_leaving(talk: Talk, goodbye: str) -> None:
    """Commands are found by their beginnings."""
    screen, _ = talk("x")
    screen.enter(goodbye)
    assert screen.wait_for_end() == 0


def test_sigterm_leaves_a_usable_terminal(talk: Talk) -> None:
    """Whoever ends the program from outside gets the terminal back as it was: line by line, with echo."""
    screen, _ = talk("x")
    assert not screen.echoes
    screen.terminate()
    assert screen.wait_for_end() == 128 + signal.SIGTERM
    assert screen.echoes
    assert "\x1b[?2004l" in screen.raw[screen.raw.rindex("\x1b[?2004h") :]  # bracketed paste is off again


def test_messages_of_several_lines(talk: Talk) -> None:
    """Quotes, Ctrl-J and paste: each makes one message."""
    screen, double = talk("ok")
    for keys, message in (
        ('"""a\rb"""\r', "a\nb"),
        ('"""\rfirst\r\rlast\r"""\r', "\nfirst\n\nlast\n"),
        (f"one{CTRL_J}two\r", "one\ntwo"),
        ("\x1b[200~pasted\rover\r/bye\r\x1b[201~\r", "pasted\nover\n/bye\n"),
        ("\x1b[200~/usr/bin/a\r/usr/bin/b\x1b[201~\r", "/usr/bin/a\n/usr/bin/b"),
    ):
        before = len(double.bodies("/api/chat"))
        screen.type(keys)
        screen.wait_for(lambda before=before: len(double.bodies("/api/chat")) > before)  # type: ignore[misc]
        screen.wait_for_prompt()
        assert double.bodies("/api/chat")[-1]["messages"][-1]["content"] == message
    screen.type('"""open\r')
    screen.wait_for('Type """ to end the message')
    screen.type(CTRL_C)
    screen.wait_for_prompt()


def test_a_long_paste(talk: Talk) -> None:
    """Sixty thousand characters arrive whole, and nothing of them is taken for a command."""
    screen, double = talk("ok")
    text = "\n".join(f"line {i} of a long text, /bye" for i in range(2000))
    screen.type("\x1b[200~" + text.replace("\n", "\r") + "\x1b[201~")
    screen.wait_for("line 1999")
    screen.type("\r")
    screen.wait_for(lambda: bool(double.bodies("/api/chat")))
    assert double.bodies("/api/chat")[0]["messages"][0]["content"] == text


def test_ctrl_c_stops_the_answer_alone(talk: Talk) -> None:
    """The request is closed, the part of the answer is kept, and what was typed meanwhile waits at the prompt."""
    screen, double = talk("word " * 500, "fine", pause_s=0.05)
    screen.enter("go on")
    screen.wait_for("word word word")
    screen.type("next")
    screen.type(CTRL_C)
    screen.wait_for(lambda: screen.text.endswith(">>> next"))
    screen.wait_for(lambda: any(r.get("cancelled") for r in double.requests))
    screen.type("\r")
    screen.wait_for("fine")
    messages = double.bodies("/api/chat")[-1]["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"].startswith("word word") and len(messages[1]["content"]) < 2500
    assert messages[2]["content"] == "next"
    assert "next" not in screen.text.split(">>> next")[0]


def test_a_message_stopped_before_its_answer(terminal: Terminal, replay: Start, script: Script) -> None:
    """It is taken back: the next one does not follow a question without an answer."""
    answers = script("fine")
    double = replay([*answers[:-1], {**answers[-1], "wait_s": 3, "once": True}, answers[-1]])
    screen = terminal(double.env, "run", "m")
    screen.wait_for_prompt()
    screen.enter("wrong")
    screen.wait_for(lambda: bool(double.bodies("/api/chat")))
    screen.type(CTRL_C)
    screen.wait_for_prompt()
    screen.enter("right")
    screen.wait_for("fine")
    assert [m["content"] for m in double.bodies("/api/chat")[1]["messages"]] == ["right"]


def test_settings_reach_the_requests(talk: Talk) -> None:
    """/set in all its forms: what it says, and what the next request carries."""
    screen, double = talk("ok", capabilities=("completion", "thinking"), lines=60)
    for line, said in (
        ("/set parameter temperature 0.5", "Set parameter 'temperature' to '0.5'"),
        ("/set parameter stop a b", "Set parameter 'stop' to 'a, b'"),
        ("/set parameter foo 1", "Couldn't set parameter: \"unknown parameter 'foo'\""),
        ("/set parameter seed x", 'Couldn\'t set parameter: "invalid int value [x]"'),
        ("/set parameter", "/set parameter seed <int>"),
        ("/set system Be brief.", "Set system message."),
        ("/set format json", "Set format to 'json' mode."),
        ("/set format xml", "Invalid or missing format. For 'json' mode use '/set format json'"),
        ("/set verbose", "Set 'verbose' mode."),
        ("/set nowordwrap", "Set 'nowordwrap' mode."),
        ("/set wordwrap", "Set 'wordwrap' mode."),
        ("/set think high", "Set 'think' mode to 'high'."),
        ("/set zzz", "Unknown command '/set zzz'. Type /? for help"),
    ):
        screen.enter(line)
        screen.wait_for(said)
        screen.wait_for_prompt()
    screen.enter("hi")
    screen.wait_for("eval rate:            14.00 tokens/s")
    screen.wait_for_prompt()
    body = double.bodies("/api/chat")[0]
    assert body["options"] == {"temperature": 0.5, "stop": ["a", "b"]}
    assert (body["format"], body["think"]) == ("json", "high")
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    for line, said in (
        ("/set noformat", "Disabled format."),
        ("/set nothink", "Set 'nothink' mode."),
        ("/set quiet", "Set 'quiet' mode."),
        ("/clear", "Cleared session context"),
        ('/set system """x\ry"""', "Set system message."),
    ):
        screen.enter(line)
        screen.wait_for(said)
        screen.wait_for_prompt()
    screen.enter("hi again")
    screen.wait_for(lambda: len(double.bodies("/api/chat")) == 2)
    body = double.bodies("/api/chat")[1]
    assert "format" not in body and body["think"] is False
    assert [m["content"] for m in body["messages"]] == ["x\ny", "hi again"]


def test_show_and_help(talk: Talk) -> None:
    """/show, /? and unknown commands."""
    info = {"parameters": "temperature                    0.7", "license": "MIT", "modelfile": "FROM x"}
    screen, _ = talk("ok", lines=70, **info)
    screen.enter("/set parameter num_ctx 512")
    screen.wait_for_prompt()
    for line, said in (
        ("/show license", "MIT"),
        ("/show modelfile", "FROM x"),
        ("/show system", "No system message was specified for this model."),
        ("/show template", "{{ .Prompt }}"),
        ("/show info", "  Model\n    architecture    llama"),
        ("/show parameters", "  temperature                    0.7"),
        ("/show parameters", "  num_ctx                        512"),
        ("/show nope", "Unknown command '/show nope'. Type /? for help"),
        ("/? set", "/set noformat          Disable formatting"),
        ("/? shortcuts", "Ctrl + g            Open default editor to compose a prompt"),
        ("/?", 'Use """ to begin a multi-line message.'),
        ("/nope x", "Unknown command '/nope'. Type /? for help"),
    ):
        screen.enter(line)
        screen.wait_for(said)
        screen.wait_for_prompt()
    assert "Use /path/to/file" not in screen.text


def test_load_save_and_list(terminal: Terminal, replay: Start, script: Script) -> None:
    """/load keeps the old model if there is no such one; /save sends the conversation."""
    answers = script("ok")
    created = {
        **answers[0],
        "method": "POST",
        "path": "/api/create",
        "kind": "json",
        "body": {"status": "success"},
    }
    tags = {**created, "method": "GET", "path": "/api/tags", "body": {"models": None}}
    double = replay([*answers, created, tags])
    screen = terminal(double.env, "run", "m", lines=60)
    screen.wait_for_prompt()
    for line, said in (
        ("/load", "Usage:\n  /load <modelname>"),
        ("/save", "Usage:\n  /save <modelname>"),
        ("/load nope", "Loading model 'nope'\nCouldn't find model 'nope'"),
        ("/list", "NAME    ID    SIZE    MODIFIED"),
        ("hi", "ok"),
        ("/save mine", "Created new model 'mine'"),
    ):
        screen.enter(line)
        screen.wait_for(said)
        screen.wait_for_prompt()
    assert double.bodies("/api/create")[0] == {
        "model": "mine",
        "from": "m",
        "stream": False,
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ok"}],
    }
    screen.enter("/load m")
    screen.wait_for("Loading model 'm'")
    screen.wait_for_prompt()
    screen.enter("new")
    screen.wait_for(lambda: len(double.bodies("/api/chat")) == 2)
    assert [m["content"] for m in double.bodies("/api/chat")[1]["messages"]] == ["new"]


def test_stored_messages_are_shown(talk: Talk) -> None:
    """The messages that come with a model open the conversation; the server sends them, not the client."""
    stored = [
        {"role": "system", "content": "hidden"},
        {"role": "user", "content": "first question"},
        {"role": "assistant", "content": "first answer"},
    ]
    screen, double = talk("ok", messages=stored)
    assert screen.lines[:3] == [">>> first question", "first answer", ""]
    assert "hidden" not in screen.text
    screen.enter("second")
    screen.wait_for(lambda: bool(double.bodies("/api/chat")))
    assert [m["content"] for m in double.bodies("/api/chat")[0]["messages"]] == ["second"]


def test_the_history_file(talk: Talk) -> None:
    """One entry a line, readable by nobody else, at most a hundred; not written when told so."""
    screen, double = talk("ok")
    path = double.home / ".ollama" / "history"
    screen.enter("remember me")
    screen.wait_for_prompt()
    assert path.read_text() == "remember me\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("".join(f"entry {i}\n" for i in range(150)))
    screen.enter("one more")
    screen.wait_for_prompt()
    lines = path.read_text().splitlines()
    assert (len(lines), lines[0], lines[-1]) == (100, "entry 51", "one more")
    screen.enter("/set nohistory")
    screen.wait_for_prompt()
    screen.enter("a secret")
    screen.wait_for_prompt()
    assert "a secret" not in path.read_text()
    screen.type("unfinished" + UP)
    screen.wait_for(lambda: screen.text.endswith(">>> a secret"))
    screen.type("\x1b[B")
    screen.wait_for(lambda: screen.text.endswith(">>> unfinished"))


def test_history_of_another_time(terminal: Terminal, replay: Start, script: Script) -> None:
    """The arrow brings back what was typed in an earlier run."""
    double = replay(script("ok"))
    (double.home / ".ollama").mkdir()
    (double.home / ".ollama" / "history").write_text("older\nyesterday\n")
    screen = terminal(double.env, "run", "m")
    screen.wait_for_prompt()
    screen.type(UP)
    screen.wait_for(">>> yesterday")


def test_the_editor(tmp_path: Path, terminal: Terminal, replay: Start, script: Script) -> None:
    """Ctrl-G opens an editor on the message; what comes back waits to be sent."""
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf " and more" >> "$1"\n')
    editor.chmod(0o755)
    double = replay(script("ok"))
    screen = terminal({**double.env, "OLLAMA_EDITOR": str(editor)}, "run", "m")
    screen.wait_for_prompt()
    screen.type("a text" + CTRL_G)
    screen.wait_for("a text and more")
    screen.type("\r")
    screen.wait_for(lambda: bool(double.bodies("/api/chat")))
    assert double.bodies("/api/chat")[0]["messages"][0]["content"] == "a text and more"
    other = terminal({**double.env, "OLLAMA_EDITOR": "no-such-editor"}, "run", "m")
    other.wait_for_prompt()
    other.type("x" + CTRL_G)
    other.wait_for('error: editor "no-such-editor" not found')


def test_tab(talk: Talk) -> None:
    """Eight blanks in a message; in a command the words that fit."""
    screen, double = talk("ok")
    screen.type("a\tb\r")
    screen.wait_for(lambda: bool(double.bodies("/api/chat")))
    assert double.bodies("/api/chat")[0]["messages"][0]["content"] == "a        b"
    screen.wait_for_prompt()
    screen.type("/set nowor\t")
    screen.wait_for(">>> /set nowordwrap")


def test_thinking_is_dimmed(terminal: Terminal, replay: Start, script: Script) -> None:
    """Between its marks and in grey; the answer is not."""
    answers = script("x", capabilities=("completion", "thinking"))
    events = [
        {"message": {"role": "assistant", "content": "", "thinking": "Let me see."}, "done": False},
        {"message": {"role": "assistant", "content": "Forty-two."}, "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True},
    ]
    answers[-1] = {**answers[-1], "body": events}
    double = replay(answers)
    screen = terminal(double.env, "run", "m")
    screen.wait_for_prompt()
    screen.enter("why")
    screen.wait_for_prompt()
    assert screen.lines[1:6] == ["Thinking...", "Let me see.", "...done thinking.", "", "Forty-two."]
    assert screen.color_of("Let me see.") == screen.color_of("...done thinking.") == "8a8a8a"
    assert screen.color_of("Forty-two.") == "default"
    assert double.bodies("/api/chat")[0]["think"] is True
    hidden = terminal(double.env, "run", "m", "--hidethinking")
    hidden.wait_for_prompt()
    hidden.enter("why")
    hidden.wait_for("Forty-two.")
    assert "Let me see." not in hidden.text


def test_a_failure_does_not_end_the_conversation(terminal: Terminal, replay: Start, script: Script) -> None:
    """The error is told, the message is taken back, and the next one works."""
    answers = script("fine")
    failing = {"kind": "json", "status": 500, "body": {"error": "out of paper"}, "once": True}
    cut = {"cut": 1, "once": True}
    double = replay([*answers[:-1], {**answers[-1], **failing}, {**answers[-1], **cut}, answers[-1]])
    screen = terminal(double.env, "run", "m")
    screen.wait_for_prompt()
    screen.enter("one")
    screen.wait_for("Error: 500")
    screen.wait_for("out of paper")
    screen.wait_for_prompt()
    screen.enter("two")
    screen.wait_for("Error: the connection to the server was lost before the response was complete")
    screen.wait_for_prompt()
    screen.enter("three")
    screen.wait_for("fine")
    assert [m["content"] for m in double.bodies("/api/chat")[-1]["messages"]] == ["three"]


def test_the_model_cannot_drive_the_terminal(talk: Talk) -> None:
    """Escape sequences in an answer are shown, not obeyed."""
    screen, _ = talk("a\x1b]0;title\x07b\x1b[2Jc\x9b1m")
    screen.enter("attack me")
    screen.wait_for_prompt()
    assert screen.lines[1] == "a␛]0;title␇b␛[2Jc\ufffd1m"
    assert "\x1b]0;" not in screen.raw


LONG = "The quick brown fox jumps over the lazy dog and does it again, " * 3
WIDE = "日本語の文章は単語の間に空白がありません。" * 4


@pytest.mark.parametrize("columns", [40, 120])
def test_words_are_wrapped(talk: Talk, columns: int) -> None:
    """No line is longer than the terminal less five, no word is cut, nothing is lost; wide characters too."""
    screen, _ = talk(f"{LONG}\n{WIDE}", columns=columns, lines=40)
    screen.enter("go")
    screen.wait_for_prompt()
    shown = screen.lines[1 : screen.lines.index("", 1)]
    plain = [line for line in shown if line.isascii()]
    assert " ".join(plain).split() == LONG.split()
    assert max(map(len, plain)) <= columns - 5
    wide = [line.replace(" ", "") for line in shown if not line.isascii()]
    assert "".join(wide) == WIDE
    assert max(2 * len(line) for line in wide) <= columns - 5
    assert len(wide) > 1


def test_markdown_on_request(talk: Talk) -> None:
    """Plain unless asked; then headings, lists and code lose their marks."""
    text = "# Title\n\nSome **bold** text.\n\n- one\n- two\n\n```python\nprint(1)\n```\n\nEnd."
    screen, _ = talk(text, lines=40)
    screen.enter("go")
    screen.wait_for_prompt()
    assert "Some **bold** text." in screen.text
    screen.enter("/set markdown")
    screen.wait_for_prompt()
    screen.enter("go")
    screen.wait_for_prompt()
    rendered = screen.text.split("mode.")[1]
    assert "**" not in rendered and "```" not in rendered
    for part in ("Title", "Some bold text.", "• one", "print(1)", "End."):
        assert part in rendered


def test_files_in_messages(talk: Talk, tmp_path: Path) -> None:
    """An image goes along with the message; a wrong file is refused and the conversation goes on."""
    (tmp_path / "a picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 20)
    (tmp_path / "text.jpg").write_text("no picture")
    screen, double = talk("ok", capabilities=("completion", "vision"))
    screen.enter("./a\\ picture.png what is this?")
    screen.wait_for("Added image 'a picture.png'")
    screen.wait_for_prompt()
    message = double.bodies("/api/chat")[0]["messages"][0]
    assert message["content"] == "what is this?"
    assert message["images"][0].startswith("iVBORw0KGgo")
    screen.enter("./text.jpg and this?")
    screen.wait_for("Error: invalid file type: text/plain; charset=utf-8")
    screen.wait_for_prompt()
    screen.enter("/missing.png and this?")
    screen.wait_for("couldn't find")
    screen.wait_for_prompt()
    assert "couldn't find /missing.png, so nothing was sent" in screen.text
    assert len(double.bodies("/api/chat")) == 1
