"""The conversation at a terminal: a prompt with history, slash commands, Ctrl-C for the answer alone."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corral.cli.client import APIError, Client
from corral.cli.flags import Arguments
from corral.cli.progress import Progress
from corral.cli.run import Answer, print_timings

__all__ = ["converse"]

_HELP = """\
Available Commands:
  /set            Set session variables
  /show           Show model information
  /load <model>   Load a session or model
  /save <model>   Save your current session
  /clear          Clear session context
  /bye            Exit
  /?, /help       Help for a command

Use \"\"\" to begin a multi-line message.
"""
_SET_HELP = """\
Available Commands:
  /set parameter ...     Set a parameter
  /set system <string>   Set system message
  /set history           Enable history
  /set nohistory         Disable history
  /set wordwrap          Enable wordwrap
  /set nowordwrap        Disable wordwrap
  /set format json       Enable JSON mode
  /set noformat          Disable formatting
  /set verbose           Show LLM stats
  /set quiet             Disable LLM stats
  /set think             Enable thinking
  /set nothink           Disable thinking
"""
_SHOW_PARTS = ("license", "modelfile", "parameters", "system", "template")


@dataclass(slots=True)
class _Session:
    client: Client
    model: str
    options: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    system: str = ""
    wraps: bool = True
    is_verbose: bool = False
    hides_thinking: bool = False


def converse(client: Client, name: str, options: dict[str, Any], arguments: Arguments) -> None:
    """Talk until /bye or Ctrl-D."""
    session = _Session(
        client,
        name,
        options,
        wraps=not arguments.has("nowordwrap"),
        is_verbose=arguments.has("verbose"),
        hides_thinking=arguments.has("hidethinking"),
    )
    _load(session)
    with _history():
        while (line := _read_message()) is not None:
            if line.startswith("/"):
                if line.split()[0] in ("/bye", "/exit"):
                    return
                _command(session, line)
            elif line.strip():
                _ask(session, line)
    print()


def _load(session: _Session) -> None:
    with Progress() as progress:
        progress.status(f"loading {session.model}")
        session.client.call("POST", "/api/generate", {"model": session.model, "stream": False})


@contextlib.contextmanager
def _history() -> Any:
    """Line editing with the history kept in the home folder, unless OLLAMA_NOHISTORY says otherwise."""
    import readline

    path = Path.home() / ".ollama" / "history"
    is_kept = os.environ.get("OLLAMA_NOHISTORY", "") in ("", "0", "false")
    if is_kept:
        with contextlib.suppress(OSError):
            readline.read_history_file(path)
    readline.set_history_length(1000)
    yield
    if is_kept:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)


def _read_message() -> str | None:
    '''One message; one that begins with """ goes on until the line that ends with it. None: end of input.'''
    try:
        line = input(">>> ")
        if not line.startswith('"""'):
            return line
        text = line[3:]
        while not text.endswith('"""'):
            text += "\n" + input("... ")
        return text[:-3]
    except EOFError:
        return None
    except KeyboardInterrupt:
        print("\nUse Ctrl + d or /bye to exit.")
        return ""


def _ask(session: _Session, text: str) -> None:
    session.messages.append({"role": "user", "content": text})
    system = [{"role": "system", "content": session.system}] if session.system else []
    request = {"model": session.model, "messages": system + session.messages, **session.options}
    if session.parameters:
        request["options"] = session.parameters
    answer = Answer(hides_thinking=session.hides_thinking, wraps=session.wraps)
    final: dict[str, Any] = {}
    try:
        for event in session.client.stream("/api/chat", request):
            message = event["message"]
            answer.show(message.get("thinking", ""), message.get("content", ""))
            final = event
    except KeyboardInterrupt:
        final = {}  # the answer so far stays in the conversation
    except APIError as error:
        session.messages.pop()
        print(f"Error: {error}", file=sys.stderr)
        return
    answer.end()
    reply = {"role": "assistant", "content": answer.text}
    if answer.thinking:
        reply["thinking"] = answer.thinking
    session.messages.append(reply)
    if session.is_verbose:
        print_timings(final)


def _command(session: _Session, line: str) -> None:
    words = line.split()
    try:
        match words[0]:
            case "/set":
                _set(session, words[1:], line)
            case "/show":
                _show(session, words[1:])
            case "/load" if len(words) == 2:
                session.client.call("POST", "/api/show", {"model": words[1]})
                session.model, session.messages = words[1], []
                _load(session)
            case "/save" if len(words) == 2:
                _save(session, words[1])
            case "/load" | "/save":
                print(f"Usage:\n  {words[0]} <modelname>")
            case "/clear":
                session.messages.clear()
                print("Cleared session context")
            case "/?" | "/help":
                print(_SET_HELP if words[1:] in (["set"], ["/set"]) else _HELP)
            case _:
                print(f"Unknown command '{words[0]}'. Type /? for help")
    except APIError as error:
        print(f"Error: {error}", file=sys.stderr)


def _set(session: _Session, words: list[str], line: str) -> None:
    switches: dict[str, tuple[str, bool, str]] = {
        "verbose": ("is_verbose", True, "Set 'verbose' mode."),
        "quiet": ("is_verbose", False, "Set 'quiet' mode."),
        "wordwrap": ("wraps", True, "Set 'wordwrap' mode."),
        "nowordwrap": ("wraps", False, "Set 'nowordwrap' mode."),
    }
    match words:
        case [name] if name in switches:
            attribute, value, said = switches[name]
            setattr(session, attribute, value)
            print(said)
        case ["format", "json"]:
            session.options["format"] = "json"
            print("Set format to 'json' mode.")
        case ["noformat"]:
            session.options.pop("format", None)
            print("Disabled format.")
        case ["think", *level]:
            session.options["think"] = level[0] if level else True
            print("Set 'think' mode.")
        case ["nothink"]:
            session.options["think"] = False
            print("Set 'nothink' mode.")
        case ["system", *_]:
            session.system = line.split("system", 1)[1].strip().strip('"')
            print("Set system message.")
        case ["parameter", name, *values] if values:
            _set_parameter(session, name, values)
        case _:
            print(_SET_HELP)


def _set_parameter(session: _Session, name: str, values: list[str]) -> None:
    from corral.modelfile import Directive, ModelfileError, parse_parameters

    try:
        parameters, _ = parse_parameters(Directive("parameter", value, name) for value in values)
    except ModelfileError as error:
        print(f"Couldn't set parameter: {str(error)!r}")
        return
    session.parameters.update(parameters)
    print(f"Set parameter '{name}' to '{', '.join(values)}'")


def _show(session: _Session, words: list[str]) -> None:
    from corral.cli.show import show

    match words:
        case ["info"]:
            show(session.client, Arguments([session.model]))
        case [part] if part in _SHOW_PARTS:
            show(session.client, Arguments([session.model], {part: "true"}))
            print()
        case _:
            names = "\n".join(f"  /show {part}" for part in ("info", *_SHOW_PARTS))
            print(f"Available Commands:\n{names}")


def _save(session: _Session, name: str) -> None:
    request: dict[str, Any] = {"model": name, "from": session.model, "stream": False}
    if session.system:
        request["system"] = session.system
    if session.parameters:
        request["parameters"] = session.parameters
    if session.messages:
        request["messages"] = session.messages
    session.client.call("POST", "/api/create", json.loads(json.dumps(request)))
    print(f"Created new model '{name}'")
