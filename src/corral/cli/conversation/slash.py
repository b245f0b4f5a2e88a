"""The commands of the interactive prompt. Ollama: cmd/interactive.go."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol

from corral.cli.conversation.session import Session
from corral.cli.conversation.slash_help import (
    PARAMETER_HELP,
    SET_HELP,
    SHORTCUT_HELP,
    SHOW_HELP,
    general_help,
)
from corral.cli.http.client import APIError
from corral.cli.models.listing import model_table
from corral.cli.models.show import format_blocks
from corral.cli.terminal.screen import safe
from corral.modelfile import Directive, ModelfileError, parse_parameters

QUOTE = '"""'
_LEVELS = ("high", "medium", "low", "max")
COMPLETIONS = (
    *(f"/set {word}" for word in "parameter system history nohistory wordwrap nowordwrap".split()),
    *(f"/set {word}" for word in "markdown nomarkdown noformat verbose quiet think nothink".split()),
    "/set format json",
    *(f"/show {word}" for word in "info license modelfile parameters system template".split()),
    *("/load", "/save", "/clear", "/list", "/bye", "/help", "/? shortcuts", "/? set", "/? show"),
)


class HistorySwitch(Protocol):
    """The owner of the history."""

    keeps_history: bool


def run_command(session: Session, history: HistorySwitch, line: str) -> None:
    """Run a slash command. A command is recognised by the beginning of the line, in this order.

    Raises:
        APIError, NoServerError
    """
    words = line.split()
    commands: tuple[tuple[str, Callable[[], None]], ...] = (
        ("/list", lambda: _list(session, words)),
        ("/load", lambda: _load(session, words)),
        ("/save", lambda: _save(session, words)),
        ("/clear", lambda: _clear(session)),
        ("/set", lambda: _set(session, history, words, line)),
        ("/show", lambda: _show(session, words)),
        ("/help", lambda: _help(session, words)),
        ("/?", lambda: _help(session, words)),
    )
    for name, run in commands:
        if line.startswith(name):
            run()
            return
    print(f"Unknown command '{words[0]}'. Type /? for help")


def unquote(text: str) -> str:
    '''The text inside """ and """.'''
    return text.removeprefix(QUOTE).removesuffix(QUOTE) if text.startswith(QUOTE) else text


def _print_help(text: str) -> None:
    print(text, file=sys.stderr)


def _list(session: Session, words: list[str]) -> None:
    sys.stdout.write(model_table(session.client, words[1] if len(words) > 1 else ""))


def _load(session: Session, words: list[str]) -> None:
    if len(words) != 2:
        print("Usage:\n  /load <modelname>")
        return
    name = words[1]
    print(f"Loading model '{name}'")
    try:
        info = session.client.call("POST", "/api/show", {"model": name})
    except APIError as error:
        if error.status != 404:
            raise
        print(f"Couldn't find model '{name}'")
        return
    session.switch(name, info)
    session.load()
    session.replay()


def _save(session: Session, words: list[str]) -> None:
    if len(words) != 2:
        print("Usage:\n  /save <modelname>")
        return
    name = words[1]
    parent = (session.info.get("details") or {}).get("parent_model") or ""
    request: dict[str, Any] = {"model": name, "from": parent or session.model, "stream": False}
    if session.system:
        request["system"] = session.system
    if session.parameters:
        request["parameters"] = session.parameters
    spoken = [message for message in session.messages if message["role"] != "system"]
    if messages := [*session.loaded_messages, *spoken]:
        request["messages"] = [{"role": m["role"], "content": m["content"]} for m in messages]
    try:
        try:
            session.client.call("POST", "/api/create", request)
        except APIError:
            if not parent or parent == session.model:
                raise
            # The parent may be deleted, or be a file; the model itself always exists.
            session.client.call("POST", "/api/create", {**request, "from": session.model})
    except APIError as error:
        if "invalid model name" not in str(error):
            raise
        print(f"error: The model name '{name}' is invalid")
        return
    print(f"Created new model '{name}'")


def _clear(session: Session) -> None:
    session.clear()
    print("Cleared session context")


def _set(session: Session, history: HistorySwitch, words: list[str], line: str) -> None:
    switches: dict[str, tuple[str, bool, str]] = {
        "verbose": ("is_verbose", True, "Set 'verbose' mode."),
        "quiet": ("is_verbose", False, "Set 'quiet' mode."),
        "wordwrap": ("wraps", True, "Set 'wordwrap' mode."),
        "nowordwrap": ("wraps", False, "Set 'nowordwrap' mode."),
        "markdown": ("renders_markdown", True, "Set 'markdown' mode."),
        "nomarkdown": ("renders_markdown", False, "Set 'nomarkdown' mode."),
    }
    match words[1:]:
        case []:
            _print_help(SET_HELP)
        case ["history" | "nohistory" as word, *_]:
            history.keeps_history = word == "history"
        case [name, *_] if name in switches:
            attribute, value, message = switches[name]
            setattr(session, attribute, value)
            print(message)
        case ["think" | "nothink" as word, *level]:
            _set_think(session, word, level[0] if level else "")
        case ["format", "json"]:
            session.options["format"] = "json"
            print("Set format to 'json' mode.")
        case ["format", *_]:
            print("Invalid or missing format. For 'json' mode use '/set format json'")
        case ["noformat", *_]:
            session.options.pop("format", None)
            print("Disabled format.")
        case ["parameter", name, first, *more]:
            _set_parameter(session, name, [first, *more])
        case ["parameter", *_]:
            _print_help(PARAMETER_HELP)
        case ["system", _, *_]:
            session.set_system(unquote(line.split("system", 1)[1].strip()))
            print("Set system message.")
        case ["system"]:
            _print_help(SET_HELP)
        case [other, *_]:
            print(f"Unknown command '/set {other}'. Type /? for help")


def _set_think(session: Session, word: str, level: str) -> None:
    if level and level not in _LEVELS:
        print(f"Unknown level '{level}': one of {', '.join(_LEVELS)}")
        return
    session.options["think"] = (level or True) if word == "think" else False
    session.has_explicit_think = True
    print(f"Set 'think' mode to '{level}'." if word == "think" and level else f"Set '{word}' mode.")
    if word == "think" and "thinking" not in session.capabilities:
        print(f'warning: model "{session.model}" does not support thinking output', file=sys.stderr)


def _set_parameter(session: Session, name: str, values: list[str]) -> None:
    taken = values if name == "stop" else values[:1]
    try:
        parameters, _ = parse_parameters(Directive("parameter", value, name) for value in taken)
    except ModelfileError as error:
        print(f'Couldn\'t set parameter: "{error}"')
        return
    session.parameters.update(parameters)
    print(f"Set parameter '{name}' to '{', '.join(values)}'")


def _show(session: Session, words: list[str]) -> None:
    part = words[1] if len(words) > 1 else ""
    if part not in ("info", "license", "modelfile", "parameters", "system", "template"):
        if part:
            print(f"Unknown command '/show {part}'. Type /? for help")
        _print_help(SHOW_HELP)
        return
    request = {"model": session.model, "system": session.system, "options": session.parameters}
    answer = session.client.call("POST", "/api/show", request)
    text = safe(answer.get(part) or "")
    match part:
        case "info":
            sys.stderr.write(safe(format_blocks(answer)))
        case "license":
            print(text or "No license was specified for this model.")
        case "modelfile":
            print(text)
        case "parameters":
            _show_parameters(session, text)
        case "system":
            text = session.system or text
            print(f"{text}\n" if text else "No system message was specified for this model.")
        case "template":
            print(text or "No prompt template was specified for this model.")


def _show_parameters(session: Session, text: str) -> None:
    lines = text.split("\n") if text else ["No additional parameters were specified for this model."]
    print("Model defined parameters:\n" + "\n".join(f"  {line}" for line in lines) + "\n")
    if session.parameters:
        print("User defined parameters:")
        for name, value in session.parameters.items():
            print(f"  {name:<30} {_plain(value)}")
        print()


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + " ".join(map(str, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _help(session: Session, words: list[str]) -> None:
    topics = {"set": SET_HELP, "show": SHOW_HELP, "shortcut": SHORTCUT_HELP, "shortcuts": SHORTCUT_HELP}
    if len(words) == 1:
        _print_help(general_help(takes_files=session.takes_files))
    elif text := topics.get(words[1].removeprefix("/")):
        _print_help(text)
