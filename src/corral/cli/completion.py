"""`completion bash|zsh|fish`: scripts made from the command table. Models are asked of `corral list` at each use."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from corral.cli.commands import COMMANDS, ROOT
from corral.cli.flags import HOST, PROGRAM, Arguments, Command, Flag, UsageError

__all__ = ["completion", "script"]

# Words that a command takes, where they are not models.
_WORDS = {
    "engine": ("list", "build", "use", "builtin", "native"),
    "launch": ("claude", "codex", "opencode", "cline", "droid", "copilot", "qwen"),
    "completion": ("bash", "zsh", "fish"),
}
# Values of flags: words, or files where there are none. Other flags with a value complete to nothing.
_VALUES = {
    "sort": ("name", "size", "modified"),
    "format": ("json",),
    "quantize": ("q4_K_M", "q4_K_S", "q5_K_M", "q6_K", "q8_0", "f16"),
    "draft-quantize": ("q4_K_M", "q8_0"),
    "file": (),
    "imatrix": (),
}
_NEW_NAMES = ("create", "pull")  # their first word is no model that is here
_ASK = f"CORRAL_AUTOSERVE= command {PROGRAM}"


def completion(arguments: Arguments) -> None:
    sys.stdout.write(script(arguments.words[0]))


def script(shell: str) -> str:
    """The script for a shell.

    Raises:
        UsageError
    """
    makers = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    if shell not in makers:
        raise UsageError(f"unknown shell: {shell}; {PROGRAM} completion knows bash, zsh and fish")
    return makers[shell]()


def _shown() -> list[Command]:
    return [command for command in COMMANDS if not command.is_hidden]


def _flags(command: Command) -> list[Flag]:
    return [*command.flags, HOST, Flag("help", f"help for {command.name}", short="h")]


def _spellings(flags: Iterable[Flag]) -> list[str]:
    return [
        spelling
        for flag in flags
        for spelling in (f"--{flag.name}", f"-{flag.short}" if flag.short else "")
        if spelling
    ]


def _takes_models(command: Command) -> bool:
    return command.name not in _NEW_NAMES and command.usage.startswith(("MODEL", "SOURCE"))


def _words_of(command: Command) -> tuple[str, ...]:
    if command.name == "help":
        return tuple(other.name for other in _shown())
    return _WORDS.get(command.name, ())


def _value_flags() -> dict[str, list[Flag]]:
    """Flags that take the next word as their value, by what completes it: models, files, words or nothing."""
    groups: dict[str, list[Flag]] = {}
    seen = set()
    for flag in (HOST, *(flag for command in _shown() for flag in command.flags)):
        if flag.kind in ("bool", "think") or flag.name in seen:
            continue
        seen.add(flag.name)
        values = _VALUES.get(flag.name)
        kind = (
            "models" if flag.name == "model" else "nothing" if values is None else " ".join(values) or "files"
        )
        groups.setdefault(kind, []).append(flag)
    return groups


def _pattern(command: Command) -> str:
    return "|".join((command.name, *command.aliases))


def _bash() -> str:
    names = " ".join([name for c in _shown() for name in (c.name, *c.aliases)])
    root = " ".join(_spellings(_flags(ROOT)))
    values = []
    for kind, flags in _value_flags().items():
        action = {
            "models": "_corral_models",
            "files": 'compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur")',
            "nothing": ":",
        }.get(kind, f"candidates='{kind}'")
        values.append(f"    {'|'.join(_spellings(flags))}) {action} ;;")
    cases = []
    for command in _shown():
        action = (
            "_corral_models" if _takes_models(command) else f"candidates='{' '.join(_words_of(command))}'"
        )
        spellings = " ".join(_spellings(_flags(command)))
        cases.append(f"        {_pattern(command)}) flags='{spellings}'; {action} ;;")
    return f"""\
# bash completion for {PROGRAM}: source <({PROGRAM} completion bash)
_corral_models() {{
    candidates=$({_ASK} list ${{host:+--host "$host"}} 2>/dev/null | while read -r name _; do echo "$name"; done)
    candidates=${{candidates#NAME}}
}}

_corral() {{
    local line=${{COMP_LINE:0:COMP_POINT}} cur='' name='' host='' previous='' word='' flags='' candidates=''
    local -a words
    cur=${{line##*[[:space:]]}}
    read -ra words <<< "${{line%"$cur"}}"
    COMPREPLY=()
    for word in "${{words[@]:1}}"; do
        if [[ $previous == --host ]]; then host=$word
        elif [[ $word == --host=* ]]; then host=${{word#--host=}}
        elif [[ -z $name && $word != -* ]]; then name=$word
        fi
        previous=$word
    done
    case $previous in
{chr(10).join(values)}
    *)
        case $name in
        '') flags='{root}'; candidates='{names}' ;;
{chr(10).join(cases)}
        esac ;;
    esac
    [[ $cur == -* ]] && candidates=$flags
    [[ -n $candidates ]] && mapfile -t COMPREPLY < <(compgen -W "$candidates" -- "$cur")
    # Readline breaks words at colons, and names have them.
    if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
        word=${{cur%"${{cur##*:}}"}}
        COMPREPLY=("${{COMPREPLY[@]#"$word"}}")
    fi
}}

complete -F _corral {PROGRAM}
"""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _zsh() -> str:
    def described(pairs: Iterable[tuple[str, str]]) -> str:
        return " ".join(_quoted(f"{name}:{text}") for name, text in pairs)

    def flags_of(command: Command) -> str:
        return described((spelling, flag.text) for flag in _flags(command) for spelling in _spellings([flag]))

    names = described((name, c.text) for c in _shown() for name in (c.name, *c.aliases))
    values = []
    for kind, flags in _value_flags().items():
        action = {"models": "_corral_models", "files": "_files", "nothing": "_message value"}.get(
            kind, f"compadd -- {kind}"
        )
        values.append(f"        {'|'.join(_spellings(flags))}) {action}; return ;;")
    cases = []
    for command in _shown():
        words = " ".join(_words_of(command))
        action = "_corral_models" if _takes_models(command) else f"compadd -- {words}" if words else ":"
        cases.append(
            f"        {_pattern(command)}) flags=({flags_of(command)}); (( is_flag )) || {action} ;;"
        )
    return f"""\
#compdef {PROGRAM}
# zsh completion for {PROGRAM}: source <({PROGRAM} completion zsh), or this as _{PROGRAM} in a folder of fpath
_corral_models() {{
    local -a models
    models=(${{${{(f)"$({_ASK} list ${{host:+--host}} ${{host:+$host}} 2>/dev/null)"}}[2,-1]%% *}})
    compadd -- $models
}}

_corral() {{
    local name='' host='' previous='' word='' is_flag=0
    local -a flags names
    for word in ${{words[2,CURRENT-1]}}; do
        if [[ $previous == --host ]]; then host=$word
        elif [[ $word == --host=* ]]; then host=${{word#--host=}}
        elif [[ -z $name && $word != -* ]]; then name=$word
        fi
        previous=$word
    done
    [[ $PREFIX == -* ]] && is_flag=1
    case $previous in
{chr(10).join(values)}
    esac
    case $name in
        '')
            names=({names})
            flags=({flags_of(ROOT)})
            (( is_flag )) || _describe command names ;;
{chr(10).join(cases)}
    esac
    (( is_flag )) && _describe flag flags
}}

if [[ $funcstack[1] == _corral ]]; then
    _corral "$@"
else
    compdef _corral {PROGRAM}
fi
"""


def _fish() -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def flag_line(condition: str, flag: Flag) -> str:
        parts = [f"complete -c {PROGRAM} {condition} -l {flag.name}"]
        if flag.short:
            parts.append(f"-s {flag.short}")
        if flag.kind not in ("bool", "think"):
            values = _VALUES.get(flag.name)
            if flag.name == "model":
                parts.append("-xa '(__corral_models)'")
            elif values is None:
                parts.append("-x")
            else:
                parts.append(f"-xa {quoted(' '.join(values))}" if values else "-rF")
        return " ".join([*parts, "-d", quoted(flag.text)])

    lines = [
        f"# fish completion for {PROGRAM}: {PROGRAM} completion fish | source",
        "function __corral_models",
        f"    env CORRAL_AUTOSERVE= {PROGRAM} list 2>/dev/null | tail -n +2 | string replace -r '\\s.*' ''",
        "end",
        f"complete -c {PROGRAM} -f",
        *(flag_line("-n __fish_use_subcommand", flag) for flag in ROOT.flags),
        flag_line("", HOST),
        flag_line("", Flag("help", "Show help", short="h")),
    ]
    for command in _shown():
        start = f"complete -c {PROGRAM} -n __fish_use_subcommand"
        lines += [f"{start} -a {name} -d {quoted(command.text)}" for name in (command.name, *command.aliases)]
        condition = f"-n '__fish_seen_subcommand_from {' '.join((command.name, *command.aliases))}'"
        lines += [flag_line(condition, flag) for flag in command.flags]
        if _takes_models(command):
            lines.append(f"complete -c {PROGRAM} {condition} -a '(__corral_models)'")
        elif words := _words_of(command):
            lines.append(f"complete -c {PROGRAM} {condition} -a {quoted(' '.join(words))}")
    return "\n".join(lines) + "\n"
