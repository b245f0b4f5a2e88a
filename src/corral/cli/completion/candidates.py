"""Completion candidates: commands, flags, models, values. The shell scripts ask for them through `__complete`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from corral.cli.frame.commands import COMMANDS, ROOT, find_command
from corral.cli.frame.flags import HOST, Command, Flag

# Words with their descriptions.
Candidates = dict[str, str]

FILES: Candidates = {}  # compared by identity: the shell completes file names
_HELP = Flag("help", "Show help", short="h")
_MODEL_COMMANDS = ("MODEL", "SOURCE")  # the usage of a command that takes models begins with one of these
_NEW_NAMES = ("create", "pull")  # their first word is not the name of a local model
_FILE_FLAGS = ("file", "imatrix", "output")
_ACTIONS = {
    "engine": "list info install build use remove",
    "cluster": "status drain undrain remove key start join stop leave",
    "config": "show check path schema import",
    "key": "create list show rotate revoke",
    "audit": "show check",
    "completion": "bash zsh fish",
}
# Names with any other character are dropped: they are not model names, and a shell could interpret them.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")


def candidates_for(typed: list[str], current: str) -> Candidates:
    """The completions of the word under the cursor; FILES if it is a file name.

    `typed` are the words before it, without the program's name. Errors of a server mean no completions.
    """
    name, host, previous = _read(typed)
    command = find_command(name)
    flags = _flags_of(command)
    if "--" in typed:
        return {}
    if flag := _value_flag(flags, previous):
        return _starting_with(_values(flag, host), current)
    if current.startswith("--") and "=" in current:
        return _joined_values(flags, current, host)
    if current.startswith("-"):
        return _starting_with(_spellings(flags), current)
    if command is None:
        return {} if name else _starting_with(_command_names(), current)
    if command.name == "config" and "import" in typed:
        return FILES
    return _starting_with(_words_of(command, host), current)


def _read(typed: list[str]) -> tuple[str, str, str]:
    """The command's name, the server that `--host` names, and the word before the cursor."""
    name, host, previous = "", "", ""
    for word in typed:
        if previous == f"--{HOST.name}":
            host = word
        elif word.startswith(f"--{HOST.name}="):
            host = word.partition("=")[2]
        elif not name and not word.startswith("-"):
            name = word
        previous = word
    return name, host, previous


def _flags_of(command: Command | None) -> list[Flag]:
    return [*(command or ROOT).flags, HOST, _HELP]


def _value_flag(flags: Iterable[Flag], word: str) -> Flag | None:
    """The flag whose value follows this word."""
    for flag in flags:
        spellings = (f"--{flag.name}", f"-{flag.short}" if flag.short else None)
        if flag.kind not in ("bool", "think") and word in spellings:
            return flag
    return None


def _joined_values(flags: Iterable[Flag], current: str, host: str) -> Candidates:
    """For `--name=` and the beginning of a value."""
    head, _, start = current.partition("=")
    flag = next((flag for flag in flags if f"--{flag.name}" == head), None)
    if flag is None:
        return {}
    values = _values(flag, host)
    return (
        values
        if values is FILES
        else _starting_with({f"{head}={value}": "" for value in values}, f"{head}={start}")
    )


def _spellings(flags: Iterable[Flag]) -> Candidates:
    return {
        spelling: flag.text
        for flag in flags
        for spelling in (f"--{flag.name}", f"-{flag.short}" if flag.short else "")
        if spelling
    }


def _command_names() -> Candidates:
    return {
        name: command.text
        for command in COMMANDS
        if not command.is_hidden
        for name in (command.name, *command.aliases)
    }


def _words_of(command: Command, host: str) -> Candidates:
    if command.name == "help":
        return _command_names()
    if command.name == "launch":
        from corral.cli.agents.agents import AGENTS

        return {agent.name: agent.title for agent in AGENTS}
    if command.name in _ACTIONS:
        return _plain(_ACTIONS[command.name])
    takes_models = command.name not in _NEW_NAMES and command.usage.startswith(_MODEL_COMMANDS)
    return _models(host) if takes_models else {}


def _values(flag: Flag, host: str) -> Candidates:
    """Values of a flag; empty if any text is allowed."""
    if flag.name in _FILE_FLAGS:
        return FILES
    if flag.name == "model":
        return _models(host)
    if flag.name in ("quantize", "draft-quantize"):
        from corral.weights.quantize.file_types import FILE_TYPES

        return _plain(" ".join(FILE_TYPES).lower())
    return _plain(
        {"sort": "name size modified", "format": "json", "from": "llama-swap presets"}.get(flag.name, "")
    )


def _plain(words: str) -> Candidates:
    return dict.fromkeys(words.split(), "")


def _starting_with(found: Candidates, start: str) -> Candidates:
    if found is FILES:
        return FILES
    return {word: text for word, text in found.items() if word.lower().startswith(start.lower())}


def _models(host: str) -> Candidates:
    """Names of the server's models; none if it cannot be reached."""
    from corral.cli.http.address import server_client
    from corral.cli.http.client import APIError, NoServerError

    if host:
        os.environ["OLLAMA_HOST"] = host
    try:
        answer = server_client().call("GET", "/api/tags")
        names = [str(model["name"]) for model in answer["models"] or ()]
    except (APIError, NoServerError, KeyError, TypeError, AttributeError, OSError):
        return {}
    return {name: "" for name in names if _NAME.fullmatch(name)}
