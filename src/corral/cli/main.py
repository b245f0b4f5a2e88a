"""Runs a command. Modules are imported when they are needed, because start-up time is felt at every command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from corral.cli.frame.commands import COMMANDS, ROOT, find_command
from corral.cli.frame.flags import HOST, Arguments, Command, UsageError, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_INTERRUPTED = 130  # the status that shells report after Ctrl-C


def main(argv: list[str] | None = None) -> None:
    """Run a command and exit with its status."""
    words = sys.argv[1:] if argv is None else argv
    _prepare_output()
    try:
        status = _run([_text(word) for word in words])
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe; avoid a second error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:
        status = _fail(error)
    if argv is None and words[:1] not in (["serve"], ["start"]):
        _exit_now(status)
    sys.exit(status)


def _prepare_output() -> None:
    """Replace closed streams, and characters that the terminal's encoding does not have."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - for good
        elif stream.encoding.lower() != "utf-8" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _exit_now(status: int) -> NoReturn:
    """Exit without finalising the interpreter, which takes as long as all our imports."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status)


def _text(word: str) -> str:
    """An argument as text: bytes that are not UTF-8 become the replacement character."""
    return word if word.isascii() else os.fsencode(word).decode("utf-8", "replace")


def _fail(error: Exception) -> int:
    """Print an error; an unknown kind of error keeps its traceback."""
    from corral.cli.http.client import APIError, NoServerError, no_server_text
    from corral.errors import CorralError

    if isinstance(error, NoServerError):
        text = str(error) or no_server_text()
    elif isinstance(error, UsageError | APIError | CorralError | OSError):
        text = str(error)
    else:
        raise error
    from corral.cli.terminal.screen import is_terminal, safe

    hint = getattr(error, "hint", "")
    message = f"Error: {text}" + (f"\n{hint}" if hint else "")
    # Parts of the text may come from an untrusted registry.
    print(safe(message) if is_terminal(sys.stderr) else message, file=sys.stderr)
    return 1


def _run(words: Sequence[str]) -> int:
    name, rest = _split(words)
    if not name:
        return _root(rest)
    if name == "help":
        return _help(rest)
    command = find_command(name)
    if command is None:
        from corral.cli.frame.help import unknown_command

        raise unknown_command(name, COMMANDS)
    arguments = parse(command, rest)
    _take_host(arguments)
    if arguments.wants_help:
        _print_help(command)
        return 0
    module, _, function = command.target.partition(":")
    # Not importlib.import_module: importing importlib costs as much as three of our modules.
    implementation = getattr(__import__(f"corral.cli.{module}", fromlist=[function]), function)
    if not command.needs_server:
        return implementation(arguments) or 0
    from corral.cli.http.address import reach_server

    client = reach_server(may_start=arguments.has("serve"))
    try:
        return implementation(client, arguments) or 0
    except Exception as error:
        if arguments.words and getattr(error, "hint", None) == "":
            from corral.cli.models.model_from_file import advice_about

            error.hint = advice_about(arguments.words[0])  # type: ignore[attr-defined]
        raise


def _split(words: Sequence[str]) -> tuple[str, list[str]]:
    """The command's name and all other words; global flags may precede the name."""
    known = {f"--{flag.name}" for flag in ROOT.flags} | {
        f"-{flag.short}" for flag in ROOT.flags if flag.short
    }
    is_value = False
    for i, word in enumerate(words):
        if is_value:
            is_value = False
            continue
        if not word.startswith("-"):
            return word, [*words[:i], *words[i + 1 :]]
        is_value = word == f"--{HOST.name}"
        if not is_value and word.partition("=")[0] not in (*known, f"--{HOST.name}"):
            break
    return "", list(words)


def _take_host(arguments: Arguments) -> None:
    """`--host` sets OLLAMA_HOST, for programs started from here too."""
    if (host := arguments.flags.pop(HOST.name, None)) is not None:
        os.environ["OLLAMA_HOST"] = host
        arguments.gave_host = True


def _root(words: Sequence[str]) -> int:
    arguments = parse(ROOT, words)
    _take_host(arguments)
    if arguments.has("version") and not arguments.wants_help:
        from corral.cli.http.address import print_version

        print_version()
        return 0
    from corral.cli.frame.help import root_help

    print(root_help(COMMANDS, ROOT))
    return 0


def _help(words: Sequence[str]) -> int:
    help_command = find_command("help")
    assert help_command is not None
    arguments = parse(help_command, words)
    name = arguments.words[0] if arguments.words else ""
    command = help_command if arguments.wants_help else find_command(name)
    if command is not None:
        _print_help(command)
        return 0
    from corral.cli.frame.help import root_help, root_usage

    if name:
        print(f"Unknown help topic [`{name}`]\n{root_usage(COMMANDS, ROOT)}", file=sys.stderr)
    else:
        print(root_help(COMMANDS, ROOT))
    return 0


def _print_help(command: Command) -> None:
    from corral.cli.frame.help import command_help

    print(command_help(command))


if __name__ == "__main__":
    main()
