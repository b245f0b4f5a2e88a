"""Command-line arguments as Ollama reads them (Go's pflag and cobra): flags anywhere, the same error texts.

argparse has other error texts, cannot express `--think[=level]` (an optional value that never takes the next word),
and takes as long to import as the interpreter takes to start. For the same reason the classes here are plain ones,
and `typing` is not imported (docs/decisions/0023-a-quick-command-line.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PROGRAM = "corral"
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")
_INT_RANGE = range(-(2**63), 2**63)


class UsageError(Exception):
    """Invalid arguments; the text is printed after `Error: `."""


class Flag:
    """`kind` is bool, string, strings, int or think.

    "strings" may be given more than once, and has several values between commas. "think" takes a value only in the
    form `--name=value`; without one it is `implied`. `is_own` marks a flag that Ollama does not have; help lists it
    separately. A flag that `replaces_words` is given instead of the words.
    """

    __slots__ = ("default", "implied", "is_own", "kind", "name", "replaces_words", "short", "text")

    def __init__(
        self,
        name: str,
        text: str,
        kind: str = "bool",
        short: str = "",
        *,
        default: str = "",
        implied: str = "true",
        is_own: bool = False,
        replaces_words: bool = False,
    ) -> None:
        self.name = name
        self.text = text
        self.kind = kind
        self.short = short
        self.default = default
        self.implied = implied
        self.is_own = is_own
        self.replaces_words = replaces_words


class Command:
    """One command: its name, its arguments, and the function that runs it.

    `target` is `module:function` below `corral.cli`. The function gets a Client and the Arguments; without
    `needs_server` it gets the Arguments alone, and nothing has been sent to a server. `count` is the exact number of
    words, `at_least` the minimum; at most one of them is given. `is_own` marks a command that Ollama does not have.
    """

    __slots__ = (
        "aliases",
        "at_least",
        "count",
        "flags",
        "is_hidden",
        "is_own",
        "name",
        "needs_server",
        "shows_environment",
        "target",
        "text",
        "usage",
    )

    def __init__(
        self,
        name: str,
        text: str,
        target: str,
        usage: str = "",
        flags: Iterable[Flag] = (),
        *,
        count: int | None = None,
        at_least: int = 0,
        aliases: tuple[str, ...] = (),
        needs_server: bool = True,
        is_hidden: bool = False,
        is_own: bool = False,
        shows_environment: bool = True,
    ) -> None:
        self.name = name
        self.text = text
        self.target = target
        self.usage = usage
        self.flags = tuple(flags)
        self.count = count
        self.at_least = at_least
        self.aliases = aliases
        self.needs_server = needs_server
        self.is_hidden = is_hidden
        self.is_own = is_own
        self.shows_environment = shows_environment


class Arguments:
    """Words and flag values. `flags` has only those that were given, `passed_on` the words after a `--`.

    `gave_host`: `--host` was given, which has become the variable.
    """

    __slots__ = ("flags", "gave_host", "passed_on", "wants_help", "words")

    def __init__(self, words: Iterable[str] = (), flags: dict[str, str] | None = None) -> None:
        self.words = list(words)
        self.flags = flags or {}
        self.passed_on: list[str] = []
        self.wants_help = False
        self.gave_host = False

    def has(self, name: str) -> bool:
        """Whether a bool flag is on."""
        return self.flags.get(name, "false") in _TRUE

    def get(self, name: str, default: str = "") -> str:
        return self.flags.get(name, default)

    def strings(self, name: str) -> list[str]:
        """The values of a flag that may be given more than once."""
        return [value.strip() for value in self.flags.get(name, "").split(",") if value.strip()]

    def integer(self, name: str, default: int = 0) -> int:
        """The value of an int flag (`parse` has checked it)."""
        return parse_integer(self.flags[name]) if name in self.flags else default


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
            arguments.passed_on = rest
            break
        if word.startswith("--"):
            _take_long(command, word, rest, arguments)
        elif word.startswith("-") and word != "-":
            _take_short(command, word, rest, arguments)
        else:
            arguments.words.append(word)
    arguments.wants_help = arguments.flags.pop("help", "false") in _TRUE
    if not arguments.wants_help:
        _check_count(command, arguments)
    return arguments


_HELP = Flag("help", "", short="h")
# Every command takes these.
HOST = Flag("host", "Server address; overrides OLLAMA_HOST", "string", is_own=True)
_EVERYWHERE = (HOST, _HELP)


def _take_long(command: Command, word: str, rest: list[str], arguments: Arguments) -> None:
    name, equals, value = word[2:].partition("=")
    if not name or name.startswith("-"):
        raise UsageError(f"bad flag syntax: {word}")
    flag = next((flag for flag in (*command.flags, *_EVERYWHERE) if flag.name == name), None)
    if flag is None:
        raise UsageError(f"unknown flag: --{name}")
    if not equals:
        if flag.kind in ("bool", "think"):
            value = flag.implied
        elif not rest:
            raise UsageError(f"flag needs an argument: --{name}")
        else:
            value = rest.pop(0)
    _set(arguments, flag, value)


def _set(arguments: Arguments, flag: Flag, value: str) -> None:
    checked = _checked(flag, value)
    if flag.kind == "strings" and flag.name in arguments.flags:
        checked = f"{arguments.flags[flag.name]},{checked}"
    arguments.flags[flag.name] = checked


def _take_short(command: Command, word: str, rest: list[str], arguments: Arguments) -> None:
    letters = word[1:]
    while letters:
        cluster = letters
        letter, letters = letters[0], letters[1:]
        flag = next((flag for flag in (*command.flags, *_EVERYWHERE) if flag.short == letter), None)
        if flag is None:
            raise UsageError(f"unknown shorthand flag: {letter!r} in -{cluster}")
        if flag.kind == "bool" and not letters.startswith("="):
            arguments.flags[flag.name] = "true"
            continue
        if letters:
            value, letters = letters.removeprefix("="), ""
        elif rest:
            value = rest.pop(0)
        else:
            raise UsageError(f"flag needs an argument: {letter!r} in -{cluster}")
        _set(arguments, flag, value)


def _checked(flag: Flag, value: str) -> str:
    spelled = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
    problem = ""
    if flag.kind == "int":
        try:
            if parse_integer(value) not in _INT_RANGE:
                problem = f'strconv.ParseInt: parsing "{value}": value out of range'
        except ValueError:
            problem = f'strconv.ParseInt: parsing "{value}": invalid syntax'
    elif flag.kind == "bool" and value not in _TRUE + _FALSE:
        problem = f'strconv.ParseBool: parsing "{value}": invalid syntax'
    if problem:
        raise UsageError(f'invalid argument "{value}" for "{spelled}" flag: {problem}')
    return value


def parse_integer(text: str) -> int:
    """A whole number as Go reads it with base 0: decimal, 0x, 0o, 0b, and octal after a zero.

    Raises:
        ValueError
    """
    digits = text.lstrip("+-")
    if len(text) - len(digits) > 1 or not text.isascii() or text != text.strip():
        raise ValueError(text)
    if digits.isdigit() and digits.startswith("0"):
        return int(text, 8)
    return int(text, 0)


def _check_count(command: Command, arguments: Arguments) -> None:
    words = arguments.words
    count = command.count
    if any(flag.replaces_words and arguments.has(flag.name) for flag in command.flags):
        count = 0
    if count is not None and len(words) != count:
        raise UsageError(f"accepts {count} arg(s), received {len(words)}")
    if len(words) < command.at_least:
        raise UsageError(f"requires at least {command.at_least} arg(s), only received {len(words)}")
