"""The command table. A command's module is imported when the command is run, and nothing else before."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import NoReturn

from corral import __version__
from corral.cli.flags import (
    PROGRAM,
    Arguments,
    Command,
    Flag,
    UsageError,
    command_help,
    parse,
    root_help,
    unknown_command,
)

__all__ = ["main"]

_INSECURE = Flag("insecure", "Use an insecure registry")
_VERBOSE = Flag("verbose", "Show timings for response")
_NO_WRAP = Flag("nowordwrap", "Don't wrap words to the next line automatically")
_RUN_FLAGS = (
    Flag("dimensions", "Truncate output embeddings to specified dimension (embedding models only)", "int"),
    Flag("format", "Response format (e.g. json)", "string"),
    Flag("hidethinking", "Hide thinking output (if provided)"),
    _INSECURE,
    Flag("keepalive", "Duration to keep a model loaded (e.g. 5m)", "string"),
    _NO_WRAP,
    Flag(
        "think",
        "Enable thinking mode: true/false or high/medium/low for supported models",
        "think",
    ),
    Flag(
        "truncate",
        "For embedding models: truncate inputs exceeding context length (default: true). "
        "Set --truncate=false to error instead",
    ),
    _VERBOSE,
)
_CREATE_FLAGS = (
    Flag("draft-quantize", "Quantize draft model to this level", "string"),
    Flag("file", "Name of the Modelfile", "string", "f", "Modelfile"),
    Flag("quantize", "Quantize model to this level (e.g. q4_K_M)", "string", "q"),
)
_SHOW_FLAGS = (
    Flag("license", "Show license of a model"),
    Flag("modelfile", "Show Modelfile of a model"),
    Flag("parameters", "Show parameters of a model"),
    Flag("system", "Show system message of a model"),
    Flag("template", "Show template of a model"),
    Flag("verbose", "Show detailed model information", short="v"),
)

# Name -> command, module and function; in the order of the help.
_COMMANDS: dict[str, tuple[Command, str, str]] = {
    command.name: (command, module, function)
    for command, module, function in (
        (Command("serve", "Start Corral", count=0, aliases=("start",)), "serve", "serve"),
        (Command("create", "Create a model", "MODEL", _CREATE_FLAGS, count=1), "create", "create"),
        (Command("show", "Show information for a model", "MODEL", _SHOW_FLAGS, count=1), "show", "show"),
        (Command("run", "Run a model", "MODEL [PROMPT]", _RUN_FLAGS, at_least=1), "run", "run"),
        (Command("stop", "Stop a running model", "MODEL", count=1), "library", "stop"),
        (Command("pull", "Pull a model from a registry", "MODEL", (_INSECURE,), count=1), "library", "pull"),
        (Command("push", "Push a model to a registry", "MODEL", (_INSECURE,), count=1), "library", "push"),
        (Command("list", "List models", aliases=("ls",)), "library", "list_models"),
        (Command("ps", "List running models"), "library", "ps"),
        (Command("cp", "Copy a model", "SOURCE DESTINATION", count=2), "library", "copy"),
        (Command("rm", "Remove a model", "MODEL [MODEL...]", at_least=1), "library", "remove"),
        (Command("help", "Help about any command"), "", ""),
    )
}
_ALIASES = {alias: name for name, (command, _, _) in _COMMANDS.items() for alias in command.aliases}
_ROOT = Command(
    PROGRAM,
    "Large language model runner",
    flags=(_NO_WRAP, _VERBOSE, Flag("version", "Show version information", short="v")),
)


def main(argv: list[str] | None = None) -> None:
    """Run a command and leave the process with its exit status."""
    words = sys.argv[1:] if argv is None else argv
    try:
        status = _run(words)
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        # The reader has what it wants; a second error at exit would only confuse.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:
        status = _fail(error)
    sys.exit(status)


def _fail(error: Exception) -> int:
    """Print what went wrong; what is not a known kind of error keeps its traceback."""
    from corral.cli.client import APIError, NoServerError
    from corral.errors import CorralError

    if isinstance(error, NoServerError):
        text = f"could not connect to {PROGRAM} server, run '{PROGRAM} serve' to start it"
    elif isinstance(error, UsageError | APIError | CorralError | OSError):
        text = str(error)
    else:
        raise error
    hint = getattr(error, "hint", "")
    print(f"Error: {text}" + (f"\n{hint}" if hint else ""), file=sys.stderr)
    return 1


def _run(words: list[str]) -> int:
    if not words or words[0].startswith("-"):
        return _root(words)
    name, rest = _ALIASES.get(words[0], words[0]), words[1:]
    if name == "help":
        return _help(rest)
    if name not in _COMMANDS:
        raise unknown_command(words[0], list(_COMMANDS))
    command, module, function = _COMMANDS[name]
    arguments = parse(command, rest)
    if arguments.wants_help:
        _print_help(command)
        return 0
    implementation = getattr(import_module(f"corral.cli.{module}"), function)
    if name == "serve":
        implementation()
        return 0
    from corral.cli.address import server_client

    client = server_client()
    client.check()
    implementation(client, arguments)
    return 0


def _root(words: list[str]) -> int:
    arguments: Arguments = parse(_ROOT, words)
    if arguments.words:
        return _run([*arguments.words, *(word for word in words if word not in arguments.words)])
    if arguments.has("version"):
        from corral.cli.address import print_version

        print_version(__version__)
        return 0
    print(root_help([command for command, _, _ in _COMMANDS.values()], _ROOT))
    return 0


def _help(words: list[str]) -> int:
    name = _ALIASES.get(words[0], words[0]) if words else ""
    if name in _COMMANDS and name != "help":
        _print_help(_COMMANDS[name][0])
        return 0
    if name:
        print(f"Unknown help topic [`{name}`]", file=sys.stderr)
    print(
        root_help([command for command, _, _ in _COMMANDS.values()], _ROOT),
        file=sys.stderr if name else sys.stdout,
    )
    return 0


def _print_help(command: Command) -> None:
    from corral.config import environment_of

    print(command_help(command, environment_of(command.name)))


def _main() -> NoReturn:
    main()
    raise AssertionError("main leaves the process")


if __name__ == "__main__":
    _main()
