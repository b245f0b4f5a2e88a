"""Command-line arguments in the manner of the original: flags anywhere, its error texts, its help layout.

The standard library's argparse words its errors differently, has no optional values of the `--think[=level]` kind
that never take the next word, and costs 10 ms to import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

__all__ = [
    "Arguments",
    "Command",
    "Flag",
    "UsageError",
    "command_help",
    "parse",
    "root_help",
    "unknown_command",
]

PROGRAM = "corral"
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


class UsageError(Exception):
    """What the person typed cannot be meant; the text goes after `Error: `."""


@dataclass(frozen=True, slots=True)
class Flag:
    """`kind` "think" takes a value only in the form `--name=value` and means `implied` without one."""

    name: str
    text: str
    kind: Literal["bool", "string", "int", "think"] = "bool"
    short: str = ""
    default: str = ""
    implied: str = "true"


@dataclass(frozen=True, slots=True)
class Command:
    """`count` is the exact number of arguments, `at_least` the smallest, whichever is given."""

    name: str
    text: str
    usage: str = ""
    flags: tuple[Flag, ...] = ()
    count: int | None = None
    at_least: int = 0
    aliases: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()


@dataclass(slots=True)
class Arguments:
    """Words and flag values; `flags` has only those that were given."""

    words: list[str] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)
    wants_help: bool = False

    def has(self, name: str) -> bool:
        """Whether a bool flag is on."""
        return self.flags.get(name, "false") in _TRUE

    def get(self, name: str, default: str = "") -> str:
        return self.flags.get(name, default)


def parse(command: Command, argv: Sequence[str]) -> Arguments:
    """Split arguments into words and flags.

    Raises:
        UsageError
    """
    arguments = Arguments()
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            arguments.words += rest
            break
        if word in ("--help", "-h"):
            arguments.wants_help = True
        elif word.startswith("--"):
            _take_long(command, word, rest, arguments)
        elif word.startswith("-") and word != "-":
            _take_short(command, word, rest, arguments)
        else:
            arguments.words.append(word)
    if not arguments.wants_help:
        _check_count(command, arguments.words)
    return arguments


def _take_long(command: Command, word: str, rest: list[str], arguments: Arguments) -> None:
    name, equals, value = word[2:].partition("=")
    flag = next((flag for flag in command.flags if flag.name == name), None)
    if flag is None:
        raise UsageError(f"unknown flag: --{name}")
    if not equals:
        if flag.kind in ("bool", "think"):
            value = flag.implied
        elif not rest:
            raise UsageError(f"flag needs an argument: --{name}")
        else:
            value = rest.pop(0)
    arguments.flags[flag.name] = _checked(flag, value)


def _take_short(command: Command, word: str, rest: list[str], arguments: Arguments) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = next((flag for flag in command.flags if flag.short == letter), None)
        if flag is None:
            raise UsageError(f"unknown shorthand flag: {letter!r} in {word}")
        if flag.kind == "bool" and not letters.startswith("="):
            arguments.flags[flag.name] = "true"
            continue
        if letters:
            value, letters = letters.removeprefix("="), ""
        elif rest:
            value = rest.pop(0)
        else:
            raise UsageError(f"flag needs an argument: {letter!r} in {word}")
        arguments.flags[flag.name] = _checked(flag, value)


def _checked(flag: Flag, value: str) -> str:
    spelled = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
    if flag.kind == "int":
        try:
            int(value, 0)
        except ValueError:
            raise UsageError(
                f'invalid argument "{value}" for "{spelled}" flag: '
                f'strconv.ParseInt: parsing "{value}": invalid syntax'
            ) from None
    if flag.kind == "bool" and value not in _TRUE + _FALSE:
        raise UsageError(
            f'invalid argument "{value}" for "{spelled}" flag: '
            f'strconv.ParseBool: parsing "{value}": invalid syntax'
        )
    return value


def _check_count(command: Command, words: Sequence[str]) -> None:
    if command.count is not None and len(words) != command.count:
        raise UsageError(f"accepts {command.count} arg(s), received {len(words)}")
    if len(words) < command.at_least:
        raise UsageError(f"requires at least {command.at_least} arg(s), only received {len(words)}")


def unknown_command(name: str, known: Sequence[str]) -> UsageError:
    """The error for a command that does not exist, with those it resembles."""
    similar = [other for other in known if other.startswith(name)]
    similar += [other for other in known if other not in similar and _distance(name, other) <= 2]
    similar += [other for other in get_close_matches(name, known, cutoff=0.7) if other not in similar]
    text = f'unknown command "{name}" for "{PROGRAM}"'
    if similar:
        text += "\n\nDid you mean this?\n" + "".join(f"\t{other}\n" for other in sorted(similar))
    return UsageError(text)


def _distance(a: str, b: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (left != right))
    return row[-1]


def root_help(commands: Sequence[Command], root: Command) -> str:
    width = max(len(command.name) for command in commands) + 1
    lines = [root.text, "", "Usage:", f"  {PROGRAM} [flags]", f"  {PROGRAM} [command]", ""]
    lines += ["Available Commands:"]
    lines += [f"  {command.name.ljust(width)} {command.text}" for command in commands]
    lines += ["", "Flags:", *_flag_lines(root), ""]
    lines.append(f'Use "{PROGRAM} [command] --help" for more information about a command.')
    return "\n".join(lines)


def command_help(command: Command, environment: Sequence[tuple[str, str]]) -> str:
    """Help of one command; `environment` names the variables that it reads."""
    usage = f"{command.name} {command.usage}".strip()
    lines = [command.text, "", "Usage:", f"  {PROGRAM} {usage} [flags]"]
    if command.aliases:
        lines += ["", "Aliases:", "  " + ", ".join((command.name, *command.aliases))]
    lines += ["", "Flags:", *_flag_lines(command)]
    if environment:
        lines += ["", "Environment Variables:"]
        lines += [f"      {name.ljust(27)}   {text}" for name, text in environment]
    return "\n".join(lines)


def _flag_lines(command: Command) -> list[str]:
    flags = sorted((*command.flags, Flag("help", f"help for {command.name}", short="h")), key=_flag_name)
    rows = []
    for flag in flags:
        left = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
        if flag.kind == "think":
            left += f' string[="{flag.implied}"]'
        elif flag.kind != "bool":
            left += f" {flag.kind}"
        text = flag.text + (f' (default "{flag.default}")' if flag.default else "")
        rows.append((left, text))
    width = max(len(left) for left, _ in rows)
    return [f"{left.ljust(width)}   {text}" for left, text in rows]


def _flag_name(flag: Flag) -> str:
    return flag.name
