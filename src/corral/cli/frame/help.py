"""Help pages in Ollama's layout, and the error for a command that does not exist."""

from __future__ import annotations

from collections.abc import Sequence

from corral.cli.frame.flags import HOST, PROGRAM, Command, Flag, UsageError

# The variables of client commands: name, meaning, and the commands that read it (none: all).
CLIENT_VARIABLES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("OLLAMA_EDITOR", "Path to editor for interactive prompt editing (Ctrl+G)", ("run",)),
    ("OLLAMA_HOST", f"IP Address for the {PROGRAM} server (default 127.0.0.1:11434)", ()),
    ("OLLAMA_NOHISTORY", "Do not preserve readline history", ("run",)),
    ("CORRAL_API_KEY", "API key, sent to the server as a bearer token", ()),
    ("OLLAMA_API_KEY", "The same, if CORRAL_API_KEY is not set", ()),
    ("CORRAL_CA_FILE", "Certificates, in PEM, to trust beside those of the system", ()),
    ("CORRAL_CLIENT_CERT", "Certificate to show to a server that asks for one, in PEM", ()),
    ("CORRAL_CLIENT_KEY", "Its private key, unless it is in the same file", ()),
    ("CORRAL_AUTOSERVE", "Start a server in the background if none is running on this machine", ()),
)
_GENERIC_USAGE = 'Use "{0} [command] --help" for more information about a command.'


def root_help(commands: Sequence[Command], root: Command) -> str:
    return f"{root.text}\n\n{root_usage(commands, root)}"


def root_usage(commands: Sequence[Command], root: Command) -> str:
    """Everything below the title."""
    shown = [command for command in commands if not command.is_hidden]
    width = max(12, *(len(command.name) for command in shown))
    theirs, ours = (
        [f"  {command.name.ljust(width)} {command.text}" for command in shown if command.is_own is is_own]
        for is_own in (False, True)
    )
    lines = ["Usage:", f"  {PROGRAM} [flags]", f"  {PROGRAM} [command]", "", "Available Commands:", *theirs]
    lines += ["", f"Only in {PROGRAM.capitalize()}:", *ours]
    lines += ["", "Flags:", *_flag_lines(root.flags, root.name)]
    lines += ["", "Flags of every command:", *_flag_lines((HOST,))]
    lines += ["", _GENERIC_USAGE.format(PROGRAM)]
    return "\n".join(lines)


def command_help(command: Command) -> str:
    usage = f"{command.name} {command.usage}".strip()
    lines = [command.text, "", "Usage:", f"  {PROGRAM} {usage} [flags]"]
    if command.aliases:
        lines += ["", "Aliases:", "  " + ", ".join((command.name, *command.aliases))]
    theirs = [flag for flag in command.flags if not flag.is_own]
    ours = [*(flag for flag in command.flags if flag.is_own), HOST]
    lines += ["", "Flags:", *_flag_lines(theirs, command.name)]
    if command.shows_environment and (environment := environment_of(command)):
        lines += ["", "Environment Variables:"]
        lines += [f"      {name.ljust(27)}   {text}" for name, text in environment]
    lines += ["", f"Only in {PROGRAM.capitalize()}:", *_flag_lines(ours)]
    return "\n".join(lines)


def environment_of(command: Command) -> list[tuple[str, str]]:
    """The variables that a command reads, with their meanings."""
    if command.name == "serve":
        from corral.config import environment_of as settings_of

        return settings_of("serve")
    return [(name, text) for name, text, names in CLIENT_VARIABLES if not names or command.name in names]


def _flag_lines(flags: Sequence[Flag], command_name: str = "") -> list[str]:
    """Aligned lines in the order of the names, `--help` among them for a named command."""
    shown = list(flags)
    if command_name:
        shown.append(Flag("help", f"help for {command_name}", short="h"))
    rows = []
    for flag in sorted(shown, key=lambda flag: flag.name):
        left = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
        if flag.kind == "think":
            left += f' string[="{flag.implied}"]'
        elif flag.kind != "bool":
            left += f" {flag.kind}"
        default = flag.default if flag.kind == "int" else f'"{flag.default}"'
        rows.append((left, flag.text + (f" (default {default})" if flag.default else "")))
    width = max(len(left) for left, _ in rows)
    return [f"{left.ljust(width)}   {text}" for left, text in rows]


def unknown_command(name: str, commands: Sequence[Command]) -> UsageError:
    """The error for a command that does not exist, with similar names in the order of the help."""
    similar = [
        command.name
        for command in commands
        if not command.is_hidden
        and (command.name.startswith(name.lower()) or _distance(name.lower(), command.name) <= 2)
    ]
    text = f'unknown command "{name}" for "{PROGRAM}"'
    if similar:
        text += "\n\nDid you mean this?\n" + "".join(f"\t{other}\n" for other in similar)
    return UsageError(text)


def _distance(a: str, b: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (left != right))
    return row[-1]
