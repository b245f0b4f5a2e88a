"""Writes the generated pages: the reference in docs/cli.md, the manual page docs/corral.1, docs/configuration.md.

`python -m scripts.cli_reference`
"""

from __future__ import annotations

from pathlib import Path

from corral.cli.frame.commands import COMMANDS, ROOT
from corral.cli.frame.flags import PROGRAM, Command, Flag
from corral.cli.frame.help import CLIENT_VARIABLES
from corral.cli.frame.manpage import manual_page
from corral.settingstable import SETTINGS

MANUAL = Path(__file__).parent.parent / "docs" / "corral.1"
PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
CONFIGURATION_HEAD = Path(__file__).parent / "configuration_head.md"
CONFIGURATION = Path(__file__).parent.parent / "docs" / "configuration.md"
MARK = "<!-- From here on generated from src/corral/cli/frame/commands.py by `python -m scripts.cli_reference`. -->\n"


def reference() -> str:
    """Every command with its flags, and the variables that all of them read."""
    parts = ["## Commands\n", *(_section(command) for command in COMMANDS if not command.is_hidden)]
    rows = "".join(
        f"| `{name}` | {text}{f' (`{PROGRAM} ' + '`, `'.join(names) + '`)' if names else ''} |\n"
        for name, text, names in CLIENT_VARIABLES
    )
    flags = _flag_table(ROOT.flags)
    return "\n".join(
        [
            *parts,
            f"## Flags of `{PROGRAM}` alone\n",
            flags,
            "## Variables\n",
            "Variables of the client commands; those of `serve` are in [configuration.md](configuration.md).\n",
            f"| variable | meaning |\n|---|---|\n{rows}",
        ]
    )


def _section(command: Command) -> str:
    usage = f"{PROGRAM} {command.name} {command.usage}".strip()
    lines = [f"### {command.name}\n", f"{command.text}.\n", f"    {usage}\n"]
    if command.aliases:
        lines.append("Also: " + ", ".join(f"`{PROGRAM} {alias}`" for alias in command.aliases) + ".\n")
    if command.flags:
        lines.append(_flag_table(command.flags))
    return "\n".join(lines)


def _flag_table(flags: tuple[Flag, ...]) -> str:
    rows = "".join(_flag_row(flag) for flag in flags)
    return f"| flag | meaning |\n|---|---|\n{rows}"


def _flag_row(flag: Flag) -> str:
    name = f"`--{flag.name}`" if flag.kind == "bool" else f"`--{flag.name} {flag.kind}`"
    if flag.kind == "think":
        name = f"`--{flag.name}[=level]`"
    short = f"`-{flag.short}`, " if flag.short else ""
    default = f" (default `{flag.default}`)" if flag.default else ""
    own = " *(only in Corral)*" if flag.is_own else ""
    return f"| {short}{name} | {flag.text}{default}{own} |\n"


def page_with(text: str) -> str:
    """A page with its reference part as it should be; what people wrote above it stays."""
    head, mark, _ = text.partition(MARK)
    if not mark:
        raise ValueError("docs/cli.md has lost the line that marks its generated part")
    return f"{head}{MARK}\n{reference()}"


def configuration_page() -> str:
    """docs/configuration.md: what people wrote, and the table of settings."""
    rows = [
        f"| `{s.name}` | `{s.path}` | {f'`{s.shown}`' if s.shown else ''} | {s.meaning} |" for s in SETTINGS
    ]
    return "\n".join(
        [
            *CONFIGURATION_HEAD.read_text().splitlines(),
            "",
            "## All settings",
            "",
            "| variable | in the file | default | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
            "This page is generated from `scripts/configuration_head.md` and `src/corral/settingstable.py` by",
            "`python -m scripts.cli_reference`.",
            "",
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text()))
    MANUAL.write_text(manual_page())
    CONFIGURATION.write_text(configuration_page())
