"""`man`: the manual page in roff, generated from the command table. `corral man | man -l -` shows it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from corral.cli.frame.commands import COMMANDS, ROOT
from corral.cli.frame.flags import HOST, PROGRAM, Arguments, Command, Flag
from corral.cli.frame.help import CLIENT_VARIABLES

_FILES = (
    ("~/.ollama/models", "The models, unless OLLAMA_MODELS names another folder."),
    ("~/.ollama/id_ed25519", "The key with which this machine authenticates to registries."),
    ("~/.ollama/history", "The history of the prompt of run."),
    ("~/.ollama/logs", "Logs of servers started in the background."),
    ("~/.corral", "Locally built engines, and the original settings of programs configured by launch."),
)


def man(_arguments: Arguments) -> None:
    sys.stdout.write(manual_page())


def manual_page() -> str:
    title = PROGRAM.capitalize()
    lines = [
        f'.TH {PROGRAM.upper()} 1 "" "{title}" "{title} manual"',
        ".SH NAME",
        rf"{PROGRAM} \- run language models on this machine",
        ".SH SYNOPSIS",
        rf"\fB{PROGRAM}\fR [\fIflags\fR]",
        ".br",
        rf"\fB{PROGRAM}\fR \fIcommand\fR [\fIarguments\fR] [\fIflags\fR]",
        ".SH DESCRIPTION",
        _escaped(
            f"{title} serves language models over HTTP ({PROGRAM} serve); every other command is a client of such a "
            "server. The commands are those of ollama, and work with an Ollama server too. Flags may stand anywhere "
            "on the command line; words after -- are never flags. Help for a command: "
        )
        + rf"\fB{PROGRAM} help\fR \fIcommand\fR.",
        ".SH COMMANDS",
    ]
    for command in COMMANDS:
        if not command.is_hidden:
            lines += _command(command)
    lines += [".SH FLAGS", *_flags((*ROOT.flags, HOST, Flag("help", "Show help", short="h")))]
    lines += [".SH ENVIRONMENT"]
    lines += _terms((name, f"{text}.") for name, text, _ in CLIENT_VARIABLES)
    lines += [".P", "The settings of the server are listed by", rf"\fB{PROGRAM} serve \-\-help\fR."]
    lines += [".SH FILES", *_terms(_FILES), ".SH EXIT STATUS"]
    lines += ["0 on success, 1 after an error, 130 after Ctrl\\-C."]
    return "\n".join(lines) + "\n"


def _command(command: Command) -> list[str]:
    heading = rf".SS \fB{_escaped(command.name)}\fR {_escaped(command.usage)}".rstrip()
    lines = [heading, _escaped(f"{command.text}.")]
    if command.aliases:
        lines.append(_escaped(f"Also: {', '.join(command.aliases)}."))
    return [*lines, *_flags(command.flags)]


def _flags(flags: tuple[Flag, ...]) -> list[str]:
    lines = []
    for flag in flags:
        name = rf"\fB{_escaped(f'--{flag.name}')}\fR"
        if flag.short:
            name = rf"\fB{_escaped(f'-{flag.short}')}\fR, {name}"
        if flag.kind == "think":
            name += r"[=\fIlevel\fR]"
        elif flag.kind != "bool":
            name += rf" \fI{flag.kind}\fR"
        default = f" (default {flag.default})" if flag.default else ""
        lines += [".TP", name, _escaped(f"{flag.text}{default}.")]
    return lines


def _terms(pairs: Iterable[tuple[str, str]]) -> list[str]:
    lines = []
    for name, text in pairs:
        lines += [".TP", rf"\fB{_escaped(name)}\fR", _escaped(text)]
    return lines


def _escaped(text: str) -> str:
    """Text escaped so that roff prints it unchanged."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text
