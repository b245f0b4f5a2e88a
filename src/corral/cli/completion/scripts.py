"""`completion bash|zsh|fish`: shell scripts that call `corral __complete`, and the output of that command.

The scripts are stubs: commands, flags, models and values come from candidates.py. They never evaluate an answer, and
because names from a server end up on a command line, candidates.py drops every name that a shell could interpret.
"""

from __future__ import annotations

import sys

from corral.cli.frame.flags import PROGRAM, Arguments, UsageError

_ASK = f"CORRAL_AUTOSERVE= command {PROGRAM} __complete --"

_BASH = f"""\
# bash completion for {PROGRAM}: source <({PROGRAM} completion bash)
_corral() {{
    local line=${{COMP_LINE:0:COMP_POINT}} current='' prefix='' index=0
    local -a typed
    current=${{line##*[[:space:]]}}
    read -ra typed <<< "${{line%"$current"}}"
    mapfile -t COMPREPLY < <({_ASK} "${{typed[@]:1}}" "$current" 2>/dev/null)
    COMPREPLY=("${{COMPREPLY[@]%%$'\\t'*}}")
    if [[ ${{COMPREPLY[0]}} == :files ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
    # Readline breaks words at colons and equals signs.
    for index in ':' '='; do
        if [[ $current == *$index* && $COMP_WORDBREAKS == *$index* ]]; then
            prefix=${{current%"${{current##*$index}}"}}
        fi
    done
    COMPREPLY=("${{COMPREPLY[@]#"$prefix"}}")
}}

complete -F _corral {PROGRAM}
"""

_ZSH = f"""\
#compdef {PROGRAM}
# zsh completion for {PROGRAM}: source <({PROGRAM} completion zsh), or this as _{PROGRAM} in a folder of fpath
_corral() {{
    local -a answers described
    local answer=''
    answers=("${{(@f)$({_ASK} "${{(@)words[2,CURRENT-1]}}" "$PREFIX" 2>/dev/null)}}")
    if [[ ${{answers[1]}} == :files ]]; then
        _files
        return
    fi
    for answer in $answers; do
        described+=("${{${{answer%%$'\\t'*}}//:/\\\\:}}${{${{(M)answer:#*$'\\t'*}}:+:${{answer#*$'\\t'}}}}")
    done
    _describe {PROGRAM} described
}}

if [[ $funcstack[1] == _corral ]]; then
    _corral "$@"
else
    compdef _corral {PROGRAM}
fi
"""

_FISH = f"""\
# fish completion for {PROGRAM}: {PROGRAM} completion fish | source
function __corral_complete
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    set -l answers (env CORRAL_AUTOSERVE= {PROGRAM} __complete -- $typed[2..-1] "$current" 2>/dev/null)
    if test "$answers[1]" = :files
        __fish_complete_path "$current"
    else
        printf '%s\\n' $answers
    end
end
complete -c {PROGRAM} -f -a '(__corral_complete)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion(arguments: Arguments) -> None:
    sys.stdout.write(script(arguments.words[0]))


def complete(arguments: Arguments) -> None:
    """Print the candidates for the last word, one per line, with a tab before the description."""
    from corral.cli.completion.candidates import FILES, candidates_for

    *typed, current = arguments.words or [""]
    found = candidates_for(typed, current)
    if found is FILES:
        print(":files")
        return
    for word, text in found.items():
        print(f"{word}\t{text}" if text else word)


def script(shell: str) -> str:
    """The script for a shell.

    Raises:
        UsageError
    """
    if shell not in _SCRIPTS:
        raise UsageError(f"unknown shell: {shell}; supported shells are bash, zsh and fish")
    return _SCRIPTS[shell]
